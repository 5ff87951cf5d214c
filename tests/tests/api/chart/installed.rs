//! The operator's program with the settings and rights that the chart gives it. There are no nodes, so it runs here.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Client;
use kube::api::{Api, PostParams};
use peerup_tests::light::Light;
use peerup_tests::operator::{API, HTTP, WEBHOOK, own_address};
use peerup_tests::programs::Program;
use peerup_tests::tools::{self, run};
use peerup_tests::wait::eventually;

use super::{NAMESPACE, find, objects};

const READY: Duration = Duration::from_secs(120);

/// A running operator of the release `peerup`.
pub(super) struct Installed {
    /// The process.
    pub(super) program: Program,
    /// `https://…` of its API.
    pub(super) url: String,
    /// `http://…` of its metrics and health.
    pub(super) http: String,
    address: Ipv4Addr,
}

impl Installed {
    /// Starts it with the account of the chart, and waits until it is ready.
    pub(super) async fn start(light: &Light) -> Result<Self> {
        let address = own_address();
        let url = format!("https://{address}:{API}");
        let http = format!("{address}:{HTTP}");
        let objects = objects(&[])?;
        let names = environment(&objects)?
            .get("PEERUP_SERVICE_NAMES")
            .map(|names| format!("{names},{address}"))
            .context("no names")?;
        let mut installed = Self {
            program: program(
                light,
                &[],
                "peerup-operator",
                &[
                    ("PEERUP_API_LISTEN", format!("{address}:{API}")),
                    ("PEERUP_WEBHOOK_LISTEN", format!("{address}:{WEBHOOK}")),
                    ("PEERUP_HTTP_LISTEN", http.clone()),
                    ("PEERUP_OPERATOR_URL", url.clone()),
                    ("PEERUP_SERVICE_NAMES", names),
                ],
            )?,
            url,
            http: format!("http://{http}"),
            address,
        };
        let ready = format!("{}/readyz", installed.http);
        installed.program.answers(&ready, READY).await?;
        Ok(installed)
    }

    /// What a page of its plain HTTP says.
    pub(super) async fn page(&self, path: &str) -> Result<String> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let answer = http.get(format!("{}{path}", self.http)).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{status}: {text}");
        Ok(text)
    }

    /// Lets the API server find the webhook here: behind the Service of the chart there is no pod.
    pub(super) async fn register(&self, client: &Client) -> Result<()> {
        let api = Api::<MutatingWebhookConfiguration>::all(client.clone());
        eventually("the webhook's address", READY, async || {
            let mut configuration = api.get("peerup-operator").await?;
            for webhook in configuration.webhooks.iter_mut().flatten() {
                webhook.client_config.service = None;
                webhook.client_config.url =
                    Some(format!("https://{}:{WEBHOOK}/v1/inject", self.address));
            }
            api.replace("peerup-operator", &PostParams::default(), &configuration)
                .await?;
            Ok(())
        })
        .await
    }
}

/// Starts the operator's program as an account of the operator's namespace, with the environment that the chart sets.
pub(super) fn program(
    light: &Light,
    arguments: &[&str],
    account: &str,
    settings: &[(&str, String)],
) -> Result<Program> {
    let kubeconfig = impersonating(light, account)?;
    let objects = objects(&[])?;
    let mut environment = environment(&objects)?;
    environment.extend([
        (
            "KUBECONFIG",
            kubeconfig.to_str().context("a path that is no text")?,
        ),
        ("POD_NAMESPACE", NAMESPACE),
        ("POD_NAME", "operator-0"),
        ("POD_IP", "127.0.0.1"),
    ]);
    environment.extend(settings.iter().map(|(name, value)| (*name, value.as_str())));
    let environment: Vec<_> = environment.into_iter().collect();
    Program::start("peerup-operator", arguments, &environment)
}

/// What the rendered Deployment sets, but for what a node would say.
fn environment(objects: &[serde_json::Value]) -> Result<BTreeMap<&str, &str>> {
    let pod = &find(objects, "Deployment", "peerup-operator")?["spec"]["template"]["spec"];
    let variables = pod["containers"][0]["env"]
        .as_array()
        .context("no environment")?;
    Ok(variables
        .iter()
        .filter_map(|variable| variable["name"].as_str().zip(variable["value"].as_str()))
        .collect())
}

/// A kubeconfig of the administrator who acts as a service account of the operator's namespace.
pub(super) fn impersonating(light: &Light, account: &str) -> Result<PathBuf> {
    let text = std::fs::read_to_string(light.kubeconfig())?;
    let line = format!("  user:\n    as: system:serviceaccount:{NAMESPACE}:{account}\n");
    let changed = text.replacen("  user:\n", &line, 1);
    ensure!(changed != text, "the kubeconfig has no user");
    let path = light.directory().join(format!("{account}.kubeconfig"));
    std::fs::write(&path, changed)?;
    Ok(path)
}

/// Runs helm with a kubeconfig; what it prints.
pub(super) fn helm(kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(tools::helm()?);
    command.args(arguments).args(["--namespace", NAMESPACE]);
    run(command.env("KUBECONFIG", kubeconfig))
}
