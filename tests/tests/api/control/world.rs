//! A namespace of a test's own, an operator that serves it, and looks at what the operator makes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use peerup_crds::{PairingCode, PeerNetwork};
use peerup_tests::light::{self, Light};
use peerup_tests::operator::{Home, Operator};
use peerup_tests::wait::eventually;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How long anything may take that an operator does by itself.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// An operator and what it serves.
pub(super) struct World {
    pub(super) client: Client,
    /// The namespace of networks.
    pub(super) namespace: String,
    /// Another namespace that is served.
    pub(super) other: String,
    pub(super) home: Home,
    pub(super) operator: Operator,
}

impl World {
    pub(super) async fn new(prefix: &str) -> Result<Self> {
        Self::with(prefix, Ok).await
    }

    /// As [`World::new`], with changes of the operator's home before it starts.
    pub(super) async fn with(
        prefix: &str,
        change: impl FnOnce(Home) -> Result<Home>,
    ) -> Result<Self> {
        let light = Light::shared()?;
        let client = light.client().await?;
        let namespace = light::namespace(&client, prefix).await?;
        let other = light::namespace(&client, prefix).await?;
        let home = change(Home::new(light, &client, &[&namespace, &other]).await?)?;
        let operator = home.start().await?;
        Ok(Self {
            client,
            namespace,
            other,
            home,
            operator,
        })
    }

    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// An API of the operator's namespace.
    pub(super) fn at_home<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.home.namespace)
    }

    pub(super) async fn network(&self, name: &str, spec: Value) -> Result<PeerNetwork> {
        let network = object("PeerNetwork", name, spec)?;
        Ok(self
            .api::<PeerNetwork>()
            .create(&PostParams::default(), &network)
            .await?)
    }

    pub(super) async fn code(&self, name: &str, spec: Value) -> Result<PairingCode> {
        let code = object("PairingCode", name, spec)?;
        Ok(self
            .api::<PairingCode>()
            .create(&PostParams::default(), &code)
            .await?)
    }

    /// Waits until a network's condition has a reason; answers the network.
    pub(super) async fn network_says(
        &self,
        name: &str,
        type_: &str,
        reason: &str,
    ) -> Result<PeerNetwork> {
        eventually(
            &format!("{name} to say {type_}: {reason}"),
            SOON,
            async || {
                let network = self.api::<PeerNetwork>().get(name).await?;
                let status = network.status.as_ref().context("no status")?;
                says(&status.conditions, type_, reason)?;
                Ok(network)
            },
        )
        .await
    }

    /// Waits until a PairingCode's condition has a reason; answers the PairingCode.
    pub(super) async fn code_says(
        &self,
        name: &str,
        type_: &str,
        reason: &str,
    ) -> Result<PairingCode> {
        eventually(
            &format!("{name} to say {type_}: {reason}"),
            SOON,
            async || {
                let code = self.api::<PairingCode>().get(name).await?;
                let status = code.status.as_ref().context("no status")?;
                says(&status.conditions, type_, reason)?;
                Ok(code)
            },
        )
        .await
    }

    /// Writes what a kubelet would about a relay that is ready on a node with this address.
    pub(super) async fn relay_runs(&self, pod: &str, host: &str) -> Result<()> {
        let pods = self.api::<Pod>();
        eventually("the relay's pod", SOON, async || Ok(pods.get(pod).await?)).await?;
        let status = json!({"status": {
            "phase": "Running",
            "hostIP": host,
            "hostIPs": [{"ip": host}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }});
        pods.patch_status(pod, &PatchParams::default(), &Patch::Merge(status))
            .await?;
        Ok(())
    }

    /// Waits until an object is there.
    pub(super) async fn has<K>(&self, name: &str) -> Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        eventually(name, SOON, async || Ok(self.api::<K>().get(name).await?)).await
    }
}

/// An object of ours.
fn object<K: DeserializeOwned>(kind: &str, name: &str, spec: Value) -> Result<K> {
    let object = json!({"apiVersion": "peerup.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    Ok(serde_json::from_value(object)?)
}

pub(super) fn says(conditions: &[Condition], type_: &str, reason: &str) -> Result<()> {
    let condition = conditions.iter().find(|condition| condition.type_ == type_);
    let condition = condition.with_context(|| format!("no {type_} in {conditions:?}"))?;
    ensure!(
        condition.reason == reason,
        "{type_}={} {}: {}",
        condition.status,
        condition.reason,
        condition.message
    );
    Ok(())
}

/// Waits until an object is gone.
pub(super) async fn gone<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    eventually(&format!("{name} to be gone"), SOON, async || {
        ensure!(api.get_opt(name).await?.is_none(), "it is there");
        Ok(())
    })
    .await
}
