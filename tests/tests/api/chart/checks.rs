//! `helm test` as helm runs it, with this test in the kubelet's place: the program of its pod, with the rights that the
//! chart gives it, against the real operator.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use peerup_tests::light::{self, Light};
use peerup_tests::programs::Program;
use peerup_tests::wait::eventually;
use serde_json::json;

use super::installed::{self, Installed, impersonating};
use super::{CHART, NAMESPACE, helm_in};

const LIMIT: Duration = Duration::from_secs(60);
/// The pod, and all else of the test in the operator's namespace.
const TEST: &str = "peerup-operator-test";
/// The namespace of the test's own.
const OWN: &str = "peerup-test";

#[tokio::test]
async fn helm_test_sees_a_pod_get_its_sidecar_and_leaves_nothing() -> Result<()> {
    let light = Light::start()?;
    let client = light.client().await?;
    helm_in(&light, &["install", "peerup", CHART, "--create-namespace"])?;
    let operator = Installed::start(&light).await?;
    operator.register(&client).await?;

    let helm = {
        let kubeconfig = light.kubeconfig();
        tokio::task::spawn_blocking(move || {
            installed::helm(&kubeconfig, &["test", "peerup", "--timeout", "180s"])
        })
    };
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let pod = eventually("the test's pod", LIMIT, async || Ok(pods.get(TEST).await?)).await?;
    let mut program = run(&light, &pod, &[])?;
    let (ended, said) = end(&mut program).await?;
    ensure!(ended, "{said}");
    for line in [
        "ok: a pod would get its sidecar, localhost/peerup-sidecar:0.1.0",
        &format!("ok: the operator API answers at {}", operator.url),
    ] {
        ensure!(said.contains(line), "{line:?} is not in {said:?}");
    }
    // a counter that is not there from the start shows no increase at its first error
    let metrics = operator.page("/metrics").await?;
    for counted in [
        r#"peerup_injection_total{reason="NotReady",result="error"} 0"#,
        r#"peerup_injection_total{reason="",result="injected"} "#,
    ] {
        ensure!(metrics.contains(counted), "{counted} is not in {metrics}");
    }
    only_dry_runs(&light, &client).await?;
    deaf(&light, &client, &pod).await?;

    let succeeded = Patch::Merge(json!({ "status": { "phase": "Succeeded" } }));
    pods.patch_status(TEST, &PatchParams::default(), &succeeded)
        .await?;
    let said = helm.await??;
    ensure!(said.contains("Phase:          Succeeded"), "{said}");
    nothing_is_left(&client).await
}

/// Starts the program of a pod, as the kubelet would: its arguments, environment and account.
fn run(light: &Light, pod: &Pod, more: &[&str]) -> Result<Program> {
    let spec = pod.spec.as_ref().context("no spec")?;
    let account = spec.service_account_name.as_deref().context("no account")?;
    let kubeconfig = impersonating(light, account)?;
    let container = &spec.containers[0];
    let arguments: Vec<_> = container
        .args
        .iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let variables = container.env.iter().flatten();
    let mut environment: Vec<_> = variables
        .filter_map(|variable| Some((variable.name.as_str(), variable.value.as_deref()?)))
        .collect();
    environment.push(("KUBECONFIG", kubeconfig.to_str().context("a path")?));
    Program::start(
        "peerup-operator",
        &[&arguments, more].concat(),
        &environment,
    )
}

/// Whether the program succeeded, and what it printed.
async fn end(program: &mut Program) -> Result<(bool, String)> {
    let limit = LIMIT + Duration::from_secs(30);
    let status = eventually("the check to end", limit, async || {
        program.ended()?.context("it runs")
    })
    .await?;
    Ok((status.success(), program.output()))
}

/// The account can create no pod, and nothing anywhere else.
async fn only_dry_runs(light: &Light, client: &Client) -> Result<()> {
    let account = light::client(&impersonating(light, TEST)?).await?;
    let real: Pod = serde_json::from_value(json!({
        "metadata": { "name": "real" }, "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
    }))?;
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let own = Api::<Pod>::namespaced(account.clone(), OWN);
    own.create(&dry, &real).await.context("a dry run")?;
    eventually("the policy", LIMIT, async || {
        match own.create(&PostParams::default(), &real).await {
            Ok(_) => {
                own.delete("real", &DeleteParams::default()).await.ok();
                bail!("a pod was created")
            }
            Err(kube::Error::Api(status)) if status.message.contains("must be a dry run") => Ok(()),
            Err(error) => bail!("{error}"),
        }
    })
    .await?;
    for (what, refused) in [
        (
            "a pod elsewhere",
            Api::<Pod>::namespaced(account.clone(), "default")
                .create(&dry, &real)
                .await
                .is_err(),
        ),
        ("pods read", own.list(&ListParams::default()).await.is_err()),
        (
            "Secrets read",
            Api::<Secret>::namespaced(account.clone(), NAMESPACE)
                .list(&ListParams::default())
                .await
                .is_err(),
        ),
    ] {
        ensure!(refused, "{what}: must be refused");
    }
    let left = Api::<Pod>::namespaced(client.clone(), OWN)
        .list(&ListParams::default().labels("app.kubernetes.io/name!=peerup-relay"))
        .await?;
    ensure!(left.items.is_empty(), "pods were made: {:?}", left.items);
    Ok(())
}

/// Where the API server asks nobody, the check fails and says so.
async fn deaf(light: &Light, client: &Client, pod: &Pod) -> Result<()> {
    Api::<MutatingWebhookConfiguration>::all(client.clone())
        .delete("peerup-operator", &DeleteParams::default())
        .await?;
    eventually("the check to fail", LIMIT, async || {
        let mut program = run(light, pod, &["--within-seconds", "1"])?;
        let (ended, said) = end(&mut program).await?;
        ensure!(!ended, "it succeeds without webhook");
        ensure!(
            said.contains("MutatingWebhookConfiguration peerup-operator"),
            "{said}"
        );
        Ok(())
    })
    .await
}

async fn nothing_is_left(client: &Client) -> Result<()> {
    eventually("the test to be gone", LIMIT, async || {
        let namespaces = Api::<Namespace>::all(client.clone());
        ensure!(namespaces.get_opt(OWN).await?.is_none(), "the namespace");
        let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
        ensure!(pods.get_opt(TEST).await?.is_none(), "the pod");
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), NAMESPACE);
        ensure!(accounts.get_opt(TEST).await?.is_none(), "the account");
        let secrets = Api::<Secret>::namespaced(client.clone(), NAMESPACE);
        let keys = secrets.list(&ListParams::default()).await?;
        let keys: Vec<_> = keys
            .iter()
            .filter(|secret| secret.type_.as_deref() == Some("peerup.dev/network-key"))
            .map(ResourceExt::name_any)
            .collect();
        ensure!(keys.is_empty(), "keys: {keys:?}");
        Ok(())
    })
    .await
}
