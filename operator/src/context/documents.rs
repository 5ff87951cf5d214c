//! What a network says of itself under its key: the newest network document and revocation list.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use peerup_protocol::{UnixTime, record::Signed};
use tokio::sync::watch;

/// A network's newest signed document and revocations.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Number of the list, as it stands in the network's status.
    pub epoch: u64,
    /// When both were signed.
    pub issued: UnixTime,
    /// The network document.
    pub document: Signed,
    /// The revocations.
    pub revocations: Signed,
}

type Slot = watch::Sender<Option<Arc<Published>>>;

/// The newest of every network, by UID. The network controller writes, the roster reads.
#[derive(Clone, Default)]
pub struct Documents(Arc<Mutex<HashMap<String, Slot>>>);

impl Documents {
    /// Follows a network's documents; `None` until they have been signed by this leader.
    #[must_use]
    pub fn subscribe(&self, network_uid: &str) -> watch::Receiver<Option<Arc<Published>>> {
        self.with(network_uid, Slot::subscribe)
    }

    /// The newest of a network.
    #[must_use]
    pub fn get(&self, network_uid: &str) -> Option<Arc<Published>> {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots
            .get(network_uid)
            .and_then(|slot| slot.borrow().clone())
    }

    /// Publishes what was signed.
    pub fn publish(&self, network_uid: &str, published: Published) {
        self.with(network_uid, |slot| {
            slot.send_replace(Some(Arc::new(published)))
        });
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

    fn with<T>(&self, network_uid: &str, then: impl FnOnce(&Slot) -> T) -> T {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        then(
            slots
                .entry(network_uid.to_owned())
                .or_insert_with(|| watch::Sender::new(None)),
        )
    }
}
