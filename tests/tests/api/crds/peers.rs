//! Peer: what is refused, and selecting them.

use anyhow::{Result, ensure};
use kube::api::ListParams;
use serde_json::{Value, json};

use super::{kinds, refused, with, without};

fn pod_peer() -> Value {
    json!({
        "networkRef": { "name": "crew" }, "serial": "0123456789abcdef", "displayName": "web-0",
        "peerID": "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
        "type": "Pod", "method": "Attested", "subject": "local/shop/default/web-0",
        "podRef": { "namespace": "shop", "name": "web-0", "uid": "u", "serviceAccount": "default" },
    })
}

#[tokio::test]
async fn a_peer_keeps_who_it_is() -> Result<()> {
    let (_, _, peers) = kinds().await?;
    peers.create("crew.web-0", pod_peer()).await?;
    for (field, value, words) in [
        (
            "serial",
            json!("0".repeat(16)),
            "networkRef, peerID, serial and displayName must not change",
        ),
        (
            "subject",
            Value::Null,
            "type, method and subject must not change",
        ),
        ("podRef", json!({ "uid": "v" }), "podRef must not change"),
        ("podRef", Value::Null, "podRef must not change"),
    ] {
        let patch = json!({ "spec": { field: value } });
        refused(
            &patch.to_string(),
            peers.merge("crew.web-0", patch).await,
            words,
        )?;
    }
    peers
        .merge("crew.web-0", json!({ "spec": { "state": "Revoked" } }))
        .await?;
    let patch = json!({ "spec": { "state": "Active" } });
    refused(
        "revive",
        peers.merge("crew.web-0", patch).await,
        "state must stay Revoked",
    )?;

    refused(
        "name",
        peers.create("crew.web-1", pod_peer()).await,
        "metadata.name must be <network>.<displayName>",
    )?;
    let no_pod = without(pod_peer(), "podRef");
    refused(
        "no pod",
        peers.create("crew.web-0", no_pod).await,
        "podRef must be set with type Pod",
    )?;
    let no_code = with(pod_peer(), "method", json!("Code"));
    refused(
        "no code",
        peers.create("crew.web-0", no_code).await,
        "pairingCodeRef must be set with method Code",
    )
}

#[tokio::test]
async fn peers_are_selected_by_grade_and_network() -> Result<()> {
    let (_, _, peers) = kinds().await?;
    peers.create("crew.web-0", pod_peer()).await?;
    peers
        .status("crew.web-0", json!({ "grade": "C", "path": "Direct" }))
        .await?;
    for (selector, found) in [
        ("status.grade=C", 1),
        ("status.grade=F", 0),
        ("spec.networkRef.name=crew", 1),
        ("spec.networkRef.name=other", 0),
    ] {
        let list = peers
            .api
            .list(&ListParams::default().fields(selector))
            .await?;
        ensure!(
            list.items.len() == found,
            "{selector}: {} peers",
            list.items.len()
        );
    }
    Ok(())
}
