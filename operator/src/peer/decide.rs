//! What a Peer needs next. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PodCondition;
use kube::ResourceExt as _;
use peerup_crds::{
    Peer, PeerMethod, PeerNetwork, PeerState, PeerStatus, PeerType,
    names::{annotations, finalizers},
};
use peerup_protocol::{UnixTime, grade::Grade};

use crate::{clock, context::Heard, pods::Pod};

mod grade;
mod say;

#[cfg(test)]
mod tests;

/// How long a claim may wait for its code to be used.
const CLAIM_SECONDS: u64 = 60;
/// A newcomer joins or reports within moments: what can be said of it before is not worth two writes.
const NEWCOMER_SECONDS: u64 = 3;

/// What is known of a Peer's pod.
#[derive(Debug, Clone)]
pub enum PodSeen {
    /// It is no pod.
    NotAPod,
    /// It runs.
    Alive(Arc<Pod>),
    /// It is gone, another one has its name, or it has ended.
    Gone,
}

/// Everything that the decision depends on.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The time.
    pub now: UnixTime,
    /// When this leader was elected: it cannot blame anybody for silence before.
    pub elected: UnixTime,
    /// Name of this cluster.
    pub cluster: String,
    /// The Peer.
    pub peer: Arc<Peer>,
    /// Its network.
    pub network: Option<Arc<PeerNetwork>>,
    /// Its pod.
    pub pod: PodSeen,
    /// Its last report to this leader.
    pub heard: Option<Heard>,
    /// Whether a relay has it online.
    pub online: bool,
    /// Whether it has got a record: its code's slot names it, or it redeemed its attested code.
    pub redeemed: bool,
    /// When the record now in force was signed, and when it ends.
    pub credential: (UnixTime, UnixTime),
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is not needed any more, and no record has to be taken back.
    Delete {
        /// Why, for the log.
        why: &'static str,
    },
    /// Its record has to be taken back, whatever happens to the object then.
    Revoke {
        /// When the last record that it may hold ends.
        until: UnixTime,
    },
    /// It is being deleted and nothing stands in the way.
    Release,
    /// It stays.
    Keep(Box<Keep>),
}

/// A Peer that stays.
#[derive(Debug, Clone, PartialEq)]
pub struct Keep {
    /// What is to be written, as soon as it is its turn.
    pub write: Option<Write>,
    /// When to look again, in seconds.
    pub again_seconds: u64,
}

/// A write of a Peer's status and its pod's conditions.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Whose turn comes first.
    pub turn: Turn,
    /// The status, if it differs.
    pub status: Option<PeerStatus>,
    /// The pod's conditions, if they differ.
    pub pod_conditions: Option<Vec<PodCondition>>,
}

/// Which writes come first; joins have a budget of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Turn {
    /// First conditions, and what joining changes.
    Join,
    /// It is offline now.
    Offline,
    /// It is hard to reach now.
    Poor,
    /// Anything else.
    Other,
}

/// Decides.
#[must_use]
pub fn decide(seen: &Observed) -> Decision {
    let Some(network) = &seen.network else {
        return if is_deleted(seen) {
            Decision::Release
        } else {
            Decision::Delete {
                why: "its network is gone",
            }
        };
    };
    if is_deleted(seen) {
        return end(seen, network);
    }
    if network.metadata.deletion_timestamp.is_some() {
        return Decision::Delete {
            why: "its network is being deleted",
        };
    }
    if let Some(why) = surplus(seen, network) {
        return Decision::Delete { why };
    }
    if seen.peer.spec.state == PeerState::Revoked && !is_revoked(seen, network) && has_record(seen)
    {
        return Decision::Revoke {
            until: last_record_ends(seen),
        };
    }
    Decision::Keep(Box::new(keep(seen, network)))
}

fn is_deleted(seen: &Observed) -> bool {
    seen.peer.metadata.deletion_timestamp.is_some()
}

/// A Peer that somebody deletes: its record is taken back first, but for pods, whose key has gone with them.
fn end(seen: &Observed, network: &PeerNetwork) -> Decision {
    if !seen
        .peer
        .finalizers()
        .iter()
        .any(|name| name == finalizers::PEER)
    {
        return Decision::Keep(Box::new(Keep {
            write: None,
            again_seconds: CLAIM_SECONDS,
        }));
    }
    let pod_is_gone = matches!(seen.pod, PodSeen::Gone);
    if network.metadata.deletion_timestamp.is_some()
        || pod_is_gone
        || !has_record(seen)
        || is_revoked(seen, network)
    {
        return Decision::Release;
    }
    Decision::Revoke {
        until: last_record_ends(seen),
    }
}

fn has_record(seen: &Observed) -> bool {
    let joined_once = seen
        .peer
        .status
        .as_ref()
        .is_some_and(|status| status.joined_time.is_some());
    // An attested peer may have redeemed at a former leader that ended before it wrote so.
    seen.redeemed || joined_once || seen.peer.spec.method == PeerMethod::Attested
}

fn is_revoked(seen: &Observed, network: &PeerNetwork) -> bool {
    let listed = network
        .status
        .as_ref()
        .map(|status| status.revocations.as_slice())
        .unwrap_or_default();
    let over = seen
        .peer
        .status
        .as_ref()
        .and_then(|status| status.credential_expiration_time.as_ref());
    let over = over.is_some_and(|end| clock::unix(end) + life(seen) <= seen.now);
    over || listed
        .iter()
        .any(|entry| entry.serial == seen.peer.spec.serial)
}

fn life(seen: &Observed) -> u64 {
    seen.credential.1.saturating_sub(seen.credential.0)
}

/// A renewal may have been signed a moment ago.
fn last_record_ends(seen: &Observed) -> UnixTime {
    seen.now + life(seen)
}

/// When a joiner last took the name.
fn claimed(peer: &Peer) -> UnixTime {
    let made = peer
        .creation_timestamp()
        .map_or(UnixTime::MAX, |made| clock::unix(&made));
    let taken_up = peer.annotations().get(annotations::CLAIMED);
    let taken_up = taken_up.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let taken_up = taken_up.and_then(|time| UnixTime::try_from(time.as_second()).ok());
    taken_up.map_or(made, |time| time.max(made))
}

/// Why nobody needs this Peer any more.
fn surplus(seen: &Observed, network: &PeerNetwork) -> Option<&'static str> {
    match (&seen.pod, seen.peer.spec.type_) {
        (PodSeen::Gone, PeerType::Pod) => return Some("its pod is gone"),
        (PodSeen::Alive(_) | PodSeen::NotAPod | PodSeen::Gone, _) => {}
    }
    if !has_record(seen) && seen.now.saturating_sub(claimed(&seen.peer)) > CLAIM_SECONDS {
        return Some("its claim was not followed by the use of a code");
    }
    let ended = seen
        .peer
        .status
        .as_ref()
        .and_then(|status| status.credential_expiration_time.as_ref());
    let retained = u64::from(network.spec.peers.retain_after_offline_seconds);
    let forgotten = seen.peer.spec.type_ == PeerType::External
        && !seen.online
        && ended.is_some_and(|end| clock::unix(end) + retained <= seen.now);
    forgotten.then_some("it has been away for longer than retainAfterOfflineSeconds")
}

fn keep(seen: &Observed, network: &PeerNetwork) -> Keep {
    let former = seen.peer.status.clone().unwrap_or_default();
    let state = grade::state(seen, network);
    let (status, said) = say::all(seen, network, &state);
    if let Some(again_seconds) = is_new_for(seen, &status) {
        return Keep {
            write: None,
            again_seconds,
        };
    }
    let pod_conditions = match &seen.pod {
        PodSeen::Alive(pod) => say::on_pod(pod, &said, seen.now),
        PodSeen::NotAPod | PodSeen::Gone => None,
    };
    let first = former.conditions.is_empty() || former.joined_time != status.joined_time;
    let turn = match (first, status.grade) {
        (true, _) => Turn::Join,
        (false, Some(Grade::F)) => Turn::Offline,
        (false, Some(Grade::D)) => Turn::Poor,
        (false, Some(Grade::A | Grade::B | Grade::C) | None) => Turn::Other,
    };
    let status = (seen.peer.status.as_ref() != Some(&status)).then_some(status);
    let write = (status.is_some() || pod_conditions.is_some()).then_some(Write {
        turn,
        status,
        pod_conditions,
    });
    Keep {
        write,
        again_seconds: again(seen, &state),
    }
}

/// For how many seconds a Peer of which nothing is known yet is a newcomer.
fn is_new_for(seen: &Observed, status: &PeerStatus) -> Option<u64> {
    let nothing =
        seen.peer.status.is_none() && seen.heard.is_none() && status.joined_time.is_none();
    let made = seen.peer.creation_timestamp().filter(|_| nothing)?;
    let end = clock::unix(&made) + NEWCOMER_SECONDS;
    // A clock that is behind the API server's does not keep it new for longer.
    end.checked_sub(seen.now)
        .filter(|left| *left > 0)
        .map(|left| left.min(NEWCOMER_SECONDS))
}

/// The next time at which time alone may change something.
fn again(seen: &Observed, state: &grade::State) -> u64 {
    let claim = if has_record(seen) {
        u64::MAX
    } else {
        CLAIM_SECONDS / 2
    };
    let credential = seen.credential.0 + life(seen) * 2 / 3;
    state
        .changes_at
        .min(credential)
        .saturating_sub(seen.now)
        .min(claim)
        .clamp(1, 3600)
}
