//! How many connections of others a peer carries, in all and of each peer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use peerup_protocol::PeerId;

use crate::session::lock;

/// Counts; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Load {
    per_peer: usize,
    total: usize,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    peers: BTreeMap<PeerId, usize>,
}

/// One connection's place, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    peer: PeerId,
    counts: Arc<Mutex<Counts>>,
}

impl Load {
    pub(super) fn new(per_peer: usize, total: usize) -> Self {
        Self {
            per_peer,
            total,
            counts: Arc::default(),
        }
    }

    /// A place for one more of `peer`, if there is room.
    pub(super) fn take(&self, peer: PeerId) -> Option<Place> {
        let mut counts = lock(&self.counts);
        let of_peer = counts.peers.get(&peer).copied().unwrap_or_default();
        if counts.total >= self.total || of_peer >= self.per_peer {
            return None;
        }
        counts.total += 1;
        counts.peers.insert(peer, of_peer + 1);
        Some(Place {
            peer,
            counts: Arc::clone(&self.counts),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.total = counts.total.saturating_sub(1);
        let left = counts
            .peers
            .get(&self.peer)
            .map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            counts.peers.remove(&self.peer);
        } else {
            counts.peers.insert(self.peer, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_and_all_have_their_limit() {
        let load = Load::new(2, 3);
        let (one, other) = (PeerId::random(), PeerId::random());
        let first = load.take(one).unwrap();
        let _second = load.take(one).unwrap();
        assert!(load.take(one).is_none(), "over the peer's");
        let third = load.take(other).unwrap();
        assert!(load.take(other).is_none(), "over all");
        drop(first);
        let _again = load.take(other).unwrap();
        drop(third);
        assert!(load.take(one).is_some());
    }

    #[test]
    fn nobody_is_remembered() {
        let load = Load::new(2, 3);
        drop(load.take(PeerId::random()));
        let counts = lock(&load.counts);
        assert_eq!((counts.total, counts.peers.len()), (0, 0));
    }
}
