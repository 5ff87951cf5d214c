//! The admitted PeerIds, and as what. Written by the swarm task only, between two
//! steps of the swarm, so that all behaviours decide alike about a connection.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use peerup_protocol::PeerId;

/// As what somebody is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    /// Carried by a relay to its sponsor; offered little, and not seen by the DHT.
    Guest,
    /// Everything.
    Member,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Members(Arc<RwLock<HashMap<PeerId, Rank>>>);

impl Members {
    /// As a member or as a guest.
    pub(crate) fn contains(&self, peer: &PeerId) -> bool {
        self.rank(peer).is_some()
    }

    pub(crate) fn rank(&self, peer: &PeerId) -> Option<Rank> {
        let ranks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        ranks.get(peer).copied()
    }

    pub(crate) fn insert(&self, peer: PeerId, rank: Rank) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(peer, rank);
    }

    pub(crate) fn remove(&self, peer: &PeerId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(peer);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}
