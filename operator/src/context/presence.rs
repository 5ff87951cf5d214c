//! Who is online at which relay, in memory, as the relays tell every few seconds.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use peerup_protocol::{PeerId, UnixTime};

/// What one relay has told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelayPresence {
    /// Peers with a connection there.
    pub online: HashSet<PeerId>,
    /// Places taken.
    pub reservations: u32,
    /// When it told so.
    pub time: UnixTime,
}

/// By UID of the network, by ordinal of the relay.
type Networks = HashMap<String, BTreeMap<u8, RelayPresence>>;

/// Presence of all networks. The operator API writes, controllers read.
#[derive(Clone, Default)]
pub struct Presence(Arc<Mutex<Networks>>);

impl Presence {
    /// Takes what a relay tells.
    pub fn record(&self, network_uid: &str, ordinal: u8, presence: RelayPresence) {
        let mut networks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        networks
            .entry(network_uid.to_owned())
            .or_default()
            .insert(ordinal, presence);
    }

    /// Ordinals of the relays that a peer was seen at since a time.
    #[must_use]
    pub fn relays_of(&self, network_uid: &str, peer: &PeerId, since: UnixTime) -> Vec<u8> {
        let networks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let relays = networks.get(network_uid).into_iter().flatten();
        let here = relays.filter(|(_, relay)| relay.time >= since && relay.online.contains(peer));
        here.map(|(ordinal, _)| *ordinal).collect()
    }

    /// What each relay of a network told last.
    #[must_use]
    pub fn relays(&self, network_uid: &str) -> BTreeMap<u8, RelayPresence> {
        let networks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        networks.get(network_uid).cloned().unwrap_or_default()
    }

    /// Forgets a network that is gone.
    pub fn remove(&self, network_uid: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(network_uid);
    }

    /// Forgets all: somebody else leads now.
    pub fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
