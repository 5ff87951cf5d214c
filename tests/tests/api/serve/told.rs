//! Every end of codes and peers is told: an event on the object, a number for the alerts.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use peerup_crds::{PairingCode, Peer};
use peerup_protocol::api::{FailureRequest, RefusalReason, path};
use peerup_protocol::code::Code;
use peerup_protocol::id::peer_id;
use peerup_tests::wait::eventually;
use serde_json::json;

use super::joiner::{known, record, redeem, refusal};
use super::world::{Relay, SOON, World, key};

/// Waits for events on an object; answers what they say.
async fn told(world: &World, kind: &str, name: &str, reason: &str) -> Result<Vec<Event>> {
    eventually(&format!("{reason} on {kind} {name}"), SOON, async || {
        let all = world.api::<Event>().list(&ListParams::default()).await?;
        let is_it = |event: &Event| {
            let about = event.regarding.clone().unwrap_or_default();
            about.kind.as_deref() == Some(kind)
                && about.name.as_deref() == Some(name)
                && event.reason.as_deref() == Some(reason)
        };
        let mut found = all.items;
        found.retain(is_it);
        ensure!(!found.is_empty(), "nothing is told");
        Ok(found)
    })
    .await
}

/// Waits until a metric has a value.
async fn counted(world: &World, metric: &str, value: u32) -> Result<()> {
    let line = format!("{metric} {value}");
    eventually(&line, SOON, async || {
        let url = format!("{}/metrics", world.operator.http);
        let text = world.http.get(url).send().await?.text().await?;
        let name = metric.split('{').next().unwrap_or_default();
        let same: Vec<_> = text.lines().filter(|line| line.starts_with(name)).collect();
        ensure!(same.contains(&line.as_str()), "{same:?}");
        Ok(())
    })
    .await
}

async fn miss(relay: &Relay<'_>, code: &Code) -> Result<()> {
    let miss = FailureRequest {
        group: code.group,
        slot: code.slot,
        peer_id: peer_id(&key(99).verifying_key()),
        reason: RefusalReason::BadMac,
    };
    let answer = relay.post(path::FAILURE, &miss).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn the_use_of_a_code_and_of_all_codes_is_told() -> Result<()> {
    let world = World::new("told").await?;
    let codes = world.codes("used", json!({})).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    counted(&world, r#"peerup_codes{state="Available"}"#, 1).await?;
    let joined = redeem(&codes[0], &key(1), "laptop")?;
    record(&relay.post(path::REDEEM, &joined).await?)?;
    told(&world, "PairingCode", "used", "Issued").await?;
    let events = told(&world, "PairingCode", "used", "Exhausted").await?;
    ensure!(events[0].type_.as_deref() == Some("Normal"), "{events:?}");
    counted(&world, r#"peerup_codes{state="Used"}"#, 1).await?;
    counted(&world, r#"peerup_codes{state="Available"}"#, 0).await?;
    let metric = r#"peerup_pairing_total{reason="",result="joined"}"#;
    counted(&world, metric, 1).await?;

    // Somebody tries a code that another has used, until its group is over.
    for thief in 2..=4 {
        let answer = relay
            .post(path::REDEEM, &redeem(&codes[0], &key(thief), "laptop")?)
            .await?;
        ensure!(refusal(&answer)? == (RefusalReason::Used, true));
    }
    let events = told(&world, "PairingCode", "used", "Burned").await?;
    let note = events[0].note.clone().context("note")?;
    ensure!(
        events[0].type_.as_deref() == Some("Warning") && note.contains("no unused code"),
        "{note}"
    );
    let metric = r#"peerup_pairing_total{reason="Used",result="refused"}"#;
    counted(&world, metric, 3).await?;
    counted(&world, "peerup_groups_burned_total", 1).await
}

#[tokio::test]
async fn failures_time_and_revocation_are_told() -> Result<()> {
    let world = World::new("told").await?;
    let burned = world.codes("burned", json!({"count": 2})).await?;
    let relay = world.relay().await?;
    known(&relay, &burned[0]).await?;
    for _ in 0..3 {
        miss(&relay, &burned[0]).await?;
    }
    let events = told(&world, "PairingCode", "burned", "Burned").await?;
    ensure!(
        events.len() == 1 && events[0].type_.as_deref() == Some("Warning"),
        "{events:?}"
    );
    counted(&world, r#"peerup_codes{state="Burned"}"#, 2).await?;
    counted(&world, "peerup_groups_burned_total", 1).await?;
    let metric = r#"peerup_pairing_total{reason="BadMac",result="failed"}"#;
    counted(&world, metric, 3).await?;

    world.codes("late", json!({})).await?;
    let api = world.api::<PairingCode>();
    let over = Patch::Merge(json!({"status": {"expirationTime": "2026-01-01T00:00:00Z"}}));
    api.patch_status("late", &PatchParams::default(), &over)
        .await?;
    let events = told(&world, "PairingCode", "late", "Expired").await?;
    ensure!(events[0].type_.as_deref() == Some("Normal"), "{events:?}");
    counted(&world, r#"peerup_codes{state="Expired"}"#, 1).await?;

    world.codes("stopped", json!({})).await?;
    let stop = Patch::Merge(json!({"spec": {"state": "Revoked"}}));
    api.patch("stopped", &PatchParams::default(), &stop).await?;
    let events = told(&world, "PairingCode", "stopped", "Revoked").await?;
    ensure!(events[0].type_.as_deref() == Some("Normal"), "{events:?}");
    counted(&world, r#"peerup_codes{state="Revoked"}"#, 1).await
}

#[tokio::test]
async fn a_revoked_peer_is_told() -> Result<()> {
    let world = World::new("told").await?;
    let codes = world.codes("team", json!({"count": 2})).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    for (number, code) in (1..).zip(&codes) {
        let joined = redeem(code, &key(number), "laptop")?;
        record(&relay.post(path::REDEEM, &joined).await?)?;
    }
    let peers = world.api::<Peer>();
    let revoke = Patch::Merge(json!({"spec": {"state": "Revoked"}}));
    peers
        .patch("main.laptop", &PatchParams::default(), &revoke)
        .await?;
    peers.delete("main.laptop-2", &Default::default()).await?;
    for name in ["main.laptop", "main.laptop-2"] {
        let events = told(&world, "Peer", name, "Revoked").await?;
        let note = events[0].note.clone().context("note")?;
        ensure!(note.contains("PeerNetwork main"), "{note}");
    }
    // The deleted one is no more.
    let labels = format!(r#"network="main",network_namespace="{}""#, world.namespace);
    let metric = format!(r#"peerup_peers_total{{{labels},state="Revoked"}}"#);
    counted(&world, &metric, 1).await
}
