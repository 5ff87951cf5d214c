//! A pod's name goes to its successor, and to its own next key.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::json;

use super::world::{World, key};

#[tokio::test]
async fn a_pods_name_is_freed_for_its_successor_and_for_its_new_key() -> Result<()> {
    let world = World::new("attest").await?;
    let pod = world.pod("web-0", |_| ()).await?;
    let (first, _) = world.attest(&pod, &key(1)).await?;
    let (rekeyed, _) = world.attest(&pod, &key(2)).await?;
    ensure!(
        (first.name.as_str(), rekeyed.name.as_str()) == ("web-0", "web-0"),
        "{first:?} {rekeyed:?}"
    );
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    };
    world.api::<Pod>().delete("web-0", &now).await?;
    let next = world.pod("web-0", |_| ()).await?;
    let (successor, _) = world.attest(&next, &key(3)).await?;
    ensure!(successor.name.as_str() == "web-0", "{successor:?}");
    // Whoever lives keeps the name.
    let wish = json!({"peerup.dev/name": "web-0"});
    let other = world
        .pod("other", |pod| pod["metadata"]["annotations"] = wish)
        .await?;
    let (second, _) = world.attest(&other, &key(4)).await?;
    ensure!(second.name.as_str() == "web-0-2", "{second:?}");
    let token = world.token(&other, &world.audience()).await?;
    world
        .try_attest(&token, &key(3))
        .await?
        .refused(409, "PeerIDTaken")
}

#[tokio::test]
async fn a_pod_brings_few_keys() -> Result<()> {
    let world = World::new("attest").await?;
    let pod = world.pod("web", |_| ()).await?;
    for number in 1..=4 {
        world.attest(&pod, &key(number)).await?;
    }
    let token = world.token(&pod, &world.audience()).await?;
    world
        .try_attest(&token, &key(5))
        .await?
        .refused(409, "TooManyKeys")?;
    let peers = world.peers().await?;
    let active = peers
        .iter()
        .filter(|peer| peer.metadata.deletion_timestamp.is_none())
        .count();
    ensure!(active == 1, "{active} peers of one pod");
    Ok(())
}
