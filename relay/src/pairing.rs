//! Pairing of newcomers, relay's side (protocol.md, "Handshake"): `peerup_node::pair` speaks, this decides what
//! the operator is asked and obeys its answers.
//!
//! A failure that counts is written before anything goes on. Until it is, its group is closed at this relay:
//! attempts are neither evaluated nor counted, however long the operator is away. The same holds for attempts from a
//! source that failed a moment ago, also when that happened while they were under way.

mod closed;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peerup_node::pair::{Desk, Lookup, SILENCE_END};
use peerup_operator_client::{CallError, RelayClient};
use peerup_pairing::limiter::Limiter;
use peerup_protocol::api::{
    FailureRequest, IssuedRecord, LookupRequest, RedeemAnswer, RedeemRequest, RefusalReason,
};
use peerup_protocol::id::{GroupId, Slot};
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
    limiter: Mutex<Limiter>,
    started: Instant,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The desk as those who come from one source meet it.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    desk: &'a OperatorDesk,
    source: IpAddr,
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
            limiter: Mutex::default(),
            started: Instant::now(),
            tasks,
            stop,
        }
    }

    /// For attempts from `source`; those whose source cannot be seen share one.
    pub(crate) fn window(&self, source: Option<IpAddr>) -> Window<'_> {
        Window {
            desk: self,
            source: source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        }
    }

    async fn lookup(&self, request: &LookupRequest) -> Lookup {
        match self.operator.lookup(request, Instant::now() + LOOKUP).await {
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

    /// Has a failure counted; returns when it is written.
    async fn count(&self, request: FailureRequest) {
        if !lock(&self.closed).close(request.group) {
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

impl Window<'_> {
    /// Why an attempt with `group` is not evaluated now.
    fn closed(&self, group: &GroupId) -> Option<RefusalReason> {
        if lock(&self.desk.closed).is_closed(group) {
            return Some(RefusalReason::Unavailable);
        }
        let now = self.desk.started.elapsed();
        let allowed = lock(&self.desk.limiter).allow(now, self.source);
        (!allowed).then_some(RefusalReason::Limited)
    }

    /// Notes what the operator said of the group.
    fn note(&self, group: GroupId, lookup: &Lookup) {
        let now = self.desk.started.elapsed();
        let mut limiter = lock(&self.desk.limiter);
        match lookup {
            Lookup::Known { .. } => limiter.known(now, group),
            Lookup::Unknown(RefusalReason::UnknownSlot) => {
                limiter.failed(now, self.source);
            }
            Lookup::Unknown(_) => limiter.unsaid(&group),
        }
    }
}

impl Desk for Window<'_> {
    async fn lookup(&self, request: LookupRequest) -> Lookup {
        if request.slot == Slot::ATTESTED {
            return self.desk.lookup(&request).await;
        }
        if let Some(reason) = self.closed(&request.group) {
            return Lookup::Unknown(reason);
        }
        let now = self.desk.started.elapsed();
        if !lock(&self.desk.limiter).ask(now, &request.group) {
            return Lookup::Unknown(RefusalReason::Limited);
        }
        let lookup = self.desk.lookup(&request).await;
        self.note(request.group, &lookup);
        lookup
    }

    async fn redeem(&self, request: RedeemRequest) -> Result<IssuedRecord, RefusalReason> {
        if request.slot == Slot::ATTESTED {
            return self.desk.redeem(request).await;
        }
        // The group or the source may have been closed since the lookup.
        if let Some(reason) = self.closed(&request.group) {
            return Err(reason);
        }
        let redeemed = self.desk.redeem(request).await;
        if redeemed.as_ref().is_err_and(|reason| is_theirs(*reason)) {
            lock(&self.desk.limiter).failed(self.desk.started.elapsed(), self.source);
        }
        redeemed
    }

    async fn failure(&self, request: FailureRequest) {
        if request.slot == Slot::ATTESTED || !is_theirs(request.reason) {
            return;
        }
        let now = self.desk.started.elapsed();
        // Else another attempt from there failed meanwhile: this one was not to be evaluated.
        let stands = lock(&self.desk.limiter).failed(now, self.source);
        if stands && counts(request.reason) {
            self.desk.count(request).await;
        }
    }
}

/// Whether the joiner is to blame: not the operator, and not the state of the network.
fn is_theirs(reason: RefusalReason) -> bool {
    match reason {
        RefusalReason::UnknownGroup
        | RefusalReason::UnknownSlot
        | RefusalReason::Expired
        | RefusalReason::Used
        | RefusalReason::Closed
        | RefusalReason::Burned
        | RefusalReason::Revoked
        | RefusalReason::BadMac
        | RefusalReason::BadSignature
        | RefusalReason::Malformed => true,
        RefusalReason::Limited
        | RefusalReason::Timeout
        | RefusalReason::Full
        | RefusalReason::Suspended
        | RefusalReason::NameTaken
        | RefusalReason::PodGone
        | RefusalReason::Unavailable => false,
    }
}

/// Whether the failure counts against its group: the handshake was made with the group's salt, so a wrong MAC is
/// somebody's guess. What the operator refuses it has counted itself.
fn counts(reason: RefusalReason) -> bool {
    reason == RefusalReason::BadMac
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
