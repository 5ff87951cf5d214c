//! Comparisons that wait for the person at this machine, each found again by a number that nobody can guess.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use peerup_protocol::id::PeerName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Refusal;
use super::wire::{self, Outcome};
use crate::session::lock;
use crate::verify::{Comparison, VerifyError};

/// Comparisons at once, decided ones that wait for the other person included.
const MAX: usize = 8;

#[derive(Debug)]
struct Waiting {
    comparison: Comparison,
    permit: OwnedSemaphorePermit,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Comparisons {
    waiting: Mutex<BTreeMap<String, Waiting>>,
    room: Arc<Semaphore>,
}

impl Default for Comparisons {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            room: Arc::new(Semaphore::new(MAX)),
        }
    }
}

impl Comparisons {
    /// What waits here for its person already, if the other side still does: whoever asks again is to see what is seen
    /// there.
    pub(super) fn find(&self, peer: &PeerName) -> Option<wire::Comparison> {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|_, known| known.comparison.is_open());
        let mut waiting = waiting.iter();
        let (id, known) = waiting.find(|(_, known)| known.comparison.peer() == peer)?;
        Some(told(id.clone(), &known.comparison))
    }

    /// Keeps a comparison for its person; an earlier one with the same peer is given up.
    pub(super) fn keep(&self, comparison: Comparison) -> Result<wire::Comparison, Refusal> {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|_, known| {
            !known.comparison.left().is_zero() && known.comparison.peer_id() != comparison.peer_id()
        });
        let permit = Arc::clone(&self.room)
            .try_acquire_owned()
            .map_err(|_| Refusal::TooManyComparisons(MAX))?;
        let id = format!("{:032x}", rand::random::<u128>());
        let told = told(id.clone(), &comparison);
        waiting.insert(id, Waiting { comparison, permit });
        Ok(told)
    }

    /// Says what the person said, and waits for the other one. It is said even if nobody waits for the outcome any
    /// more: the other side may have stored it.
    pub(super) async fn decide(&self, id: &str, same: bool) -> Result<Outcome, Refusal> {
        let Some(Waiting { comparison, permit }) = lock(&self.waiting).remove(id) else {
            return Err(Refusal::NoSuchComparison);
        };
        let decided = tokio::spawn(async move {
            let outcome = comparison.decide(same).await;
            drop(permit);
            outcome
        });
        match decided.await {
            Ok(outcome) => Ok(outcome?.into()),
            // The process is ending.
            Err(_) => Ok(Outcome::Unanswered),
        }
    }
}

fn told(id: String, comparison: &Comparison) -> wire::Comparison {
    let emoji = comparison.emoji().map(|emoji| wire::Emoji {
        glyph: emoji.glyph.to_owned(),
        name: emoji.name.to_owned(),
    });
    wire::Comparison {
        id,
        peer: comparison.peer().clone(),
        peer_id: comparison.peer_id().to_string(),
        emoji: emoji.to_vec(),
        digits: comparison.digits(),
        fingerprint: comparison.fingerprint().to_string(),
        seconds_left: comparison.left().as_secs(),
    }
}

impl From<crate::verify::Outcome> for Outcome {
    fn from(outcome: crate::verify::Outcome) -> Self {
        use crate::verify::Outcome as Made;
        match outcome {
            Made::Same => Self::Same,
            Made::RefusedHere => Self::RefusedHere,
            Made::RefusedThere => Self::RefusedThere,
            Made::Unanswered => Self::Unanswered,
        }
    }
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Peer(error) => Self::Peer(error),
            VerifyError::Exchange { .. } | VerifyError::TimedOut(_) => {
                Self::NotCompared(error.to_string())
            }
            VerifyError::Busy(_) => Self::Busy(error.to_string()),
            VerifyError::State(error) => Self::NotKept(error),
        }
    }
}
