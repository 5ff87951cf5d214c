//! Members with an open invite, and until when. Like the set of members it is
//! written by the swarm task only.
//!
//! At a relay these are the members to whom strangers may open a circuit, at a
//! peer it is the peer itself, whom strangers may then ask to be let in.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use peerup_protocol::PeerId;
use tokio::time::Instant;

#[derive(Debug, Clone, Default)]
pub(crate) struct Invites(Arc<RwLock<BTreeMap<PeerId, Instant>>>);

impl Invites {
    /// Opens or changes a member's invite; without a time it is closed.
    pub(crate) fn set(&self, peer: PeerId, until: Option<Instant>, now: Instant) {
        let mut open = self.0.write().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, until| *until > now);
        match until {
            Some(until) => open.insert(peer, until),
            None => open.remove(&peer),
        };
    }

    /// The invite of one member.
    pub(crate) fn of(&self, member: PeerId) -> OwnInvite {
        OwnInvite {
            invites: self.clone(),
            member,
        }
    }

    /// Whether anybody has one open.
    pub(crate) fn any(&self, now: Instant) -> bool {
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner);
        open.values().any(|until| *until > now)
    }

    /// Whether `peer` has one open.
    pub(crate) fn is_open(&self, peer: &PeerId, now: Instant) -> bool {
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner);
        open.get(peer).is_some_and(|until| *until > now)
    }
}

/// One member's invite, open or not.
#[derive(Debug, Clone)]
pub(crate) struct OwnInvite {
    invites: Invites,
    member: PeerId,
}

impl OwnInvite {
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.invites.is_open(&self.member, now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_invite_ends_at_its_time_or_when_it_is_closed() {
        let (a, b) = (PeerId::random(), PeerId::random());
        let invites = Invites::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        invites.set(a, Some(at(60)), at(0));
        assert!(invites.any(at(59)) && invites.is_open(&a, at(59)) && !invites.is_open(&b, at(0)));
        assert!(!invites.any(at(60)) && !invites.is_open(&a, at(60)));
        invites.set(b, Some(at(120)), at(60));
        assert_eq!(invites.0.read().unwrap().len(), 1, "ended ones are gone");
        invites.set(b, None, at(61));
        assert!(!invites.any(at(61)));
    }
}
