//! The operator as a process against an API server of the light tier, for namespaces of a test's own.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::light::{self, Light};
use crate::programs::Program;
use crate::wait::eventually;

/// How long an operator may take until it is ready.
const READY: Duration = Duration::from_secs(60);

/// Where an operator lives, and what it serves; several replicas may live in one.
pub struct Home {
    /// Its namespace: lease, certificate authority and network keys lie there.
    pub namespace: String,
    /// The namespaces that it serves.
    pub serves: Vec<String>,
    client: Client,
    kubeconfig: String,
}

/// A running replica.
#[derive(Debug)]
pub struct Operator {
    /// The process.
    pub program: Program,
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
        })
    }

    /// Starts the only replica, reached by the API server at its own address, and waits until it is ready.
    pub async fn start(&self) -> Result<Operator> {
        let (operator, webhook) = self.replica("operator-0", "127.0.0.1", free_port()?)?;
        self.register(webhook).await?;
        self.ready(&operator).await?;
        Ok(operator)
    }

    /// Starts one of several replicas, each at an address of its own, since the leader is found by address and
    /// the API's port; answers also the port of its webhook.
    pub fn replica(&self, name: &str, ip: &str, api: u16) -> Result<(Operator, u16)> {
        let (webhook, http) = (free_port()?, free_port()?);
        let names = format!("operator.{}.svc,{ip}", self.namespace);
        let settings = [
            ("KUBECONFIG", self.kubeconfig.clone()),
            ("POD_NAMESPACE", self.namespace.clone()),
            ("POD_NAME", name.to_owned()),
            ("POD_IP", ip.to_owned()),
            ("PEERUP_WATCH_NAMESPACES", self.serves.join(",")),
            ("PEERUP_WEBHOOK_CONFIG", self.namespace.clone()),
            ("PEERUP_SERVICE_NAMES", names),
            ("PEERUP_OPERATOR_URL", format!("https://{ip}:{api}")),
            ("PEERUP_API_LISTEN", format!("{ip}:{api}")),
            ("PEERUP_WEBHOOK_LISTEN", format!("{ip}:{webhook}")),
            ("PEERUP_HTTP_LISTEN", format!("{ip}:{http}")),
            ("PEERUP_LOG", "info,peerup_operator=debug".to_owned()),
        ];
        let environment: Vec<_> = settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let program = Program::start("peerup-operator", &[], &environment)?;
        let (url, http) = (format!("https://{ip}:{api}"), format!("http://{ip}:{http}"));
        Ok((Operator { program, url, http }, webhook))
    }

    /// Tells the API server to ask the webhook at this port about pods of the namespaces that are served.
    pub async fn register(&self, webhook: u16) -> Result<()> {
        let configuration = serde_json::from_value(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": self.namespace },
            "webhooks": [{
                "name": "pods.inject.peerup.dev",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": 5,
                "reinvocationPolicy": "IfNeeded",
                "clientConfig": { "url": format!("https://127.0.0.1:{webhook}/v1/inject") },
                "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"] }],
                "namespaceSelector": { "matchExpressions": [
                    { "key": "kubernetes.io/metadata.name", "operator": "In", "values": self.serves },
                ] },
            }],
        }))?;
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        api.create(&PostParams::default(), &configuration).await?;
        Ok(())
    }

    /// Waits until a replica says that it is ready.
    pub async fn ready(&self, operator: &Operator) -> Result<()> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        eventually("the operator's /readyz", READY, async || {
            let answer = http.get(format!("{}/readyz", operator.http)).send().await?;
            let status = answer.status();
            ensure!(status.is_success(), "{status}: {}", answer.text().await?);
            Ok(())
        })
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

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
