//! A PeerNetwork in the light tier, where nobody runs pods: what a kubelet would say or fetch is said and
//! fetched here.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use peerup_crds::{PairingCode, PeerNetwork, names};
use serde_json::{Value, json};

use crate::wait::eventually;

/// How long anything may take that an operator does by itself.
pub const SOON: Duration = Duration::from_secs(60);

/// A network of one namespace.
#[derive(Clone)]
pub struct Network {
    client: Client,
    namespace: String,
    name: String,
}

impl Network {
    /// The network of this name, whether it is there yet or not.
    #[must_use]
    pub fn new(client: &Client, namespace: &str, name: &str) -> Self {
        Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates it.
    pub async fn create(&self, spec: Value) -> Result<()> {
        let network = serde_json::from_value(json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork",
            "metadata": { "name": self.name }, "spec": spec,
        }))?;
        self.api::<PeerNetwork>()
            .create(&PostParams::default(), &network)
            .await?;
        Ok(())
    }

    /// Waits until it has all that codes need.
    pub async fn set_up(&self) -> Result<PeerNetwork> {
        eventually("the network to be set up", SOON, async || {
            let network = self.api::<PeerNetwork>().get(&self.name).await?;
            let status = network.status.as_ref().context("no status")?;
            ensure!(
                status.network_id.is_some()
                    && status.dht_namespace.is_some()
                    && !status.relays.is_empty(),
                "{status:?}"
            );
            Ok(network)
        })
        .await
    }

    /// Waits for a relay's pod and says that it runs at this address.
    pub async fn relay_runs(&self, ordinal: u8, ip: IpAddr) -> Result<Pod> {
        let (pods, name) = (self.api::<Pod>(), names::relay_replica(&self.name, ordinal));
        let running = Patch::Merge(json!({ "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        } }));
        eventually("the relay's pod", SOON, async || {
            Ok(pods
                .patch_status(&name, &PatchParams::default(), &running)
                .await?)
        })
        .await
    }

    /// The seed of a relay's identity.
    pub async fn relay_seed(&self, ordinal: u8) -> Result<Vec<u8>> {
        let keys = names::relay_keys(&self.name);
        let keys = self.api::<Secret>().get(&keys).await?;
        let relay = names::relay_replica(&self.name, ordinal);
        let seed = keys.data.and_then(|data| data.get(&relay).cloned());
        Ok(seed.context("the relay's key")?.0)
    }

    /// The token by which a relay's pod is known to the operator.
    pub async fn relay_token(&self, pod: &Pod) -> Result<String> {
        let audience = names::relay_audience(&self.namespace, &self.name);
        self.pod_token(pod, &audience).await
    }

    /// A token for this audience, bound to a pod, as the kubelet gets it.
    pub async fn pod_token(&self, pod: &Pod, audience: &str) -> Result<String> {
        let bound = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.name_any()),
            uid: pod.uid(),
        };
        let spec = pod.spec.as_ref();
        let account = spec.and_then(|spec| spec.service_account_name.clone());
        self.token(&account.unwrap_or_default(), Some(bound), audience)
            .await
    }

    /// A token of a service account.
    pub async fn token(
        &self,
        account: &str,
        bound: Option<BoundObjectReference>,
        audience: &str,
    ) -> Result<String> {
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![audience.to_owned()],
                bound_object_ref: bound,
                expiration_seconds: Some(3600),
            },
            ..TokenRequest::default()
        };
        let answer = self
            .api::<ServiceAccount>()
            .create_token_request(account, &PostParams::default(), &request)
            .await?;
        Ok(answer.status.context("no token")?.token)
    }

    /// Creates a PairingCode and waits for the texts of its codes.
    pub async fn codes(&self, name: &str, spec: Value) -> Result<Vec<String>> {
        let mut spec = spec;
        spec["networkRef"] = json!({ "name": self.name });
        let count = spec["count"].as_u64().unwrap_or(1);
        let code = serde_json::from_value(json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": "PairingCode", "metadata": { "name": name }, "spec": spec,
        }))?;
        self.api::<PairingCode>()
            .create(&PostParams::default(), &code)
            .await?;
        let texts = eventually("the codes", SOON, async || {
            let secret = self.api::<Secret>().get(name).await?;
            let texts = secret.data.unwrap_or_default();
            ensure!(texts.len() as u64 == count, "not all codes");
            Ok(texts)
        })
        .await?;
        let text = |slot: u64| {
            let text = texts.get(&format!("code-{slot}"));
            Ok(String::from_utf8(text.context("a slot's code")?.0.clone())?)
        };
        (0..count).map(text).collect()
    }
}
