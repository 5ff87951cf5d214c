//! The Helm chart: what it renders, that the API server takes it, and its alerts.

mod alerts;
mod checks;
mod install;
mod installed;
mod metrics;
mod policies;
mod render;
mod rights;
mod upgrade;

use std::process::Command;

use anyhow::{Context, Result};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use peerup_tests::light::Light;
use peerup_tests::tools::{self, run};
use serde_json::Value;

/// The chart, from the top of the repository.
const CHART: &str = "charts/peerup";
/// Where it is installed.
const NAMESPACE: &str = "peerup-system";
/// Kinds of prometheus-operator, which `helm template` otherwise takes for absent.
const MONITORING: [&str; 3] = ["PodMonitor", "PrometheusRule", "ServiceMonitor"];

/// What `helm template` prints for a release `peerup` in `peerup-system` with more arguments.
fn template(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(tools::helm()?);
    command.args(["template", "peerup", CHART, "--namespace", NAMESPACE]);
    command.args(["--kube-version", "1.33.0"]).args(arguments);
    for kind in MONITORING {
        command.args([
            "--api-versions",
            &format!("monitoring.coreos.com/v1/{kind}"),
        ]);
    }
    run(&mut command)
}

/// The same as objects.
pub(super) fn objects(arguments: &[&str]) -> Result<Vec<Value>> {
    parse(&template(arguments)?)
}

fn parse(text: &str) -> Result<Vec<Value>> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(text).context("what helm prints")?;
    Ok(objects
        .into_iter()
        .filter(|object| !object.is_null())
        .collect())
}

/// The object of that kind and name.
pub(super) fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .with_context(|| format!("no {kind} {name}"))
}

/// Runs helm against the API server.
fn helm_in(light: &Light, arguments: &[&str]) -> Result<String> {
    installed::helm(&light.kubeconfig(), arguments)
}

/// Server-side apply of any object.
pub(super) async fn apply(
    client: &Client,
    object: &Value,
    parameters: &PatchParams,
) -> Result<DynamicObject> {
    let types: TypeMeta = serde_json::from_value(object.clone())?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = object["metadata"]["name"].as_str().context("no name")?;
    Ok(api.patch(name, parameters, &Patch::Apply(object)).await?)
}
