//! Codes: used once, counted when wrong, closed when their time is over.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::{Result, bail, ensure};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use futures::future::try_join_all;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use peerup_crds::names::annotations;
use peerup_crds::{CodeStatus, PairingCode, Peer, SlotState};
use peerup_protocol::api::{
    Empty, FailureRequest, PresenceRequest, RedeemAnswer, RefusalReason, RenewRequest, path,
};
use peerup_protocol::code::Code;
use peerup_protocol::derive;
use peerup_protocol::id::peer_id;
use peerup_protocol::record::MemberRecord;
use peerup_tests::wait::eventually;
use serde_json::json;

use super::joiner::{known, lookup, record, redeem, refusal, signed};
use super::world::{Relay, SOON, World, key, some};

async fn slots(world: &World, name: &str) -> Result<(u32, Vec<CodeStatus>)> {
    let status = some(
        "a status",
        world.api::<PairingCode>().get(name).await?.status,
    )?;
    Ok((status.failed_attempts.unwrap_or(0), status.codes))
}

async fn miss(relay: &Relay<'_>, code: &Code) -> Result<()> {
    let miss = FailureRequest {
        group: code.group,
        slot: code.slot,
        peer_id: peer_id(&key(99).verifying_key()),
        reason: RefusalReason::BadMac,
    };
    let Empty {} = relay.post(path::FAILURE, &miss).await?.ok()?;
    Ok(())
}

#[tokio::test]
async fn fifty_race_for_one_code_and_one_is_admitted() -> Result<()> {
    let world = World::new("pairing").await?;
    let codes = world
        .codes("team", json!({"maxFailedAttempts": 10}))
        .await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    let attempts = (1..=50u8).map(|number| {
        let (relay, code) = (&relay, &codes[0]);
        async move {
            let request = redeem(code, &key(number), "laptop")?;
            let answer: RedeemAnswer = relay.post(path::REDEEM, &request).await?.ok()?;
            anyhow::Ok((number, answer))
        }
    });
    let mut admitted = Vec::new();
    for attempt in futures::future::join_all(attempts).await {
        if let (number, RedeemAnswer::Record(record)) = attempt? {
            admitted.push((number, record));
        }
    }
    let [(winner, first)] = admitted.as_slice() else {
        bail!("{} were admitted", admitted.len())
    };
    let (_, slots) = slots(&world, "team").await?;
    let used = slots[0].peer_ref.as_ref().map(|peer| peer.name.as_str());
    ensure!(
        slots[0].state == SlotState::Used && used == Some("main.laptop"),
        "{slots:?}"
    );
    let peer = world.api::<Peer>().get("main.laptop").await?;
    ensure!(peer.spec.peer_id == peer_id(&key(*winner).verifying_key()).to_string());
    let again = record(
        &relay
            .post(path::REDEEM, &redeem(&codes[0], &key(*winner), "laptop")?)
            .await?,
    )?;
    ensure!(again == *first, "the winner's second record differs");
    Ok(())
}

#[tokio::test]
async fn three_failures_close_what_is_unused_and_nothing_else() -> Result<()> {
    let world = World::new("pairing").await?;
    let codes = world.codes("team", json!({"count": 3})).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    let first = record(
        &relay
            .post(path::REDEEM, &redeem(&codes[0], &key(1), "laptop")?)
            .await?,
    )?;
    miss(&relay, &codes[1]).await?;
    miss(&relay, &codes[1]).await?;
    ensure!(
        slots(&world, "team").await?.0 == 2,
        "two were to be counted"
    );
    record(
        &relay
            .post(path::REDEEM, &redeem(&codes[1], &key(2), "laptop")?)
            .await?,
    )?;
    miss(&relay, &codes[2]).await?;
    let (failed, states) = slots(&world, "team").await?;
    let states: Vec<_> = states.iter().map(|slot| slot.state).collect();
    ensure!(
        (failed, states.as_slice()) == (3, &[SlotState::Used, SlotState::Used, SlotState::Burned]),
        "{failed} {states:?}"
    );
    let burned = relay
        .post(path::REDEEM, &redeem(&codes[2], &key(3), "laptop")?)
        .await?;
    ensure!(refusal(&burned)? == (RefusalReason::Burned, false));
    let again = record(
        &relay
            .post(path::REDEEM, &redeem(&codes[0], &key(1), "laptop")?)
            .await?,
    )?;
    ensure!(again == first, "a used member stays");
    Ok(())
}

/// Failures of several groups follow each other while the operator is killed.
#[tokio::test]
async fn what_was_answered_is_counted_though_the_operator_is_killed() -> Result<()> {
    const ATTEMPTS: u32 = 9;
    let world = World::new("pairing").await?;
    let relay = world.relay().await?;
    let mut groups = Vec::new();
    for name in ["one", "two", "three", "four"] {
        let spec = json!({"maxFailedAttempts": ATTEMPTS + 1});
        let codes = world.codes(name, spec).await?;
        known(&relay, &codes[0]).await?;
        groups.push((name, codes));
    }
    let process = world.operator.program.id().to_string();
    let killed = AtomicBool::new(false);
    let attempts = groups.iter().map(|(name, codes)| {
        let (relay, killed, process) = (&relay, &killed, &process);
        async move {
            let mut answered = 0;
            while answered < ATTEMPTS && miss(relay, &codes[0]).await.is_ok() {
                answered += 1;
                if !killed.swap(true, Relaxed) {
                    Command::new("kill").args(["-9", process]).status()?;
                }
            }
            anyhow::Ok((name, answered))
        }
    });
    for (name, answered) in try_join_all(attempts).await? {
        let (counted, _) = slots(&world, name).await?;
        println!("{name}: {answered} were answered, {counted} counted");
        ensure!(answered < ATTEMPTS, "the kill met no question");
        ensure!(counted == answered || counted == answered + 1);
    }
    Ok(())
}

#[tokio::test]
async fn what_a_thief_does_is_counted() -> Result<()> {
    let world = World::new("pairing").await?;
    let codes = world.codes("team", json!({"count": 2})).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    let wrong = signed(&codes[0], &key(1), "laptop", &key(7))?;
    ensure!(
        refusal(&relay.post(path::REDEEM, &wrong).await?)? == (RefusalReason::BadSignature, true)
    );
    record(
        &relay
            .post(path::REDEEM, &redeem(&codes[0], &key(1), "laptop")?)
            .await?,
    )?;
    let second = relay
        .post(path::REDEEM, &redeem(&codes[0], &key(2), "laptop")?)
        .await?;
    ensure!(refusal(&second)? == (RefusalReason::Used, true));
    // A relay that replays a joiner's signatures for another slot.
    let mut replayed = redeem(&codes[0], &key(3), "laptop")?;
    replayed.slot = codes[1].slot;
    ensure!(
        refusal(&relay.post(path::REDEEM, &replayed).await?)?
            == (RefusalReason::BadSignature, true)
    );
    let (failed, states) = slots(&world, "team").await?;
    ensure!(
        failed == 3 && states[1].state == SlotState::Burned,
        "{failed} {states:?}"
    );
    Ok(())
}

#[tokio::test]
async fn names_get_numbers() -> Result<()> {
    let world = World::new("pairing").await?;
    let codes = world.codes("team", json!({"count": 3})).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    let mut names = Vec::new();
    for (number, code) in (1u8..).zip(&codes) {
        let issued = record(
            &relay
                .post(path::REDEEM, &redeem(code, &key(number), "laptop")?)
                .await?,
        )?;
        names.push(MemberRecord::decode(&issued.record)?.name.to_string());
    }
    ensure!(names == ["laptop", "laptop-2", "laptop-3"], "{names:?}");
    Ok(())
}

#[tokio::test]
async fn an_expired_code_admits_nobody() -> Result<()> {
    let world = World::new("pairing").await?;
    let codes = world.codes("team", json!({})).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    let over = Patch::Merge(json!({"status": {"expirationTime": "2026-01-01T00:00:00Z"}}));
    world
        .api::<PairingCode>()
        .patch_status("team", &PatchParams::default(), &over)
        .await?;
    let late = relay
        .post(path::REDEEM, &redeem(&codes[0], &key(1), "laptop")?)
        .await?;
    ensure!(refusal(&late)? == (RefusalReason::Expired, false));
    ensure!(world.peers().await?.is_empty(), "somebody got in");
    Ok(())
}

#[tokio::test]
async fn what_was_revoked_or_deleted_stays_closed() -> Result<()> {
    let world = World::new("pairing").await?;
    let codes = world.codes("team", json!({"count": 3})).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    for (number, code) in [(1, &codes[0]), (2, &codes[1])] {
        record(
            &relay
                .post(path::REDEEM, &redeem(code, &key(number), "laptop")?)
                .await?,
        )?;
    }
    let peers = world.api::<Peer>();
    let revoke = Patch::Merge(json!({"spec": {"state": "Revoked"}}));
    peers
        .patch("main.laptop", &PatchParams::default(), &revoke)
        .await?;
    let revoked = relay
        .post(path::REDEEM, &redeem(&codes[0], &key(1), "laptop")?)
        .await?;
    let (reason, counted) = refusal(&revoked)?;
    ensure!(
        matches!(reason, RefusalReason::Revoked | RefusalReason::Closed) && !counted,
        "{reason:?}"
    );
    peers.delete("main.laptop-2", &Default::default()).await?;
    let deleted = relay
        .post(path::REDEEM, &redeem(&codes[1], &key(2), "laptop")?)
        .await?;
    ensure!(refusal(&deleted)? == (RefusalReason::Closed, false));
    let stop = Patch::Merge(json!({"spec": {"state": "Revoked"}}));
    world
        .api::<PairingCode>()
        .patch("team", &PatchParams::default(), &stop)
        .await?;
    let closed = relay
        .post(path::REDEEM, &redeem(&codes[2], &key(3), "laptop")?)
        .await?;
    ensure!(refusal(&closed)? == (RefusalReason::Revoked, false));
    Ok(())
}

/// Two requests of one joiner: one was answered, its Peer was deleted, the other one makes it anew.
#[tokio::test]
async fn a_deleted_member_does_not_come_back_under_its_own_name() -> Result<()> {
    let world = World::new("pairing").await?;
    let codes = world.codes("team", json!({})).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    let request = redeem(&codes[0], &key(1), "laptop")?;
    record(&relay.post(path::REDEEM, &request).await?)?;
    let peers = world.api::<Peer>();
    let mut again = peers.get("main.laptop").await?;
    peers
        .delete("main.laptop", &DeleteParams::default())
        .await?;
    eventually("the Peer to go", SOON, async || {
        ensure!(peers.get_opt("main.laptop").await?.is_none(), "it is there");
        Ok(())
    })
    .await?;
    again.metadata.uid = None;
    again.metadata.resource_version = None;
    again.metadata.creation_timestamp = None;
    peers.create(&PostParams::default(), &again).await?;
    let refused = refusal(&relay.post(path::REDEEM, &request).await?)?;
    ensure!(
        refused == (RefusalReason::Closed, false),
        "it is a member again: {refused:?}"
    );
    Ok(())
}

/// Whoever takes up its own claim writes, so that nobody frees it as it was seen before.
#[tokio::test]
async fn a_claim_that_is_taken_up_again_is_young() -> Result<()> {
    let world = World::new("pairing").await?;
    let codes = world.codes("team", json!({})).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    let peers = world.api::<Peer>();
    let claim = serde_json::from_value(json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "Peer",
        "metadata": { "name": "main.laptop" },
        "spec": {
            "networkRef": { "name": "main" }, "peerID": peer_id(&key(1).verifying_key()).to_string(),
            "serial": "00000000000000ff", "type": "External", "method": "Code",
            "pairingCodeRef": { "name": "team", "slot": 0 }, "displayName": "laptop",
        },
    }))?;
    let claimed = peers.create(&PostParams::default(), &claim).await?;
    let request = redeem(&codes[0], &key(1), "laptop")?;
    let member = record(&relay.post(path::REDEEM, &request).await?)?;
    let member = MemberRecord::decode(&member.record)?;
    ensure!(
        member.serial.to_string() == "00000000000000ff",
        "{member:?}"
    );
    let now = peers.get("main.laptop").await?;
    ensure!(now.metadata.uid == claimed.metadata.uid, "another Peer");
    ensure!(
        now.annotations().contains_key(annotations::CLAIMED),
        "nothing was written: {:?}",
        now.metadata
    );
    Ok(())
}

/// A code that is looked up, tried wrong and used, and another of its group: a relay that keeps everything has no more
/// than these answers.
#[tokio::test]
async fn a_relay_is_told_no_code() -> Result<()> {
    let world = World::new("pairing").await?;
    let codes = world.codes("team", json!({"count": 2})).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    miss(&relay, &codes[1]).await?;
    let joiner = key(1);
    let presence = PresenceRequest {
        online: vec![peer_id(&joiner.verifying_key())],
        reservations: 1,
    };
    let renewal = RenewRequest {
        peer_id: peer_id(&joiner.verifying_key()),
    };
    let request = redeem(&codes[0], &joiner, "laptop")?;
    let stolen = redeem(&codes[0], &key(2), "laptop")?;
    let answers = [
        relay
            .post(path::LOOKUP, &lookup(&codes[0], &joiner))
            .await?,
        relay
            .post(path::LOOKUP, &lookup(&codes[1], &joiner))
            .await?,
        relay.post(path::REDEEM, &request).await?,
        relay.post(path::REDEEM, &stolen).await?,
        eventually("it to be a member", SOON, async || {
            let renewed = relay.post(path::RENEW, &renewal).await?;
            renewed.text()?;
            Ok(renewed)
        })
        .await?,
        relay.post(path::PRESENCE, &presence).await?,
        relay.get(&format!("{}?run=0&seq=0", path::ROSTER)).await?,
    ];
    for code in &codes {
        for form in forms(code) {
            for (number, answer) in answers.iter().enumerate() {
                let text = letters(answer.text()?);
                ensure!(!text.contains(&form), "answer {number} holds a code");
            }
        }
    }
    let hash = derive::code_hash(
        &codes[0].net,
        &codes[0].group,
        codes[0].slot,
        &codes[0].secret,
    );
    let hash = letters(&BASE64.encode(&hash));
    let shown = letters(answers[0].text()?);
    ensure!(shown.contains(&hash), "not even the hash is found: {shown}");
    Ok(())
}

/// Every way in which a code may be written, by its letters and digits.
fn forms(code: &Code) -> Vec<String> {
    let secret = code.secret.expose();
    let text = code.to_text();
    [
        text.expose().to_owned(),
        HEXLOWER.encode(secret),
        BASE64.encode(secret),
        BASE64URL_NOPAD.encode(secret),
    ]
    .iter()
    .map(|text| letters(text))
    .collect()
}

fn letters(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}
