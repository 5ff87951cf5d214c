//! Several replicas: each answers, one decides.

use anyhow::{Result, ensure};
use peerup_protocol::api::{HOP_HEADER, path};
use peerup_tests::light::Light;
use peerup_tests::operator::{Home, opted_in};
use peerup_tests::wait::eventually;
use serde_json::json;

use super::world::{SOON, World, answer, http, key};

#[tokio::test]
async fn every_replica_answers_and_one_takes_over() -> Result<()> {
    let light = Light::shared()?;
    let client = light.client().await?;
    let namespace = opted_in(&client, "replicas").await?;
    let home = Home::new(light, &client, &[&namespace]).await?;
    let first = home.start().await?;
    let mut second = home.replica("operator-1")?;
    home.ready(&mut second).await?;
    let http = http(&home).await?;
    let mut world = World {
        client,
        namespace,
        home,
        operator: second,
        http,
    };
    world.network("main", json!({})).await?;

    // The first leads: it was alone at the beginning.
    let pod = world.pod("web", |_| ()).await?;
    let (answered, _) = world.attest(&pod, &key(1)).await?;
    ensure!(answered.name.as_str() == "web");
    // A caller that says it was passed on is believed only with a replica's certificate.
    let token = world.token(&pod, &world.audience()).await?;
    let body = serde_json::to_vec(&json!({"peerID": "x", "signature": ""}))?;
    let url = format!("{}{}", world.operator.url, path::ATTEST);
    let passed_on = async || {
        let request = world.http.post(&url).bearer_auth(&token);
        let request = request.header(HOP_HEADER, "1").body(body.clone());
        answer(request).await?.refused(400, "Malformed")
    };
    eventually("a refusal", SOON, passed_on).await?;

    drop(first);
    eventually("the second to lead", SOON, async || {
        let again: peerup_protocol::api::AttestAnswer =
            world.try_attest(&token, &key(1)).await?.ok()?;
        ensure!(again.name == answered.name);
        Ok(())
    })
    .await?;
    world.operator.program.kill()?;
    Ok(())
}
