//! The operator's rights in a real API server: what its wide ClusterRole allows, the admission policies
//! hold to objects of its own.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use peerup_tests::light::{self, Light};
use peerup_tests::wait::eventually;
use serde_json::{Value, json};

use super::{apply, objects};

const OPERATOR: &str = "system:serviceaccount:peerup-system:peerup-operator";

/// Applies what concerns rights of the rendered chart: the webhook would be called for other tests' pods.
async fn rights(client: &Client) -> Result<()> {
    let kinds = [
        "ClusterRole",
        "ClusterRoleBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ];
    for object in objects(&[])? {
        if kinds.iter().any(|kind| object["kind"] == *kind) {
            let parameters = PatchParams::apply("peerup-tests").force();
            apply(client, &object, &parameters).await?;
        }
    }
    Ok(())
}

/// A client with the operator's name and rights.
async fn operator(light: &Light) -> Result<Client> {
    let mut kubeconfig = Kubeconfig::read_from(light.kubeconfig())?;
    for user in &mut kubeconfig.auth_infos {
        let info = user.auth_info.get_or_insert_default();
        info.impersonate = Some(OPERATOR.to_owned());
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn secret(name: &str, type_: &str) -> Result<Secret> {
    Ok(serde_json::from_value(
        json!({ "metadata": { "name": name }, "type": type_ }),
    )?)
}

fn labelled<T: serde::de::DeserializeOwned>(name: &str, labels: Value, rest: Value) -> Result<T> {
    let mut object = rest;
    object["metadata"] = json!({ "name": name, "labels": labels });
    Ok(serde_json::from_value(object)?)
}

fn ours() -> Value {
    json!({ "app.kubernetes.io/managed-by": "peerup-operator", "peerup.dev/network-uid": "u" })
}

/// Holds that the API server refused, and said so.
fn refused<T>(what: &str, answer: kube::Result<T>, words: &str) -> Result<()> {
    match answer {
        Ok(_) => bail!("{what}: must be refused with {words:?}"),
        Err(kube::Error::Api(status)) if status.message.contains(words) => Ok(()),
        Err(error) => bail!("{what}: must be refused with {words:?}, was with {error}"),
    }
}

#[tokio::test]
async fn the_operator_touches_only_what_is_its_own() -> Result<()> {
    let light = Light::shared()?;
    let client = light.client().await?;
    rights(&client).await?;
    let namespace = light::namespace(&client, "rights").await?;
    let operator = operator(light).await?;
    let post = PostParams::default();

    let secrets = Api::<Secret>::namespaced(operator.clone(), &namespace);
    let try_out = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    eventually("the policy", Duration::from_secs(60), async || {
        let answer = secrets.create(&try_out, &secret("app", "Opaque")?).await;
        refused("Opaque", answer, "must be a Secret of a type")
    })
    .await?;
    refused(
        "key",
        secrets
            .create(&post, &secret("key", "peerup.dev/network-key")?)
            .await,
        "must be a Secret of a type",
    )?;
    secrets
        .create(&post, &secret("codes", "peerup.dev/pairing-codes")?)
        .await?;
    refused(
        "read",
        secrets.get("codes").await,
        "cannot get resource \"secrets\"",
    )?;
    Api::<Secret>::namespaced(client.clone(), &namespace)
        .create(&post, &secret("app", "Opaque")?)
        .await?;
    refused(
        "delete",
        secrets.delete("app", &DeleteParams::default()).await,
        "must be a Secret of a type",
    )?;
    secrets.delete("codes", &DeleteParams::default()).await?;

    config_maps(&client, &operator, &namespace).await?;
    services(&client, &operator, &namespace).await
}

async fn config_maps(client: &Client, operator: &Client, namespace: &str) -> Result<()> {
    let theirs = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let own = Api::<ConfigMap>::namespaced(operator.clone(), namespace);
    let post = PostParams::default();
    let try_out = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let map = |name: &str, labels: Value| labelled::<ConfigMap>(name, labels, json!({}));
    eventually("the policy", Duration::from_secs(60), async || {
        let named = own.create(&try_out, &map("settings", ours())?).await;
        refused("name", named, "must have a name by which")
    })
    .await?;
    let bare = own.create(&post, &map(MINE, json!({}))?).await;
    refused("labels", bare, NOT_OURS)?;
    own.create(&post, &map(MINE, ours())?).await?;
    theirs.create(&post, &map(THEIRS, json!({}))?).await?;
    refused("take over", claim(&own, THEIRS).await, NOT_OURS)?;

    let stripped = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": null } } });
    theirs
        .patch(MINE, &PatchParams::default(), &Patch::Merge(stripped))
        .await?;
    claim(&own, MINE).await.context("put a label back")?;
    own.delete(MINE, &DeleteParams::default()).await?;
    Ok(())
}

const MINE: &str = "peerup-01234567";
const THEIRS: &str = "peerup-89abcdef";
const NOT_OURS: &str = "must be an object that the operator made";

/// Applies our labels.
async fn claim(api: &Api<ConfigMap>, name: &str) -> kube::Result<ConfigMap> {
    let metadata = json!({ "name": name, "labels": ours() });
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata });
    let parameters = PatchParams::apply("peerup-operator").force();
    api.patch(name, &parameters, &Patch::Apply(object)).await
}

async fn services(client: &Client, operator: &Client, namespace: &str) -> Result<()> {
    let (theirs, own) = (
        Api::<Service>::namespaced(client.clone(), namespace),
        Api::<Service>::namespaced(operator.clone(), namespace),
    );
    let post = PostParams::default();
    let service = |name: &str, labels: Value| {
        labelled::<Service>(
            name,
            labels,
            json!({ "spec": { "ports": [{ "port": 4001 }] } }),
        )
    };
    for name in ["crew-relays", "crew-relay-0", "crew-relay-8"] {
        own.create(&post, &service(name, ours())?)
            .await
            .with_context(|| name.to_owned())?;
    }
    for name in ["web", "crew-relay-9", "crew-relay-0-x"] {
        refused(
            name,
            own.create(&post, &service(name, ours())?).await,
            "must have a name by which",
        )?;
    }
    theirs
        .create(&post, &service("shop-relay-0", json!({}))?)
        .await?;
    let deleted = own.delete("shop-relay-0", &DeleteParams::default()).await;
    refused(
        "delete",
        deleted,
        "must be an object that the operator made",
    )?;
    own.delete("crew-relay-0", &DeleteParams::default()).await?;
    let left = theirs
        .list(&kube::api::ListParams::default())
        .await?
        .items
        .len();
    ensure!(left == 3, "{left} services");
    Ok(())
}
