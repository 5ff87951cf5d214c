//! A cluster, with kubectl, helm and a client.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, Resource};
use peerup_crds::{PairingCode, Peer, PeerNetwork};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::shell::{Said, Shell, Show};
use super::{CHART, EXAMPLES, HOME, OPERATOR, PODS, SHOP, facts};
use crate::light;
use crate::wait::patiently;

/// The program that runs a kind cluster's nodes: `docker`, or what the environment says.
#[must_use]
pub fn engine() -> String {
    std::env::var("KIND_EXPERIMENTAL_PROVIDER").unwrap_or_else(|_| "docker".to_owned())
}

/// A cluster that KUBECONFIG names.
#[derive(Clone)]
pub struct Cluster {
    /// For questions that a person would not type.
    pub client: Client,
    /// For commands.
    pub shell: Shell,
}

impl Cluster {
    /// The cluster of the environment: `eval "$(hack/cluster env NAME)"`.
    pub async fn connect(show: Show) -> Result<Cluster> {
        let kubeconfig = std::env::var_os("KUBECONFIG")
            .context("KUBECONFIG is not set: eval \"$(hack/cluster env NAME)\"")?;
        Ok(Cluster {
            client: light::client(&PathBuf::from(kubeconfig)).await?,
            shell: Shell { show },
        })
    }

    /// Runs `kubectl` with these words.
    pub fn kubectl(&self, words: &str) -> Result<Said> {
        self.shell.run(&format!("kubectl {words}"))
    }

    /// Applies objects that a test has written itself.
    pub fn apply(&self, yaml: &str) -> Result<Said> {
        self.shell.feed("kubectl apply -f -", yaml)
    }

    /// Installs the chart as the README says, or brings it up to date, with these flags more.
    pub fn install(&self, verb: &str, flags: &str) -> Result<()> {
        let line =
            format!("helm {verb} peerup {CHART} --namespace {HOME} --create-namespace {flags}");
        self.shell.run(&line)?.ok()?;
        self.kubectl(&format!(
            "rollout status deployment/{OPERATOR} -n {HOME} --timeout=180s"
        ))?
        .ok()
        .map(drop)
    }

    /// Applies the examples as they stand: when pods come, somebody answers the webhook.
    pub async fn apply_examples(&self) -> Result<()> {
        for file in EXAMPLES {
            if file == PODS {
                self.injecting().await?;
            }
            self.kubectl(&format!("apply -f {file}"))?.ok()?;
        }
        Ok(())
    }

    /// Waits until pods of the examples' namespace get a sidecar: the network rules of a
    /// new Service reach all nodes a little later than its pods are ready.
    pub async fn injecting(&self) -> Result<()> {
        let limit = Duration::from_secs(60);
        patiently("pods to get a sidecar", limit, async || {
            ensure!(self.injects().await?, "a pod on trial got none");
            Ok(())
        })
        .await
    }

    /// Whether a pod of the examples' namespace would get a sidecar at this moment.
    pub async fn injects(&self) -> Result<bool> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), SHOP);
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "dry-run"},
            "spec": {
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "app", "image": "app",
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
            },
        }))?;
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let made = pods.create(&dry_run, &pod).await?;
        let inits = made.spec.and_then(|spec| spec.init_containers);
        Ok(inits.is_some_and(|all| all.iter().any(|one| one.name == "peerup")))
    }

    /// The objects of a kind in a namespace.
    pub async fn list<K>(&self, namespace: &str) -> Result<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        Ok(api.list(&ListParams::default()).await?.items)
    }

    /// The object of that name.
    pub async fn get<K>(&self, namespace: &str, name: &str) -> Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        api.get(name)
            .await
            .with_context(|| format!("get {} {namespace}/{name}", K::kind(&())))
    }

    /// The pods of the Deployment `web` that are not being deleted.
    pub async fn web_pods(&self) -> Result<Vec<Pod>> {
        let pods = self.list::<Pod>(SHOP).await?;
        Ok(pods.into_iter().filter(facts::is_web).collect())
    }

    /// Waits until the network is ready.
    pub async fn network_ready(&self, name: &str, limit: Duration) -> Result<PeerNetwork> {
        patiently(
            &format!("PeerNetwork {name} to be ready"),
            limit,
            async || {
                let network = self.get::<PeerNetwork>(SHOP, name).await?;
                facts::network_condition(&network, "Ready", "True", "Running")?;
                Ok(network)
            },
        )
        .await
    }

    /// Waits until `count` pods of `web` have joined, each with its Peer, and no others
    /// are left.
    pub async fn pods_joined(&self, count: usize, limit: Duration) -> Result<Vec<Pod>> {
        patiently(&format!("{count} pods to join"), limit, async || {
            let pods = self.web_pods().await?;
            let peers = self.list::<Peer>(SHOP).await?;
            facts::all_joined(&pods, &peers, count)?;
            Ok(pods)
        })
        .await
    }

    /// Waits until a PairingCode has been delivered; answers its codes by key.
    pub async fn codes(
        &self,
        namespace: &str,
        name: &str,
        limit: Duration,
    ) -> Result<BTreeMap<String, String>> {
        patiently(&format!("the codes of {name}"), limit, async || {
            let code = self.get::<PairingCode>(namespace, name).await?;
            facts::code_condition(&code, "Delivered", "True")?;
            let texts = self.secret(namespace, name).await?;
            ensure!(!texts.is_empty(), "Secret {name} is empty");
            Ok(texts)
        })
        .await
    }

    /// The texts of a Secret.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<BTreeMap<String, String>> {
        let secret = self.get::<Secret>(namespace, name).await?;
        let data = secret.data.unwrap_or_default();
        data.into_iter()
            .map(|(key, value)| Ok((key, String::from_utf8(value.0)?)))
            .collect()
    }

    /// The metrics of a pod, through the API server.
    pub fn metrics(&self, namespace: &str, pod: &str) -> Result<String> {
        self.kubectl(&format!(
            "get --raw /api/v1/namespaces/{namespace}/pods/{pod}:9465/proxy/metrics"
        ))?
        .ok()
    }
}
