//! What can be said of a peer's reachability now: its own report while it is fresh, and what silence means.

use kube::ResourceExt as _;
use peerup_crds::{PeerNetwork, PeerType};
use peerup_protocol::{UnixTime, report::Report};

use super::{Observed, has_record};
use crate::clock;

/// What is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    pub(super) known: Known,
    /// When time alone changes it.
    pub(super) changes_at: UnixTime,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Known {
    /// It has reported lately.
    Reported(Box<Report>),
    /// This leader has not heard of it yet, and it is too early to say why: what was said stays.
    Waiting,
    /// It has been silent for longer than it may.
    Stale {
        /// Since when.
        since: UnixTime,
    },
    /// It has been silent for so long that it must be gone.
    Silent {
        /// Since when.
        since: UnixTime,
    },
}

pub(super) fn state(seen: &Observed, network: &PeerNetwork) -> State {
    let offline = u64::from(network.spec.reachability.offline_after_seconds);
    let created = seen
        .peer
        .creation_timestamp()
        .map_or(seen.now, |created| clock::unix(&created));
    let heard = seen.heard.as_ref().map(|heard| heard.time);
    let since = heard.unwrap_or(0).max(seen.elected).max(created);
    let silence = seen.now.saturating_sub(since);
    // Presence at a relay is no report, but it says that the machine is there.
    let held = seen.peer.spec.type_ == PeerType::External && seen.online && has_record(seen);
    if silence <= offline {
        let known = match &seen.heard {
            Some(heard) => Known::Reported(Box::new(heard.report.clone())),
            None => Known::Waiting,
        };
        return State {
            known,
            changes_at: since + offline + 1,
        };
    }
    if silence <= 2 * offline || held {
        return State {
            known: Known::Stale { since },
            changes_at: if held {
                seen.now + offline
            } else {
                since + 2 * offline + 1
            },
        };
    }
    State {
        known: Known::Silent { since },
        // A report that says the same as the last one is no news, and may have come.
        changes_at: seen.now + offline,
    }
}
