//! The certificates by which sidecars and relays know the operator.

use tokio::sync::watch;

/// The CA bundle in force, PEM; TLS writes it, the network controller puts it into ConfigMaps.
#[derive(Clone)]
pub struct CaBundle(watch::Sender<Option<String>>);

impl Default for CaBundle {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl CaBundle {
    /// Takes a new bundle.
    pub fn set(&self, pem: String) {
        self.0.send_if_modified(|bundle| {
            let changed = bundle.as_ref() != Some(&pem);
            *bundle = Some(pem);
            changed
        });
    }

    /// The bundle, once there is one.
    #[must_use]
    pub fn get(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Follows it.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<String>> {
        self.0.subscribe()
    }
}
