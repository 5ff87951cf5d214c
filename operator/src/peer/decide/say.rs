//! What a Peer's status and its pod's conditions say.

use k8s_openapi::api::core::v1::PodCondition;
use peerup_crds::{
    PeerMethod, PeerNetwork, PeerState, PeerStatus,
    names::conditions::{self as types, POD_JOINED, POD_REACHABLE, POD_VERIFIED},
};
use peerup_protocol::{
    UnixTime,
    grade::{Grade, Path},
    report::Report,
};

use super::{
    Observed,
    grade::{Known, State},
};
use crate::{
    clock,
    conditions::{self, Said},
    pods::Pod,
};

type All = [(&'static str, Said); 3];

/// The status, and what its conditions say.
pub(super) fn all(seen: &Observed, network: &PeerNetwork, state: &State) -> (PeerStatus, All) {
    let former = seen.peer.status.clone().unwrap_or_default();
    let mut status = reported(seen, network, &former, state);
    let joined = is_joined(seen, &former, state);
    if joined {
        status.joined_time = former
            .joined_time
            .clone()
            .or_else(|| Some(clock::time(seen.now)));
        credential(seen, &former, &mut status, state);
    }
    let said = [
        (types::JOINED, joined_said(seen, joined)),
        (types::VERIFIED, verified(seen, joined)),
        (types::REACHABLE, reachable(&former, &status, state)),
    ];
    let generation = seen.peer.metadata.generation;
    status.conditions = conditions::next(
        &former.conditions,
        said.to_vec(),
        generation,
        &clock::time(seen.now),
    );
    (status, said)
}

fn is_joined(seen: &Observed, former: &PeerStatus, state: &State) -> bool {
    let reports = matches!(state.known, Known::Reported(_));
    seen.redeemed
        || former.joined_time.is_some()
        || seen.online
        || (seen.peer.spec.method == PeerMethod::Attested && reports)
}

/// The record in force. A peer renews while it is there, and only a report or a relay tells that it is: a leader that
/// has not heard of it yet would else begin the time anew for which one that is away is kept.
fn credential(seen: &Observed, former: &PeerStatus, status: &mut PeerStatus, state: &State) {
    let is_there = match state.known {
        Known::Reported(_) => true,
        Known::Waiting | Known::Stale { .. } | Known::Silent { .. } => seen.online,
    };
    if !is_there && former.credential_expiration_time.is_some() {
        status.credential_issued_time = former.credential_issued_time.clone();
        status.credential_expiration_time = former.credential_expiration_time.clone();
    } else {
        status.credential_issued_time = Some(clock::time(seen.credential.0));
        status.credential_expiration_time = Some(clock::time(seen.credential.1));
    }
}

/// What the last report says, or what silence makes of it.
fn reported(
    seen: &Observed,
    network: &PeerNetwork,
    former: &PeerStatus,
    state: &State,
) -> PeerStatus {
    let kept = PeerStatus {
        conditions: Vec::new(),
        ..former.clone()
    };
    match &state.known {
        Known::Waiting | Known::Stale { .. } => kept,
        Known::Silent { since } => PeerStatus {
            grade: Some(Grade::F),
            grade_reason: Some(format!("no report since {}", clock::time(*since).0)),
            grade_changed_time: changed(former, Grade::F, seen.now),
            evidence: Vec::new(),
            path: Some(Path::None),
            relays: Vec::new(),
            ..kept
        },
        Known::Reported(report) => PeerStatus {
            grade: Some(report.grade),
            grade_reason: Some(report.grade_reason.clone()),
            grade_changed_time: changed(former, report.grade, report.changed_time.min(seen.now)),
            scope: Some(report.scope),
            nat_type: Some(report.nat_type),
            confidence: Some(report.confidence),
            evidence: distinct(report.evidence.iter().map(ToString::to_string)),
            public_addresses: distinct(report.public_addresses.iter().map(ToString::to_string)),
            path: Some(report.path),
            relays: relays(network, report),
            version: Some(report.version.clone()).filter(|version| !version.is_empty()),
            ..kept
        },
    }
}

fn changed(
    former: &PeerStatus,
    grade: Grade,
    now: UnixTime,
) -> Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time> {
    let same = former
        .grade_changed_time
        .clone()
        .filter(|_| former.grade == Some(grade));
    same.or_else(|| Some(clock::time(now)))
}

/// The lists are sets: a stranger may repeat itself.
fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for text in texts {
        if !list.contains(&text) {
            list.push(text);
        }
    }
    list
}

/// Names of the relays that hold a place for it; identities that are no relays of the network are left out.
fn relays(network: &PeerNetwork, report: &Report) -> Vec<String> {
    let known = network
        .status
        .as_ref()
        .map(|status| status.relays.as_slice())
        .unwrap_or_default();
    let held = |id: &str| report.relays.iter().any(|relay| relay.to_string() == id);
    known
        .iter()
        .filter(|relay| held(&relay.peer_id))
        .map(|relay| relay.name.clone())
        .collect()
}

fn joined_said(seen: &Observed, joined: bool) -> Said {
    if seen.peer.spec.state == PeerState::Revoked {
        return Said::no("Revoked", "the peer was revoked");
    }
    match (joined, seen.peer.spec.method) {
        (true, PeerMethod::Code) => Said::yes("CodeUsed", "it holds a record got with a code"),
        (true, PeerMethod::Attested) => {
            Said::yes("Attested", "it holds a record got by attestation")
        }
        (false, PeerMethod::Code | PeerMethod::Attested) => Said::no(
            "Pending",
            "its name is claimed; it has not got its record yet",
        ),
    }
}

fn verified(seen: &Observed, joined: bool) -> Said {
    if seen.peer.spec.state == PeerState::Revoked {
        return Said::no("Revoked", "the peer was revoked");
    }
    match (seen.peer.spec.method, joined) {
        (PeerMethod::Attested, true) => Said::yes(
            "Attested",
            format!(
                "the API server of cluster {} vouches for the key of this pod",
                seen.cluster
            ),
        ),
        (PeerMethod::Attested, false) => Said::no("Pending", "it has not got its record yet"),
        (PeerMethod::Code, _) => Said::no(
            "NotCompared",
            "whoever held the code; nobody has compared keys",
        ),
    }
}

fn reachable(former: &PeerStatus, status: &PeerStatus, state: &State) -> Said {
    let reason = |grade: Grade| match grade {
        Grade::A => "GradeA",
        Grade::B => "GradeB",
        Grade::C => "GradeC",
        Grade::D => "GradeD",
        Grade::F => "GradeF",
    };
    let text = || status.grade_reason.clone().unwrap_or_default();
    match (&state.known, status.grade) {
        (Known::Stale { since }, _) => Said::unknown(
            "ReportStale",
            format!("no report since {}", clock::time(*since).0),
        ),
        (Known::Waiting, _) if !was_graded(former) => {
            Said::unknown("AwaitingReport", "it has not reported yet")
        }
        (Known::Waiting | Known::Reported(_) | Known::Silent { .. }, Some(Grade::F)) => {
            Said::no(reason(Grade::F), text())
        }
        (Known::Waiting | Known::Reported(_) | Known::Silent { .. }, Some(grade)) => {
            Said::yes(reason(grade), text())
        }
        (Known::Waiting | Known::Reported(_) | Known::Silent { .. }, None) => {
            Said::unknown("AwaitingReport", "it has not reported yet")
        }
    }
}

/// Whether the former leader knew the grade; one that was unknown stays so until a report.
fn was_graded(former: &PeerStatus) -> bool {
    conditions::find(&former.conditions, types::REACHABLE)
        .is_some_and(|condition| condition.status != "Unknown")
}

/// The pod's conditions, if they differ from what it has.
pub(super) fn on_pod(pod: &Pod, said: &All, now: UnixTime) -> Option<Vec<PodCondition>> {
    let mut differs = false;
    let next = [POD_JOINED, POD_VERIFIED, POD_REACHABLE]
        .into_iter()
        .zip(said)
        .map(|(type_, (_, said))| {
            let former = pod
                .conditions
                .iter()
                .find(|condition| condition.type_ == type_);
            let same_status = former.filter(|former| former.status == said.status);
            let same = same_status.filter(|former| {
                former.reason.as_deref() == Some(said.reason)
                    && former.message.as_deref() == Some(said.message.as_str())
            });
            differs |= same.is_none();
            PodCondition {
                type_: type_.to_owned(),
                status: said.status.to_owned(),
                reason: Some(said.reason.to_owned()),
                message: Some(said.message.clone()),
                last_transition_time: same_status
                    .and_then(|former| former.last_transition_time.clone())
                    .or_else(|| Some(clock::time(now))),
                ..PodCondition::default()
            }
        });
    let next = next.collect();
    differs.then_some(next)
}
