//! Where Peers are found without a look at all of them: by pod and by identity; and how many a network has.
//!
//! The index says where to look and is not believed: whoever asks is given Peers as the store has them, and only those
//! of which the store says that they are what was asked for.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use kube::ResourceExt as _;
use peerup_crds::{Peer, PeerNetwork, PeerState};

use super::{Change, PeerKey, Watched};

/// The index of the store of Peers, with an entry for each of them. Whoever fills the store tells it of every change.
#[derive(Clone, Default)]
pub struct PeerIndex(Arc<RwLock<Index>>);

impl PeerIndex {
    /// Peers of a network with the pod of this UID that are not being deleted.
    #[must_use]
    pub fn of_pod(
        &self,
        peers: &Watched<Peer>,
        network: &PeerNetwork,
        uid: &str,
    ) -> Vec<Arc<Peer>> {
        let keys = self.read(|index| index.by_pod.of(uid));
        found(peers, network, &keys, |peer| pod_uid(peer) == Some(uid))
    }

    /// Peers of a network with this identity that are not being deleted.
    #[must_use]
    pub fn of_identity(
        &self,
        peers: &Watched<Peer>,
        network: &PeerNetwork,
        id: &str,
    ) -> Vec<Arc<Peer>> {
        let keys = self.read(|index| index.by_identity.of(id));
        found(peers, network, &keys, |peer| peer.spec.peer_id == id)
    }

    /// Where Peers with the pod of this UID may be, whatever their network and state.
    #[must_use]
    pub fn keys_of_pod(&self, uid: &str) -> Vec<Arc<PeerKey>> {
        self.read(|index| index.by_pod.of(uid))
    }

    /// How many Peers of a network are not being deleted.
    #[must_use]
    pub fn count(&self, network: &PeerNetwork) -> usize {
        let network = (network.namespace().unwrap_or_default(), network.name_any());
        self.read(|index| index.counts.get(&network).copied().unwrap_or(0))
    }

    /// Another number whenever anything but the status of a member has changed, or a Peer has come or gone.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.read(|index| index.version)
    }

    /// Follows a change that the store has already.
    pub fn follow(&self, peers: &Watched<Peer>, change: &Change<Peer>) {
        let mut index = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Applied(peer) => index.put(peer),
            Change::Deleted(peer) => index.remove(&key(peer)),
            // Read under the lock: what another namespace's watch changes meanwhile follows after it.
            Change::Relisted => {
                let version = index.version + 1;
                *index = Index::of(&peers.list(), version);
            }
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Index) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the store has at these places, if it is of the network, not being deleted, and what was asked for.
fn found(
    peers: &Watched<Peer>,
    network: &PeerNetwork,
    keys: &[Arc<PeerKey>],
    is_it: impl Fn(&Peer) -> bool,
) -> Vec<Arc<Peer>> {
    let (namespace, name) = (network.namespace(), network.name_any());
    let there = keys
        .iter()
        .filter_map(|key| peers.get(&key.namespace, &key.name));
    let asked_for = |peer: &Arc<Peer>| {
        let here = peer.metadata.namespace == namespace && peer.spec.network_ref.name == name;
        here && peer.metadata.deletion_timestamp.is_none() && is_it(peer)
    };
    there.filter(asked_for).collect()
}

fn key(peer: &Peer) -> PeerKey {
    PeerKey {
        namespace: peer.namespace().unwrap_or_default(),
        name: peer.name_any(),
    }
}

fn pod_uid(peer: &Peer) -> Option<&str> {
    peer.spec.pod_ref.as_ref().map(|pod| pod.uid.as_str())
}

/// The index itself. Pure.
#[derive(Debug, Default, PartialEq, Eq)]
struct Index {
    known: HashMap<Arc<PeerKey>, Entry>,
    by_pod: Places,
    by_identity: Places,
    counts: HashMap<(String, String), usize>,
    version: u64,
}

/// What one Peer is found by, and what makes it a member.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    pod: Option<Arc<str>>,
    identity: Arc<str>,
    /// Its network, as long as it is not being deleted.
    network: Option<String>,
    serial: String,
    revoked: bool,
    joined: bool,
}

impl Entry {
    fn of(peer: &Peer) -> Self {
        let stays = peer.metadata.deletion_timestamp.is_none();
        Self {
            pod: pod_uid(peer).map(Arc::from),
            identity: peer.spec.peer_id.as_str().into(),
            network: stays.then(|| peer.spec.network_ref.name.clone()),
            serial: peer.spec.serial.clone(),
            revoked: peer.spec.state == PeerState::Revoked,
            joined: peer
                .status
                .as_ref()
                .is_some_and(|status| status.joined_time.is_some()),
        }
    }
}

impl Index {
    fn of(peers: &[Arc<Peer>], version: u64) -> Self {
        let mut index = Self::default();
        for peer in peers {
            index.put(peer);
        }
        index.version = version;
        index
    }

    fn put(&mut self, peer: &Peer) {
        let (key, entry) = (key(peer), Entry::of(peer));
        // Most changes are of the status.
        if self.known.get(&key) == Some(&entry) {
            return;
        }
        self.remove(&key);
        self.version += 1;
        let key = Arc::new(key);
        if let Some(pod) = &entry.pod {
            self.by_pod.add(pod, &key);
        }
        self.by_identity.add(&entry.identity, &key);
        if let Some(network) = &entry.network {
            let network = (key.namespace.clone(), network.clone());
            *self.counts.entry(network).or_default() += 1;
        }
        self.known.insert(key, entry);
    }

    fn remove(&mut self, key: &PeerKey) {
        let Some(entry) = self.known.remove(key) else {
            return;
        };
        self.version += 1;
        if let Some(pod) = &entry.pod {
            self.by_pod.take(pod, key);
        }
        self.by_identity.take(&entry.identity, key);
        let Some(network) = entry.network else {
            return;
        };
        let network = (key.namespace.clone(), network);
        if let Some(count) = self.counts.get_mut(&network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&network);
            }
        }
    }
}

/// Places by what stands there; few share one word.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places(HashMap<Arc<str>, Vec<Arc<PeerKey>>>);

impl Places {
    fn of(&self, word: &str) -> Vec<Arc<PeerKey>> {
        self.0.get(word).cloned().unwrap_or_default()
    }

    fn add(&mut self, word: &Arc<str>, key: &Arc<PeerKey>) {
        let keys = self
            .0
            .entry(word.clone())
            .or_insert_with(|| Vec::with_capacity(1));
        keys.push(key.clone());
    }

    fn take(&mut self, word: &Arc<str>, key: &PeerKey) {
        if let Some(keys) = self.0.get_mut(word) {
            keys.retain(|other| **other != *key);
            if keys.is_empty() {
                self.0.remove(word);
            }
        }
    }
}

#[cfg(test)]
mod tests;
