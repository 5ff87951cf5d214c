//! Codes that were made elsewhere: known by hash and public key, put nowhere, their group had once.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use peerup_crds::{PairingCode, PeerNetwork, SlotState};
use peerup_protocol::SigningKey;
use peerup_tests::wait::eventually;
use serde_json::{Value, json};

use super::world::{SOON, World, gone};

const GROUP: &str = "00000000000000a1";

/// One code for the network `main`, which ends in so many seconds.
fn spec(group: &str, seconds: i64) -> Result<Value> {
    let end = Timestamp::from_second(Timestamp::now().as_second() + seconds)?;
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
    let value = json!({
        "slot": 0, "hash": "a".repeat(64), "publicKey": data_encoding::HEXLOWER.encode(key.as_bytes()),
    });
    Ok(json!({
        "networkRef": {"name": "main"},
        "delivery": {"type": "Hashes", "hashes": {
            "group": group, "notAfterTime": end.to_string(), "values": [value],
        }},
    }))
}

async fn used_groups(world: &World) -> Result<Vec<(String, String)>> {
    let network = world.api::<PeerNetwork>().get("main").await?;
    let used = network.status.context("status")?.used_groups;
    Ok(used
        .into_iter()
        .map(|used| (used.group, used.pairing_code_uid))
        .collect())
}

#[tokio::test]
async fn a_group_is_had_once_whatever_happens_to_its_pairing_code() -> Result<()> {
    let world = World::new("hashes").await?;
    world.network("main", json!({})).await?;
    let first = world.code("first", spec(GROUP, 600)?).await?;
    let issued = world.code_says("first", "Ready", "Issued").await?;
    world
        .code_says("first", "Delivered", "MadeElsewhere")
        .await?;
    let status = issued.status.context("status")?;
    ensure!(
        status.group.as_deref() == Some(GROUP)
            && status.secret_ref.is_none()
            && status.codes[0].hash == "a".repeat(64)
            && status.codes[0].state == SlotState::Available,
        "{status:?}"
    );
    let own = (GROUP.to_owned(), first.uid().context("uid")?);
    ensure!(used_groups(&world).await? == std::slice::from_ref(&own));
    let secrets = world.api::<Secret>().list(&ListParams::default()).await?;
    let names: Vec<_> = secrets.iter().map(ResourceExt::name_any).collect();
    ensure!(names == ["main-relay-keys"], "{names:?}");

    world.code("second", spec(GROUP, 900)?).await?;
    world.code_says("second", "Ready", "GroupTaken").await?;
    // Gone is not forgotten: else its used codes would be open again.
    let codes = world.api::<PairingCode>();
    codes.delete("first", &DeleteParams::default()).await?;
    gone(&codes, "first").await?;
    let second = world.code_says("second", "Ready", "GroupUsed").await?;
    ensure!(second.status.context("status")?.codes.is_empty());
    codes.delete("second", &DeleteParams::default()).await?;
    world.code("first", spec(GROUP, 900)?).await?;
    world.code_says("first", "Ready", "GroupUsed").await?;
    ensure!(used_groups(&world).await? == [own]);

    world.code("other", spec("00000000000000a2", 600)?).await?;
    world.code_says("other", "Ready", "Issued").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_remembered_ends() -> Result<()> {
    let world = World::new("hashes").await?;
    world.network("main", json!({})).await?;
    // Nothing is issued before, and what has ended by then never is.
    world.network_says("main", "Ready", "NoRelayReady").await?;
    world.code("short", spec(GROUP, 40)?).await?;
    let code = world.code_says("short", "Ready", "Expired").await?;
    ensure!(code.status.context("status")?.codes[0].state == SlotState::Expired);
    // Any change of the network makes its controller look.
    let touch = |level: &str| Patch::Merge(json!({"spec": {"injection": {"logLevel": level}}}));
    let networks = world.api::<PeerNetwork>();
    for level in ["Debug", "Info"] {
        networks
            .patch("main", &PatchParams::default(), &touch(level))
            .await?;
    }
    eventually("the group to be forgotten", SOON, async || {
        let used = used_groups(&world).await?;
        ensure!(used.is_empty(), "{used:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn limits_hold_for_them_too() -> Result<()> {
    let world = World::new("hashes").await?;
    let pairing = json!({"maxActiveCodes": 1, "maxTTLSeconds": 3600});
    world.network("main", json!({"pairing": pairing})).await?;
    world.code("late", spec(GROUP, -1)?).await?;
    world.code_says("late", "Ready", "Expired").await?;
    world.code("long", spec(GROUP, 7200)?).await?;
    world.code_says("long", "Ready", "TTLTooLong").await?;
    ensure!(used_groups(&world).await?.is_empty());
    let codes = world.api::<PairingCode>();
    for name in ["late", "long"] {
        codes.delete(name, &DeleteParams::default()).await?;
    }
    world.code("fits", spec(GROUP, 3600)?).await?;
    world.code_says("fits", "Ready", "Issued").await?;
    world.code("many", spec("00000000000000a2", 600)?).await?;
    world.code_says("many", "Ready", "QuotaExceeded").await?;
    Ok(())
}

#[tokio::test]
async fn of_many_at_once_one_has_the_group() -> Result<()> {
    let world = World::new("hashes").await?;
    world.network("main", json!({})).await?;
    world.network_says("main", "Ready", "NoRelayReady").await?;
    let codes = world.api::<PairingCode>();
    let create = (0..10).map(|number| {
        let (codes, spec) = (codes.clone(), spec(GROUP, 600));
        async move {
            let code = serde_json::from_value(json!({
                "apiVersion": "peerup.dev/v1alpha1", "kind": "PairingCode",
                "metadata": {"name": format!("racer-{number}")}, "spec": spec?,
            }))?;
            anyhow::Ok(codes.create(&PostParams::default(), &code).await?)
        }
    });
    for created in futures::future::join_all(create).await {
        created?;
    }
    eventually("all to be told", SOON, async || {
        let all = codes.list(&ListParams::default()).await?;
        let status = |code: &PairingCode| code.status.clone().unwrap_or_default();
        let told = all
            .iter()
            .filter(|code| !status(code).conditions.is_empty())
            .count();
        let issued = all
            .iter()
            .filter(|code| status(code).group.is_some())
            .count();
        ensure!((told, issued) == (10, 1), "{told} told, {issued} issued");
        Ok(())
    })
    .await
}
