//! The set of admitted PeerIds. Written by the swarm task only, between two
//! steps of the swarm, so that all behaviours decide alike about a connection.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use peerup_protocol::PeerId;

#[derive(Debug, Clone, Default)]
pub(crate) struct Members(Arc<RwLock<HashSet<PeerId>>>);

impl Members {
    pub(crate) fn contains(&self, peer: &PeerId) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(peer)
    }

    pub(crate) fn insert(&self, peer: PeerId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(peer);
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
