//! The operator as a process against an API server of the light tier, for namespaces of a test's own.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use peerup_crds::names::labels;
use serde_json::json;

use crate::light::{self, Light};
use crate::network::SOON;
use crate::programs::Program;
use crate::wait::eventually;

/// How long an operator may take until it is ready.
const READY: Duration = Duration::from_secs(120);

/// The operator API's port. Every operator listens at an address of its own: these ports are below those that
/// the kernel gives to outgoing connections, of which any could be taken between choosing and listening.
pub const API: u16 = 19444;
/// The admission webhook's port.
pub const WEBHOOK: u16 = 19443;
/// The port of metrics and health.
pub const HTTP: u16 = 19465;

/// Where an operator lives, and what it serves; several replicas may live in one.
pub struct Home {
    /// Its namespace: lease, certificate authority and network keys lie there.
    pub namespace: String,
    /// The namespaces that it serves.
    pub serves: Vec<String>,
    client: Client,
    kubeconfig: String,
    /// The URL that all replicas tell, the first one's: another one would change the pods of relays.
    told: OnceLock<String>,
}

/// A running replica.
#[derive(Debug)]
pub struct Operator {
    /// The process.
    pub program: Program,
    /// Where it listens.
    pub address: Ipv4Addr,
    /// `https://…` of its API.
    pub url: String,
    /// Its address for metrics and health.
    pub http: String,
}

impl Home {
    /// Installs the kinds and makes a namespace for an operator that serves these.
    pub async fn new(light: &Light, client: &Client, serves: &[&str]) -> Result<Self> {
        crate::crds::install(client).await?;
        let kubeconfig = light.kubeconfig();
        Ok(Self {
            namespace: light::namespace(client, "operator").await?,
            serves: serves.iter().map(|name| (*name).to_owned()).collect(),
            client: client.clone(),
            kubeconfig: kubeconfig.to_str().context("kubeconfig's path")?.to_owned(),
            told: OnceLock::new(),
        })
    }

    /// Lets its operators be another user for the API server, with an administrator's rights: so that rules can be made
    /// for them alone.
    pub fn known_as(mut self, user: &str) -> Result<Self> {
        let mut kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        for user_entry in &mut kubeconfig.auth_infos {
            let info = user_entry.auth_info.get_or_insert_default();
            info.impersonate = Some(user.to_owned());
            info.impersonate_groups = Some(vec!["system:masters".to_owned()]);
        }
        self.kubeconfig = format!("{}.{}", self.kubeconfig, self.namespace);
        std::fs::write(&self.kubeconfig, serde_json::to_string(&kubeconfig)?)?;
        Ok(self)
    }

    /// A client that the API server takes for an operator of this home.
    pub async fn client(&self) -> Result<Client> {
        light::client(Path::new(&self.kubeconfig)).await
    }

    /// Starts the only replica, or the first, and waits until it is ready.
    pub async fn start(&self) -> Result<Operator> {
        self.start_at(own_address()).await
    }

    /// As [`Home::start`], at an address that others can reach.
    pub async fn start_at(&self, address: Ipv4Addr) -> Result<Operator> {
        let mut operator = self.replica_at("operator-0", address)?;
        self.register(operator.address).await?;
        self.ready(&mut operator).await?;
        Ok(operator)
    }

    /// Starts one of several replicas, each at an address of its own, since the leader is found by address and
    /// the API's port.
    pub fn replica(&self, name: &str) -> Result<Operator> {
        self.replica_at(name, own_address())
    }

    fn replica_at(&self, name: &str, address: Ipv4Addr) -> Result<Operator> {
        let (url, http) = (
            format!("https://{address}:{API}"),
            format!("{address}:{HTTP}"),
        );
        let told = self.told.get_or_init(|| url.clone());
        let names = format!("operator.{}.svc,{address}", self.namespace);
        let settings = [
            ("KUBECONFIG", self.kubeconfig.clone()),
            ("POD_NAMESPACE", self.namespace.clone()),
            ("POD_NAME", name.to_owned()),
            ("POD_IP", address.to_string()),
            ("PEERUP_WATCH_NAMESPACES", self.serves.join(",")),
            ("PEERUP_WEBHOOK_CONFIG", self.namespace.clone()),
            ("PEERUP_SERVICE_NAMES", names),
            ("PEERUP_OPERATOR_URL", told.clone()),
            ("PEERUP_API_LISTEN", format!("{address}:{API}")),
            ("PEERUP_WEBHOOK_LISTEN", format!("{address}:{WEBHOOK}")),
            ("PEERUP_HTTP_LISTEN", http.clone()),
            // nobody comes by way of a Service
            ("PEERUP_DRAIN_SECONDS", "0".to_owned()),
            ("PEERUP_LOG", "info,peerup_operator=debug".to_owned()),
        ];
        let environment: Vec<_> = settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        Ok(Operator {
            program: Program::start("peerup-operator", &[], &environment)?,
            address,
            url,
            http: format!("http://{http}"),
        })
    }

    /// Tells the API server to ask the webhook at this address about pods of the namespaces that are served.
    pub async fn register(&self, address: Ipv4Addr) -> Result<()> {
        let configuration = serde_json::from_value(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": self.namespace },
            "webhooks": [{
                "name": "pods.inject.peerup.dev",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": 30,
                "reinvocationPolicy": "IfNeeded",
                "clientConfig": { "url": format!("https://{address}:{WEBHOOK}/v1/inject") },
                "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"] }],
                "namespaceSelector": { "matchExpressions": [
                    { "key": "kubernetes.io/metadata.name", "operator": "In", "values": self.serves },
                ] },
                "objectSelector": { "matchExpressions": [
                    { "key": labels::INJECT, "operator": "NotIn", "values": [labels::DISABLED] },
                ] },
            }],
        }))?;
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        api.create(&PostParams::default(), &configuration).await?;
        Ok(())
    }

    /// Waits until a replica says that it is ready; one that ends before is an error with what it printed.
    pub async fn ready(&self, operator: &mut Operator) -> Result<()> {
        operator
            .program
            .answers(&format!("{}/readyz", operator.http), READY)
            .await
    }

    /// The certificates by which the operator is known, PEM.
    pub async fn ca(&self) -> Result<String> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = secrets.get("peerup-operator-ca").await?;
        let data = secret.data.context("the CA Secret is empty")?;
        let certificate = data
            .get("signing.crt")
            .context("no certificate in the CA Secret")?;
        Ok(String::from_utf8(certificate.0.clone())?)
    }
}

/// A namespace whose pods ask for a sidecar.
pub async fn opted_in(client: &Client, prefix: &str) -> Result<String> {
    let name = light::namespace(client, prefix).await?;
    let labels = json!({ "metadata": { "labels": { "peerup.dev/inject": "enabled" } } });
    Api::<Namespace>::all(client.clone())
        .patch(&name, &PatchParams::default(), &Patch::Merge(labels))
        .await?;
    Ok(name)
}

/// Creates a pod through the webhook. What an operator has registered the API server learns a moment later.
pub async fn create_pod(pods: &Api<Pod>, pod: &Pod) -> Result<Pod> {
    let created = eventually("the webhook to be believed", SOON, async || {
        match pods.create(&PostParams::default(), pod).await {
            Err(kube::Error::Api(status)) if status.message.contains("failed calling webhook") => {
                bail!("{}", status.message)
            }
            created => Ok(created),
        }
    });
    Ok(created.await??)
}

/// A loopback address that nobody else has: neither in this process nor in another that tests now.
#[must_use]
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (process, number) = (
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed) % 254 + 1,
    );
    Ipv4Addr::from(0x7f40_0000 | (process & 0x3fff) << 8 | number)
}
