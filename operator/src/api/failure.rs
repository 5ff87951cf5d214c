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
        match counted {
            None => Ok(Some(false)),
            Some(false) => Ok(None),
            Some(true) => {
                if book.group.is_burned() {
                    self.context.metrics.pairing.groups_burned.inc();
                    let note = format!(
                        "{} failed attempts: all unused codes are closed",
                        book.group.failed
                    );
                    self.context
                        .events
                        .warning(&book.reference(), "Pair", "Burned", &note)
                        .await;
                }
                Ok(Some(true))
            }
        }
    }
}
