//! Pairing of newcomers, relay's side (protocol.md, "Handshake"): `peerup_node::pair` speaks, this decides what
//! the operator is asked and obeys its answers.
//!
//! A failure that counts is written before anything goes on. Until it is, its group is closed at this relay:
//! attempts are neither evaluated nor counted, however long the operator is away.

mod closed;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peerup_node::pair::{Desk, Lookup, SILENCE_END};
use peerup_operator_client::{CallError, RelayClient};
use peerup_protocol::api::{
    FailureRequest, IssuedRecord, LookupRequest, RedeemAnswer, RedeemRequest, RefusalReason,
};
use peerup_protocol::id::Slot;
use peerup_protocol::record::Signed;
use peerup_protocol::secret::Secret;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::network::Network;
use closed::ClosedGroups;

/// Longest wait for a salt; what is left of [`SILENCE_END`] is for M3 and the redemption.
const LOOKUP: Duration = Duration::from_secs(8);
/// One round of attempts to write a failure, and the pause before the next.
const WRITE: Duration = Duration::from_secs(30);
const WRITE_AGAIN: Duration = Duration::from_secs(2);

/// The operator, as those who pair meet it.
#[derive(Debug)]
pub(crate) struct OperatorDesk {
    operator: RelayClient,
    network: Arc<Network>,
    closed: Arc<Mutex<ClosedGroups>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl OperatorDesk {
    pub(crate) fn new(
        operator: RelayClient,
        network: Arc<Network>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            operator,
            network,
            closed: Arc::default(),
            tasks,
            stop,
        }
    }
}

impl Desk for OperatorDesk {
    async fn lookup(&self, request: LookupRequest) -> Lookup {
        if request.slot != Slot::ATTESTED && lock(&self.closed).is_closed(&request.group) {
            return Lookup::Unknown(RefusalReason::Unavailable);
        }
        match self
            .operator
            .lookup(&request, Instant::now() + LOOKUP)
            .await
        {
            Ok(answer) => Lookup::Known {
                salt: Secret::new(answer.salt),
                attested: answer.attested,
            },
            Err(CallError::NotFound { .. }) => Lookup::Unknown(RefusalReason::UnknownSlot),
            Err(error) => {
                tracing::warn!(%error, "lookup failed");
                Lookup::Unknown(RefusalReason::Unavailable)
            }
        }
    }

    async fn redeem(&self, request: RedeemRequest) -> Result<IssuedRecord, RefusalReason> {
        // The group may have been closed since the lookup.
        if request.slot != Slot::ATTESTED && lock(&self.closed).is_closed(&request.group) {
            return Err(RefusalReason::Unavailable);
        }
        let issued = match self
            .operator
            .redeem(&request, Instant::now() + SILENCE_END)
            .await
        {
            Ok(RedeemAnswer::Record(issued)) => issued,
            Ok(RedeemAnswer::Refused(refused)) => return Err(refused.refused),
            Err(error) => {
                tracing::warn!(%error, "redeem failed");
                return Err(RefusalReason::Unavailable);
            }
        };
        let record = Signed::from(issued.clone());
        if let Err(error) = self.network.issued(request.peer_id, &record).await {
            tracing::warn!(%error, "the operator's record is not good");
            return Err(RefusalReason::Unavailable);
        }
        Ok(issued)
    }

    async fn failure(&self, request: FailureRequest) {
        if !counts(&request) || !lock(&self.closed).close(request.group) {
            return;
        }
        let (written, durable) = oneshot::channel();
        let (operator, closed) = (self.operator.clone(), Arc::clone(&self.closed));
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = write(&operator, &request) => {
                    lock(&closed).written(&request.group);
                    let _ = written.send(());
                }
                () = stop.cancelled() => {}
            }
        });
        let _ = durable.await;
    }
}

/// Whether the failure counts against its group. The handshake was made with the group's salt, so a wrong MAC is
/// somebody's guess; attested slots belong to one peer and are not counted.
fn counts(request: &FailureRequest) -> bool {
    request.reason == RefusalReason::BadMac && request.slot != Slot::ATTESTED
}

/// Has a failure counted, for as long as that takes; a group that is gone needs no count.
async fn write(operator: &RelayClient, request: &FailureRequest) {
    loop {
        match operator.failure(request, Instant::now() + WRITE).await {
            Ok(_) | Err(CallError::NotFound { .. }) => return,
            Err(error) => tracing::warn!(%error, "failure not written, its group stays closed"),
        }
        tokio::time::sleep(WRITE_AGAIN).await;
    }
}

fn lock(closed: &Mutex<ClosedGroups>) -> MutexGuard<'_, ClosedGroups> {
    closed.lock().unwrap_or_else(PoisonError::into_inner)
}
