//! An operator whose account may do nothing says what it misses, and ends.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use peerup_tests::light::{self, Light};
use peerup_tests::programs::Program;
use peerup_tests::wait::eventually;
use serde_json::{Value, json};

use super::world::SOON;

#[tokio::test]
async fn an_operator_without_rbac_names_every_missing_permission() -> Result<()> {
    let light = Light::shared()?;
    let client = light.client().await?;
    let namespace = light::namespace(&client, "rights").await?;
    let accounts = Api::<ServiceAccount>::namespaced(client, &namespace);
    eventually("the default account", SOON, async || {
        Ok(accounts.get("default").await?)
    })
    .await?;
    let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": []}}))?;
    let token = accounts
        .create_token_request("default", &PostParams::default(), &request)
        .await?;
    let token = token.status.context("no token")?.token;

    let admin: Value = serde_saphyr::from_str(&std::fs::read_to_string(light.kubeconfig())?)?;
    let mut config = admin;
    config["users"][0]["user"] = json!({"token": token});
    let path = light.directory().join(format!("{namespace}.kubeconfig"));
    std::fs::write(&path, serde_json::to_string(&config)?)?;
    let path = path.to_str().context("path")?;
    let mut operator = Program::start(
        "peerup-operator",
        &["--operator-namespace", &namespace],
        &[("KUBECONFIG", path)],
    )?;
    let status = eventually("the operator to end", SOON, async || {
        operator.ended()?.context("it runs")
    })
    .await?;
    let output = operator.output();
    ensure!(!status.success());
    for expected in [
        "lacks permissions",
        "list peernetworks.peerup.dev in the whole cluster",
        "patch pods/status in the whole cluster",
        "create tokenreviews.authentication.k8s.io in the whole cluster",
    ] {
        ensure!(output.contains(expected), "no {expected:?} in: {output}");
    }
    ensure!(
        output.contains(&format!(
            "update leases.coordination.k8s.io in namespace {namespace}"
        )),
        "{output}"
    );
    Ok(())
}
