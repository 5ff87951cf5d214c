//! Peers end with their pods, and not without their record being taken back.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use peerup_crds::{Peer, PeerNetwork};
use peerup_protocol::{SigningKey, id};
use peerup_tests::operator::create_pod;
use peerup_tests::wait::eventually;
use serde_json::json;

use super::world::{SOON, World, gone};

async fn pod(world: &World, name: &str) -> Result<Pod> {
    world.has::<ServiceAccount>("default").await?;
    let pod = json!({"metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 0, "containers": [{"name": "app", "image": "app:1"}]}});
    create_pod(&world.api(), &serde_json::from_value(pod)?).await
}

/// A Peer as attestation makes it.
async fn peer(world: &World, pod: &Pod, seed: u8) -> Result<Peer> {
    let key = SigningKey::from_bytes(&[seed; 32]).verifying_key();
    let peer = json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "Peer",
        "metadata": {"name": format!("main.{}", pod.name_any()), "finalizers": ["peerup.dev/relay-revoke"]},
        "spec": {
            "networkRef": {"name": "main"}, "peerID": id::peer_id(&key).to_string(), "serial": format!("{seed:016x}"),
            "type": "Pod", "method": "Attested", "displayName": pod.name_any(),
            "podRef": {"namespace": world.namespace, "name": pod.name_any(), "uid": pod.uid(), "serviceAccount": "default"},
        },
    });
    Ok(world
        .api::<Peer>()
        .create(&PostParams::default(), &serde_json::from_value(peer)?)
        .await?)
}

fn revoked(network: &PeerNetwork) -> (u64, Vec<String>) {
    let status = network.status.clone().unwrap_or_default();
    (
        status.epoch.unwrap_or(0),
        status
            .revocations
            .into_iter()
            .map(|entry| entry.serial)
            .collect(),
    )
}

#[tokio::test]
async fn a_peer_goes_with_its_pod() -> Result<()> {
    let world = World::new("pods").await?;
    world.network("main", json!({})).await?;
    world.network_says("main", "Ready", "NoRelayReady").await?;
    let (one, two) = (pod(&world, "one").await?, pod(&world, "two").await?);
    peer(&world, &one, 1).await?;
    peer(&world, &two, 2).await?;
    eventually("both to be counted", SOON, async || {
        let status = world
            .api::<PeerNetwork>()
            .get("main")
            .await?
            .status
            .context("status")?;
        ensure!(status.peers.context("peers")?.total == 2);
        Ok(())
    })
    .await?;
    world
        .api::<Pod>()
        .delete("one", &DeleteParams::default())
        .await?;
    gone(&world.api::<Peer>(), "main.one").await?;
    ensure!(
        world.api::<Peer>().get_opt("main.two").await?.is_some(),
        "another pod's Peer stays"
    );
    let network = world.api::<PeerNetwork>().get("main").await?;
    ensure!(
        revoked(&network).1.is_empty(),
        "its key went with it, there is nothing to revoke"
    );
    Ok(())
}

#[tokio::test]
async fn a_deleted_peer_is_revoked_first() -> Result<()> {
    let world = World::new("revoke").await?;
    world.network("main", json!({})).await?;
    let network = world.network_says("main", "Ready", "NoRelayReady").await?;
    let pod = pod(&world, "web").await?;
    peer(&world, &pod, 7).await?;
    let (before, none) = revoked(&network);
    ensure!(none.is_empty());
    world
        .api::<Peer>()
        .delete("main.web", &DeleteParams::default())
        .await?;
    gone(&world.api::<Peer>(), "main.web").await?;
    let (epoch, serials) = revoked(&world.api::<PeerNetwork>().get("main").await?);
    ensure!(
        serials == [format!("{:016x}", 7)] && epoch > before,
        "{epoch} {serials:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_new_peer_says_that_it_is_awaited() -> Result<()> {
    let world = World::new("pending").await?;
    world.network("main", json!({})).await?;
    let pod = pod(&world, "web").await?;
    peer(&world, &pod, 9).await?;
    eventually("conditions on Peer and pod", SOON, async || {
        let peer = world
            .api::<Peer>()
            .get("main.web")
            .await?
            .status
            .context("status")?;
        super::world::says(&peer.conditions, "Joined", "Pending")?;
        let conditions = world
            .api::<Pod>()
            .get("web")
            .await?
            .status
            .and_then(|status| status.conditions);
        let said: Vec<_> = conditions
            .unwrap_or_default()
            .into_iter()
            .map(|one| (one.type_, one.status))
            .collect();
        let expected = [
            ("Joined", "False"),
            ("Verified", "False"),
            ("Reachable", "Unknown"),
        ];
        for (type_, status) in expected {
            ensure!(
                said.contains(&(format!("peerup.dev/{type_}"), status.to_owned())),
                "{said:?}"
            );
        }
        Ok(())
    })
    .await
}
