//! Tells whoever is responsible for a pod without sidecar, or with another one than it asks for, rarely enough not to be
//! a nuisance.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::decide::responsible;
use crate::{context::Context, pods::Pod};

/// The same is told to the same owner again after this.
const PAUSE: Duration = Duration::from_secs(600);
/// Owners that are remembered; beyond, all are forgotten and may be told again.
const REMEMBERED: usize = 4096;

/// Who was told what, and when.
#[derive(Default)]
pub(super) struct Told(Mutex<HashMap<(String, &'static str), Instant>>);

impl Told {
    /// Whether it is time to tell; remembers that it was.
    fn due(&self, owner_uid: &str, reason: &'static str, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= REMEMBERED {
            told.clear();
        }
        let last = told.get(&(owner_uid.to_owned(), reason));
        let due = last.is_none_or(|last| now.duration_since(*last) >= PAUSE);
        if due {
            told.insert((owner_uid.to_owned(), reason), now);
        }
        due
    }
}

/// Publishes the event; `reason` is a word, `note` a sentence.
pub(super) async fn tell(
    context: &Context,
    told: &Told,
    pod: &Pod,
    reason: &'static str,
    note: &str,
) {
    let about = responsible(pod);
    if told.due(
        about.uid.as_deref().unwrap_or_default(),
        reason,
        Instant::now(),
    ) {
        tracing::info!(
            namespace = about.namespace,
            owner = about.name,
            reason,
            "pod without the sidecar that it asks for"
        );
        context.events.warning(&about, "Inject", reason, note).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_owner_is_told_the_same_only_after_a_pause() {
        let (told, start) = (Told::default(), Instant::now());
        assert!(told.due("rs", "NoNetwork", start));
        assert!(!told.due("rs", "NoNetwork", start + PAUSE / 2));
        assert!(told.due("rs", "NetworkNotFound", start + PAUSE / 2));
        assert!(told.due("other", "NoNetwork", start + PAUSE / 2));
        assert!(told.due("rs", "NoNetwork", start + PAUSE));
    }
}
