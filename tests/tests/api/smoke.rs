//! The light tier itself: what the tests beside this one rely on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::Api;
use kube::api::PostParams;
use peerup_tests::light::{self, Light};
use peerup_tests::wait::eventually;

#[tokio::test]
async fn objects_are_stored() -> Result<()> {
    let client = Light::shared()?.client().await?;
    let namespace = light::namespace(&client, "smoke").await?;
    let maps = Api::<ConfigMap>::namespaced(client, &namespace);
    let mut map = ConfigMap::default();
    map.metadata.name = Some("kept".to_owned());
    maps.create(&PostParams::default(), &map).await?;
    let read = maps.get("kept").await?;
    ensure!(read.metadata.uid.is_some(), "it has no uid");
    Ok(())
}

#[tokio::test]
async fn service_accounts_get_tokens_for_an_audience() -> Result<()> {
    let client = Light::shared()?.client().await?;
    let namespace = light::namespace(&client, "smoke").await?;
    let accounts = Api::<ServiceAccount>::namespaced(client, &namespace);
    eventually(
        "the default service account",
        Duration::from_secs(60),
        async || Ok(accounts.get("default").await?),
    )
    .await?;
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec!["peerup.dev/a/b".to_owned()],
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request("default", &PostParams::default(), &request)
        .await?;
    let token = answer.status.context("no status")?.token;
    ensure!(token.split('.').count() == 3, "that is no JWT");
    Ok(())
}
