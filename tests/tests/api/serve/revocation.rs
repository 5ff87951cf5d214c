//! A member that is expelled: its serial is on the list and it is out of the roster, and whoever waits hears of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::{Patch, PatchParams};
use peerup_crds::Peer;
use peerup_protocol::api::{RosterAnswer, path};
use peerup_protocol::id::Serial;
use peerup_protocol::record::{MemberRecord, Revocations};
use peerup_tests::wait::eventually;
use serde_json::json;

use super::joiner::{known, record, redeem};
use super::world::{Relay, SOON, World, key};

/// A poll is held open for 25 s where nothing happens.
const DEADLINE: Duration = Duration::from_secs(60);

async fn roster(relay: &Relay<'_>, run: u64, seq: u64) -> Result<RosterAnswer> {
    let ask = format!("{}?run={run}&seq={seq}", path::ROSTER);
    relay.get(&ask).await?.ok()
}

/// Serials of the members, and of the revoked.
fn serials(roster: &RosterAnswer) -> Result<(Vec<Serial>, Vec<Serial>)> {
    let mut members = Vec::new();
    for signed in &roster.records {
        members.push(MemberRecord::decode(&signed.bytes)?.serial);
    }
    members.sort();
    let revoked = Revocations::decode(&roster.revocations.bytes)?.serials;
    Ok((members, revoked.into_iter().collect()))
}

/// Polls on from `known` while `act` does something, until the roster is as expected.
async fn hears(
    relay: &Relay<'_>,
    known: &RosterAnswer,
    act: impl Future<Output = Result<()>>,
    expected: &(Vec<Serial>, Vec<Serial>),
) -> Result<RosterAnswer> {
    let polls = async {
        let mut next = roster(relay, known.run, known.seq).await?;
        while serials(&next)? != *expected {
            next = roster(relay, next.run, next.seq).await?;
        }
        anyhow::Ok(next)
    };
    let both = async { tokio::join!(polls, act) };
    let (heard, acted) = tokio::time::timeout(DEADLINE, both)
        .await
        .context("the roster does not become as expected")?;
    acted?;
    heard
}

#[tokio::test]
async fn a_waiting_relay_hears_of_every_expulsion() -> Result<()> {
    let world = World::new("expel").await?;
    let codes = world.codes("team", json!({"count": 3})).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    let mut own = Vec::new();
    for (number, code) in (1..).zip(&codes) {
        let joined = redeem(code, &key(number), "laptop")?;
        let issued = record(&relay.post(path::REDEEM, &joined).await?)?;
        own.push(MemberRecord::decode(&issued.record)?.serial);
    }
    let mut all = own.clone();
    all.sort();
    let first = eventually("all members", SOON, async || {
        let first = roster(&relay, 0, 0).await?;
        ensure!(serials(&first)? == (all.clone(), Vec::new()), "{first:?}");
        Ok(first)
    })
    .await?;

    let peers = world.api::<Peer>();
    let delete = async {
        peers.delete("main.laptop", &Default::default()).await?;
        Ok(())
    };
    all.retain(|serial| *serial != own[0]);
    let second = hears(&relay, &first, delete, &(all.clone(), vec![own[0]])).await?;

    let revoke = async {
        let state = Patch::Merge(json!({"spec": {"state": "Revoked"}}));
        peers
            .patch("main.laptop-2", &PatchParams::default(), &state)
            .await?;
        Ok(())
    };
    let mut revoked = vec![own[0], own[1]];
    revoked.sort();
    let third = hears(&relay, &second, revoke, &(vec![own[2]], revoked)).await?;

    let mut epochs = Vec::new();
    for answer in [&first, &second, &third] {
        epochs.push(Revocations::decode(&answer.revocations.bytes)?.epoch);
    }
    ensure!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
    ensure!(second.full && third.full, "a change is a full answer");
    Ok(())
}
