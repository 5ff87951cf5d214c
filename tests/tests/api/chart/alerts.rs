//! The alerts: promtool's tests, runbooks and times, and what they need of the API server.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, ListParams, PostParams};
use kube::core::Request;
use peerup_tests::light::{self, Light, repository};
use peerup_tests::tools::{promtool, run};
use peerup_tests::wait::eventually;
use serde_json::{Value, json};

use super::{find, objects};

/// The groups of the rendered PrometheusRule.
fn groups() -> Result<Value> {
    let objects = objects(&[])?;
    let groups = &find(&objects, "PrometheusRule", "peerup")?["spec"]["groups"];
    Ok(json!({ "groups": groups }))
}

/// All its rules.
pub(super) fn rules() -> Result<Vec<Value>> {
    let groups = groups()?;
    let groups = groups["groups"].as_array().context("no groups")?;
    let rules = groups.iter().filter_map(|group| group["rules"].as_array());
    Ok(rules.flatten().cloned().collect())
}

#[test]
fn they_fire_and_stay_silent_as_promtool_is_told() -> Result<()> {
    let directory = std::env::temp_dir().join(format!("peerup-alerts-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("rules.yaml"), groups()?.to_string())?;
    fs::write(directory.join("alerts.yaml"), include_str!("alerts.yaml"))?;
    fs::write(directory.join("silence.yaml"), include_str!("silence.yaml"))?;
    let promtool = promtool()?;
    let checked = run(Command::new(&promtool)
        .args(["check", "rules"])
        .arg(directory.join("rules.yaml")));
    let tested = run(Command::new(&promtool).args(["test", "rules"]).args([
        directory.join("alerts.yaml"),
        directory.join("silence.yaml"),
    ]));
    fs::remove_dir_all(&directory)?;
    checked?;
    tested?;
    Ok(())
}

#[test]
fn each_is_tested_has_a_runbook_and_a_time() -> Result<()> {
    let tests = include_str!("alerts.yaml");
    let mut names = BTreeSet::new();
    for rule in rules()? {
        let name = rule["alert"]
            .as_str()
            .context("a rule has no name")?
            .to_owned();
        ensure!(
            tests.contains(&format!("alertname: {name}")),
            "promtool's tests leave out {name}"
        );
        let runbook = repository().join(format!("docs/runbooks/{name}.md"));
        let text =
            fs::read_to_string(&runbook).with_context(|| format!("read {}", runbook.display()))?;
        ensure!(
            text.starts_with(&format!("# {name}\n")),
            "{} is about something else",
            runbook.display()
        );
        let url = &rule["annotations"]["runbook_url"];
        ensure!(url == &format!("docs/runbooks/{name}.md"), "{name}: {url}");
        ensure!(rule["for"].is_string(), "{name} has no time");
        names.insert(name);
    }
    let values: Value = serde_saphyr::from_str(&fs::read_to_string(
        repository().join("charts/peerup/values.yaml"),
    )?)?;
    let times = values["monitoring"]["prometheusRule"]["for"]
        .as_object()
        .context("no times")?;
    let times: BTreeSet<_> = times.keys().cloned().collect();
    ensure!(
        times == names,
        "values.yaml has times of {times:?}, the alerts are {names:?}"
    );
    let runbooks = fs::read_dir(repository().join("docs/runbooks"))?.count();
    ensure!(
        runbooks == names.len(),
        "{runbooks} runbooks for {} alerts",
        names.len()
    );
    Ok(())
}

/// The alert about webhook errors also reads the API server's own counts: they must have these names and labels.
#[tokio::test]
async fn the_api_server_counts_what_it_could_not_ask() -> Result<()> {
    let client = Light::shared()?.client().await?;
    let namespace = light::namespace(&client, "unasked").await?;
    let webhook = |name: &str, policy: &str, resource: &str| {
        json!({
            "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": policy,
            "clientConfig": { "url": "https://127.0.0.1:1/v1/inject" },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": [resource], "operations": ["CREATE"] }],
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
        })
    };
    let configuration = serde_json::from_value(json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": namespace },
        "webhooks": [
            webhook("namespace.inject.peerup.dev", "Ignore", "configmaps"),
            webhook("pod.inject.peerup.dev", "Fail", "secrets"),
        ],
    }))?;
    Api::<MutatingWebhookConfiguration>::all(client.clone())
        .create(&PostParams::default(), &configuration)
        .await?;
    let (maps, secrets) = (
        Api::<ConfigMap>::namespaced(client.clone(), &namespace),
        Api::<Secret>::namespaced(client.clone(), &namespace),
    );
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let any = json!({ "metadata": { "name": "any" } });
    eventually("the counts", Duration::from_secs(60), async || {
        maps.create(&dry, &serde_json::from_value(any.clone())?)
            .await?;
        let refused = secrets
            .create(&dry, &serde_json::from_value(any.clone())?)
            .await;
        ensure!(refused.is_err(), "the webhook is not known yet");
        let page = client
            .request_text(Request::new("/metrics").list(&ListParams::default())?)
            .await?;
        for counted in [
            r#"apiserver_admission_webhook_fail_open_count{name="namespace.inject.peerup.dev","#,
            r#"apiserver_admission_webhook_rejection_count{error_type="calling_webhook_error",name="pod.inject.peerup.dev","#,
        ] {
            ensure!(page.contains(counted), "no {counted}");
        }
        Ok(())
    })
    .await
}
