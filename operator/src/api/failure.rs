//! `failure`: an attempt that failed at a relay. It is counted before it is answered.

use peerup_protocol::{
    api::{Empty, FailureRequest, RefusalReason},
    id::Slot,
};

use super::{Api, callers::RelayCaller, codes, codes::Book, problem::Refusal};
use crate::clock;

impl Api {
    pub(super) async fn failure(
        &self,
        relay: &RelayCaller,
        request: &FailureRequest,
    ) -> Result<Empty, Refusal> {
        self.context
            .metrics
            .pairing
            .attempts
            .with_label_values(&["failed", request.reason.as_str()])
            .inc();
        let known = codes::find(&self.context, &relay.network, request.group);
        // What the operator counts itself, at redemption, a relay cannot count again.
        if request.slot == Slot::ATTESTED || request.reason != RefusalReason::BadMac {
            return Ok(Empty {});
        }
        let Some(code) = known else {
            return Ok(Empty {});
        };
        let _alone = self.groups.lock(request.group).await;
        for _ in 0..codes::MOST_SWAPS {
            let name = code.metadata.name.as_deref().unwrap_or_default();
            let Some(mut book) =
                Book::read(&self.context, &relay.network, name, request.slot).await?
            else {
                return Ok(Empty {});
            };
            if self.count(&mut book, request.reason).await?.is_some() {
                return Ok(Empty {});
            }
        }
        Err(Refusal::Unavailable(
            "the PairingCode changes too often to be written".to_owned(),
        ))
    }

    /// Counts a failure against a group: whether it counted, `None` when somebody else wrote first.
    pub(super) async fn count(
        &self,
        book: &mut Book,
        reason: RefusalReason,
    ) -> Result<Option<bool>, Refusal> {
        let counted = book.fail(reason, clock::now()).await?;
        if counted == Some(true) && book.group.is_burned() && !book.has_closed() {
            self.tell_of_thieves(book).await;
        }
        Ok(match counted {
            None => Some(false),
            Some(false) => None,
            Some(true) => Some(true),
        })
    }

    /// Codes that failures close are told of by their controller, who sees them closed. Here none was left to be
    /// closed: somebody tries codes that others have used.
    async fn tell_of_thieves(&self, book: &Book) {
        self.context.metrics.pairing.groups_burned.inc();
        let note = format!(
            "{} failed attempts, and no unused code was left to be closed: somebody tries codes that others have used",
            book.group.failed
        );
        self.context
            .events
            .warning(&book.reference(), "Pair", "Burned", &note)
            .await;
    }
}
