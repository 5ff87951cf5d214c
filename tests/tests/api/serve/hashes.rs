//! Codes that were made elsewhere admit like those that the operator makes, and the operator never sees them.

use anyhow::{Context, Result, ensure};
use data_encoding::HEXLOWER;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use peerup_crds::{PairingCode, Peer, PeerNetwork, SlotState};
use peerup_protocol::api::{RefusalReason, path};
use peerup_protocol::code::{Code, CodeKind};
use peerup_protocol::derive;
use peerup_protocol::id::{DhtNamespace, GroupId, Slot, peer_id};
use peerup_protocol::record::MemberRecord;
use peerup_protocol::secret::CodeSecret;
use peerup_tests::wait::eventually;
use serde_json::{Value, json};

use super::joiner::{known, record, redeem, refusal};
use super::world::{SOON, World, key, now};

/// Codes as `kubectl peerup pair create` makes them, with secrets that a test can find again.
async fn make(world: &World, count: u16) -> Result<Vec<Code>> {
    let network = world.api::<PeerNetwork>().get("main").await?;
    let status = network.status.context("status")?;
    let net = status.network_id.context("network id")?.parse()?;
    let namespace = DhtNamespace::parse(&status.dht_namespace.context("namespace")?)?;
    let not_after = u32::try_from(now()? + 600)?;
    let code = |slot: u16| Code {
        kind: CodeKind::Group,
        net,
        group: GroupId([0xA7; 8]),
        slot: Slot(slot),
        secret: CodeSecret::new([slot.to_be_bytes()[1] + 0x51; 16]),
        namespace: namespace.clone(),
        not_after,
        responders: Vec::new(),
    };
    Ok((0..count).map(code).collect())
}

/// The PairingCode of such codes.
fn object(name: &str, codes: &[Code]) -> Result<PairingCode> {
    let value = |code: &Code| {
        let Code {
            net,
            group,
            slot,
            secret,
            ..
        } = code;
        let public = derive::code_key(net, group, *slot, secret).verifying_key();
        json!({
            "slot": slot.0,
            "hash": HEXLOWER.encode(&derive::code_hash(net, group, *slot, secret)),
            "publicKey": HEXLOWER.encode(public.as_bytes()),
        })
    };
    let values: Value = codes.iter().map(value).collect();
    let end = Timestamp::from_second(codes[0].not_after.into())?;
    Ok(serde_json::from_value(json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "PairingCode", "metadata": {"name": name},
        "spec": {
            "networkRef": {"name": "main"}, "count": codes.len(),
            "delivery": {"type": "Hashes", "hashes": {
                "group": codes[0].group, "notAfterTime": end.to_string(), "values": values,
            }},
        },
    }))?)
}

#[tokio::test]
async fn a_code_that_the_operator_never_saw_admits_one() -> Result<()> {
    let world = World::new("hashes").await?;
    let codes = make(&world, 2).await?;
    let api = world.api::<PairingCode>();
    api.create(&PostParams::default(), &object("team", &codes)?)
        .await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    let first = redeem(&codes[0], &key(1), "laptop")?;
    let issued = record(&relay.post(path::REDEEM, &first).await?)?;
    let member = MemberRecord::decode(&issued.record)?;
    ensure!(
        member.name.as_str() == "laptop" && member.peer == peer_id(&key(1).verifying_key()),
        "{member:?}"
    );
    let again = record(&relay.post(path::REDEEM, &first).await?)?;
    ensure!(again == issued, "the same identity gets the same record");
    let other = relay
        .post(path::REDEEM, &redeem(&codes[0], &key(2), "laptop")?)
        .await?;
    ensure!(refusal(&other)? == (RefusalReason::Used, true));

    let status = api.get("team").await?.status.context("status")?;
    let states: Vec<_> = status.codes.iter().map(|code| code.state).collect();
    ensure!(
        states == [SlotState::Used, SlotState::Available] && status.failed_attempts == Some(1),
        "{status:?}"
    );
    let secrets = world.api::<Secret>().list(&ListParams::default()).await?;
    ensure!(
        secrets.iter().all(|secret| secret.name_any() != "team"),
        "a Secret for codes that nobody gave"
    );
    Ok(())
}

#[tokio::test]
async fn a_used_code_stays_used_when_its_pairing_code_is_made_again() -> Result<()> {
    let world = World::new("hashes").await?;
    let codes = make(&world, 1).await?;
    let api = world.api::<PairingCode>();
    let object = object("team", &codes)?;
    api.create(&PostParams::default(), &object).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    let first = redeem(&codes[0], &key(1), "laptop")?;
    record(&relay.post(path::REDEEM, &first).await?)?;

    // What a GitOps tool does with a manifest that was removed and came back.
    api.delete("team", &DeleteParams::default()).await?;
    eventually("a new PairingCode of the same codes", SOON, async || {
        api.create(&PostParams::default(), &object).await?;
        Ok(())
    })
    .await?;
    let reason = async || {
        let status = api.get("team").await?.status.context("no status")?;
        let ready = status.conditions.first().context("no condition")?.clone();
        ensure!(ready.reason == "GroupUsed", "{ready:?}");
        Ok(())
    };
    eventually("it to be refused", SOON, reason).await?;
    let second = redeem(&codes[0], &key(2), "thief")?;
    let answer = relay.post(path::REDEEM, &second).await?;
    ensure!(refusal(&answer)? == (RefusalReason::UnknownGroup, false));
    let peers = world.api::<Peer>().list(&ListParams::default()).await?;
    let names: Vec<_> = peers.iter().map(ResourceExt::name_any).collect();
    ensure!(names == ["main.laptop"], "{names:?}");
    Ok(())
}
