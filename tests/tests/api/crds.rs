//! The custom resources: what the real API server fills in, and what it refuses with which words.

mod codes;
mod networks;
mod peers;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Client, Resource};
use peerup_crds::{PairingCode, Peer, PeerNetwork};
use peerup_tests::light::{self, Light};
use serde_json::{Value, json};

/// A kind in a namespace of one's own.
struct Kind {
    api: Api<DynamicObject>,
    kind: &'static str,
}

impl Kind {
    fn new<K: Resource<DynamicType = ()>>(
        client: &Client,
        namespace: &str,
        kind: &'static str,
    ) -> Self {
        let resource = ApiResource::erase::<K>(&());
        Self {
            api: Api::namespaced_with(client.clone(), namespace, &resource),
            kind,
        }
    }

    async fn create(&self, name: &str, spec: Value) -> kube::Result<DynamicObject> {
        let object = json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": self.kind,
            "metadata": { "name": name }, "spec": spec,
        });
        let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        self.api.create(&PostParams::default(), &object).await
    }

    async fn merge(&self, name: &str, patch: Value) -> kube::Result<DynamicObject> {
        self.api
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
    }

    /// Sets the status; `null` takes it away.
    async fn status(&self, name: &str, status: Value) -> kube::Result<DynamicObject> {
        let patch = json!([{ "op": "add", "path": "/status", "value": status }]);
        let patch = serde_json::from_value(patch).map_err(kube::Error::SerdeError)?;
        self.api
            .patch_status(name, &PatchParams::default(), &Patch::Json::<()>(patch))
            .await
    }
}

/// Three kinds in a new namespace.
async fn kinds() -> Result<(Kind, Kind, Kind)> {
    let client = Light::shared()?.client().await?;
    peerup_tests::crds::install(&client).await?;
    let namespace = light::namespace(&client, "crds").await?;
    Ok((
        Kind::new::<PeerNetwork>(&client, &namespace, "PeerNetwork"),
        Kind::new::<PairingCode>(&client, &namespace, "PairingCode"),
        Kind::new::<Peer>(&client, &namespace, "Peer"),
    ))
}

/// Holds that the API server refused, and said so.
fn refused(what: &str, answer: kube::Result<DynamicObject>, words: &str) -> Result<()> {
    match answer {
        Ok(_) => bail!("{what}: must be refused with {words:?}, was accepted"),
        Err(kube::Error::Api(status)) if status.message.contains(words) => Ok(()),
        Err(error) => bail!("{what}: must be refused with {words:?}, was with {error}"),
    }
}

fn with(mut status: Value, field: &str, value: Value) -> Value {
    status[field] = value;
    status
}

fn without(mut status: Value, field: &str) -> Value {
    if let Some(status) = status.as_object_mut() {
        status.remove(field);
    }
    status
}

#[tokio::test]
async fn defaults_are_filled_in() -> Result<()> {
    let (networks, codes, _) = kinds().await?;
    let network = networks
        .create(
            "crew",
            json!({ "relay": { "managed": { "service": { "type": "NodePort" } } } }),
        )
        .await?;
    let spec: peerup_crds::PeerNetworkSpec = serde_json::from_value(network.data["spec"].clone())?;
    let mut expected = peerup_crds::PeerNetworkSpec::default();
    expected.relay.managed.service.type_ = peerup_crds::ServiceType::NodePort;
    ensure!(spec == expected, "{spec:#?} is not {expected:#?}");

    let code = codes
        .create(
            "three",
            json!({ "networkRef": { "name": "crew" }, "peer": null }),
        )
        .await?;
    let expected = json!({ "networkRef": { "name": "crew" }, "count": 1, "ttlSeconds": 3600, "state": "Active" });
    ensure!(code.data["spec"] == expected, "{}", code.data["spec"]);
    Ok(())
}

#[tokio::test]
async fn unknown_fields_are_refused_where_kubectl_asks_for_it() -> Result<()> {
    let (networks, _, _) = kinds().await?;
    let object = json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork",
        "metadata": { "name": "crew" }, "spec": { "access": { "default": "Deny" } },
    });
    let parameters = PatchParams {
        field_validation: Some(kube::api::ValidationDirective::Strict),
        ..PatchParams::apply("tests")
    };
    let answer = networks
        .api
        .patch("crew", &parameters, &Patch::Apply(&object))
        .await;
    refused("access", answer, "field not declared in schema")
}

#[tokio::test]
async fn the_api_server_has_no_warning_for_them() -> Result<()> {
    // a definition that it finds fault with has a condition NonStructuralSchema or names that are taken
    let (networks, _, _) = kinds().await?;
    let client = networks.api.into_client();
    let api = Api::<CustomResourceDefinition>::all(client);
    for definition in peerup_crds::definitions() {
        let name = definition
            .metadata
            .name
            .context("a definition has a name")?;
        let conditions = api
            .get(&name)
            .await?
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        for condition in conditions {
            let good = matches!(
                (condition.type_.as_str(), condition.status.as_str()),
                ("NamesAccepted" | "Established", "True")
            );
            ensure!(good, "{name}: {condition:?}");
        }
    }
    Ok(())
}
