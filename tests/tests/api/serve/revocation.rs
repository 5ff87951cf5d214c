//! A member that is expelled: its serial is on the list and it is out of the roster, and whoever waits hears of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::api::{Patch, PatchParams};
use peerup_crds::Peer;
use peerup_protocol::api::{RosterAnswer, path};
use peerup_protocol::id::Serial;
use peerup_protocol::record::{MemberRecord, Revocations};
use peerup_tests::wait::eventually;
use serde_json::json;

use super::joiner::{known, record, redeem};
use super::roll::Roll;
use super::world::{Relay, SOON, World, key};

/// For all of it.
const DEADLINE: Duration = Duration::from_secs(60);
/// From the act until a poll tells of it. One that nothing wakes is held open for 25 s.
const WOKEN: Duration = Duration::from_secs(20);

/// Polls on while `act` does something, until the roster is as expected.
async fn hears(
    relay: &Relay<'_>,
    roll: &mut Roll,
    act: impl Future<Output = Result<()>>,
    expected: &(Vec<Serial>, Vec<Serial>),
) -> Result<()> {
    let polls = async {
        roll.follow(relay).await?;
        while roll.serials()? != *expected {
            roll.follow(relay).await?;
        }
        anyhow::Ok(())
    };
    let acts = async {
        act.await?;
        anyhow::Ok(Instant::now())
    };
    let both = async { tokio::join!(polls, acts) };
    let (heard, acted) = tokio::time::timeout(DEADLINE, both)
        .await
        .context("the roster does not become as expected")?;
    let took = acted?.elapsed();
    ensure!(took < WOKEN, "nothing woke the poll: {took:?}");
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
    let mut roll = eventually("all members", SOON, async || {
        let roll = Roll::of(&relay).await?;
        ensure!(roll.serials()? == (all.clone(), Vec::new()), "{roll:?}");
        Ok(roll)
    })
    .await?;
    let first = roll.last.clone();

    let peers = world.api::<Peer>();
    let delete = async {
        peers.delete("main.laptop", &Default::default()).await?;
        Ok(())
    };
    all.retain(|serial| *serial != own[0]);
    hears(&relay, &mut roll, delete, &(all.clone(), vec![own[0]])).await?;
    let second = roll.last.clone();

    let revoke = async {
        let state = Patch::Merge(json!({"spec": {"state": "Revoked"}}));
        peers
            .patch("main.laptop-2", &PatchParams::default(), &state)
            .await?;
        Ok(())
    };
    let mut revoked = vec![own[0], own[1]];
    revoked.sort();
    hears(&relay, &mut roll, revoke, &(vec![own[2]], revoked)).await?;

    let mut epochs = Vec::new();
    for answer in [&first, &second, &roll.last] {
        epochs.push(Revocations::decode(&answer.revocations.bytes)?.epoch);
    }
    ensure!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
    // A leader that was lost, as where the machine stood still, begins anew.
    let followed = |answer: &RosterAnswer| answer.run != first.run || !answer.full;
    ensure!(
        followed(&second) && followed(&roll.last),
        "only what is different"
    );
    Ok(())
}
