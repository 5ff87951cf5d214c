//! Whether this replica can do its work, and what it still waits for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Parts that must be up before the replica is ready; each says so itself.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, bool>>>);

impl Health {
    /// A part that is not up yet.
    pub fn expect(&self, part: &'static str) {
        self.set(part, false);
    }

    /// Whether a part is up now.
    pub fn set(&self, part: &'static str, up: bool) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(part, up);
    }

    /// The parts that are not up.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts
            .iter()
            .filter(|(_, up)| !**up)
            .map(|(part, _)| *part)
            .collect()
    }
}
