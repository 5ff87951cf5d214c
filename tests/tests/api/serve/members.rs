//! Members: renewals, the roster, reports.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kube::api::{Patch, PatchParams};
use peerup_crds::{Peer, PeerNetwork};
use peerup_protocol::api::{
    OutsideReport, PodReport, RenewAnswer, RenewRequest, ReportAnswer, RosterAnswer, path,
};
use peerup_protocol::grade::{Confidence, Filtering, Grade, Mapping, NatType, Path, Scope};
use peerup_protocol::id::peer_id;
use peerup_protocol::message;
use peerup_protocol::record::{Flags, MemberRecord, NetworkDocument, Revocations};
use peerup_protocol::report::Report;
use peerup_tests::wait::eventually;
use serde_json::json;

use super::joiner::{known, record, redeem};
use super::roll::{Roll, roster};
use super::world::{SOON, World, key, now};

fn report() -> Result<Report> {
    Ok(Report {
        grade: Grade::C,
        grade_reason: "a test says so".to_owned(),
        scope: Scope::Internal,
        nat_type: NatType::None,
        mapping: Mapping::Unknown,
        filtering: Filtering::Unknown,
        confidence: Confidence::Measured,
        evidence: Vec::new(),
        public_addresses: Vec::new(),
        path: Path::Relayed,
        relays: Vec::new(),
        changed_time: now()?,
        version: "0.0.0".to_owned(),
    })
}

#[tokio::test]
async fn a_roster_holds_the_members_and_wakes_when_one_joins() -> Result<()> {
    let world = World::new("members").await?;
    let codes = world.codes("team", json!({"count": 2})).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    record(
        &relay
            .post(path::REDEEM, &redeem(&codes[0], &key(1), "laptop")?)
            .await?,
    )?;
    let mut roll = eventually("the member", SOON, async || {
        let roll = Roll::of(&relay).await?;
        ensure!(roll.names() == ["laptop"], "{roll:?}");
        Ok(roll)
    })
    .await?;
    let first = roll.last.clone();
    let document = NetworkDocument::decode(&first.network_document.bytes)?;
    ensure!(
        Revocations::decode(&first.revocations.bytes)?
            .serials
            .is_empty()
            && document.relays.len() == 1
    );

    let waits = async {
        // The poll that brings it: one that nothing wakes is held open for 25 s.
        loop {
            let begun = Instant::now();
            roll.follow(&relay).await?;
            if roll.names() == ["laptop", "phone"] {
                return anyhow::Ok(begun.elapsed());
            }
        }
    };
    let joins = async {
        let joined = redeem(&codes[1], &key(2), "phone")?;
        record(&relay.post(path::REDEEM, &joined).await?)
    };
    let (took, joined) = tokio::join!(waits, joins);
    joined?;
    let took = took?;
    ensure!(
        took < Duration::from_secs(24),
        "nothing woke the poll: {took:?}"
    );
    let last = &roll.last;
    // A leader that was lost, as where the machine stood still, begins anew.
    if last.run == first.run {
        ensure!(last.seq > first.seq);
        ensure!(!last.full && last.records.len() == 1, "only what is new");
    }
    let other = roster(&relay, last.run + 1, last.seq).await?;
    ensure!(other.full && other.records.len() == 2, "another leader's");
    relay
        .get(&format!("{}?run=x", path::ROSTER))
        .await?
        .refused(400, "Malformed")
}

#[tokio::test]
async fn a_member_is_renewed_until_it_is_revoked() -> Result<()> {
    let world = World::new("members").await?;
    let codes = world.codes("team", json!({})).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    let ask = RenewRequest {
        peer_id: peer_id(&key(1).verifying_key()),
    };
    relay
        .post(path::RENEW, &ask)
        .await?
        .refused(404, "NotFound")?;
    let first = record(
        &relay
            .post(path::REDEEM, &redeem(&codes[0], &key(1), "laptop")?)
            .await?,
    )?;
    let renewed: RenewAnswer = eventually("a newer record", SOON, async || {
        relay.post(path::RENEW, &ask).await?.ok()
    })
    .await?;
    let (first, next) = (
        MemberRecord::decode(&first.record)?,
        MemberRecord::decode(&renewed.record)?,
    );
    ensure!(
        next.issued >= first.issued
            && MemberRecord {
                issued: first.issued,
                not_after: first.not_after,
                ..next
            } == first
    );

    let revoke = Patch::Merge(json!({"spec": {"state": "Revoked"}}));
    world
        .api::<Peer>()
        .patch("main.laptop", &PatchParams::default(), &revoke)
        .await?;
    eventually("the member to be refused", SOON, async || {
        let answer = relay.post(path::RENEW, &ask).await?;
        answer.refused(410, "Revoked")
    })
    .await
}

#[tokio::test]
async fn a_pod_reports_only_for_itself() -> Result<()> {
    let world = World::new("members").await?;
    let pod = world.pod("web", |_| ()).await?;
    let other = world.pod("other", |_| ()).await?;
    world.attest(&pod, &key(1)).await?;
    let body = serde_json::to_vec(&PodReport { report: report()? })?;
    let token = world.token(&pod, &world.audience()).await?;
    let answer: ReportAnswer = eventually("the report to be taken", SOON, async || {
        world.call(path::REPORT, &token, body.clone()).await?.ok()
    })
    .await?;
    ensure!(answer.settings.scope == Scope::Internal);
    let token = world.token(&other, &world.audience()).await?;
    eventually("a pod that is no member to be told", SOON, async || {
        world
            .call(path::REPORT, &token, body.clone())
            .await?
            .refused(409, "NotAttested")
    })
    .await
}

#[tokio::test]
async fn a_report_from_outside_is_signed_by_its_peer_and_counts_once() -> Result<()> {
    let world = World::new("members").await?;
    let codes = world.codes("team", json!({})).await?;
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    record(
        &relay
            .post(path::REDEEM, &redeem(&codes[0], &key(1), "laptop")?)
            .await?,
    )?;
    let peer = peer_id(&key(1).verifying_key());
    let text = report()?.to_json()?;
    let made = |by: u8, time: u64| {
        let signed = message::report(&codes[0].net, &peer, time, text.as_bytes());
        OutsideReport {
            peer_id: peer,
            time,
            report: text.clone(),
            signature: message::sign(&key(by), &signed),
        }
    };
    let time = now()?;
    let answer: ReportAnswer = eventually("the report to be taken", SOON, async || {
        relay.post(path::REPORT, &made(1, time)).await?.ok()
    })
    .await?;
    ensure!(answer.settings.scope == Scope::Internet);
    relay
        .post(path::REPORT, &made(1, time))
        .await?
        .refused(409, "StaleReport")?;
    relay
        .post(path::REPORT, &made(1, time - 61))
        .await?
        .refused(409, "StaleReport")?;
    relay
        .post(path::REPORT, &made(2, time + 1))
        .await?
        .refused(403, "BadSignature")
}

#[tokio::test]
async fn a_relay_hears_of_new_rules() -> Result<()> {
    let world = World::new("rules").await?;
    let relay = world.relay().await?;
    let first = eventually("documents", SOON, async || roster(&relay, 0, 0).await).await?;
    let document = |answer: &RosterAnswer| NetworkDocument::decode(&answer.network_document.bytes);
    let before = document(&first)?;
    ensure!(before.flags == Flags::default(), "{before:?}");
    let rules = Patch::Merge(json!({"spec": {
        "pairing": {"guests": "Enabled"}, "peers": {"verification": "Required"},
    }}));
    let networks = world.api::<PeerNetwork>();
    networks
        .patch("main", &PatchParams::default(), &rules)
        .await?;
    let expected = Flags {
        guests: true,
        verification_required: true,
        ..Flags::default()
    };
    let mut next = first;
    eventually("new rules", SOON, async || {
        next = roster(&relay, next.run, next.seq).await?;
        let now = document(&next)?;
        ensure!(now.flags == expected && now.epoch > before.epoch, "{now:?}");
        Ok(())
    })
    .await
}
