//! The roster that all tasks share, and its consequence at the node: who is admitted.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peerup_node::member::Standing;
use peerup_node::{Node, PeerId};
use peerup_pairing::membership::Refusal;
use peerup_protocol::api::RosterAnswer;
use peerup_protocol::record::Signed;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::roster::{ListError, Roster};

/// Longest time until ended records are looked for again, in case the clock was set.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Roster and admissions.
#[derive(Debug)]
pub(crate) struct Network {
    node: Node,
    roster: Mutex<Roster>,
    /// Counts changes of the roster.
    changed: watch::Sender<u64>,
    /// Whom the node admits; held while the node is told, so that it hears changes in order.
    admitted: tokio::sync::Mutex<BTreeSet<PeerId>>,
}

impl Network {
    pub(crate) fn new(node: Node, roster: Roster) -> Self {
        Self {
            node,
            roster: Mutex::new(roster),
            changed: watch::Sender::new(0),
            admitted: tokio::sync::Mutex::default(),
        }
    }

    /// The roster, for as long as it takes to look at it.
    pub(crate) fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes at every change of the roster.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes over the operator's answer; gives the number of refused records.
    pub(crate) async fn apply(&self, answer: RosterAnswer) -> Result<usize, ListError> {
        let refused = self.roster().apply(answer, clock::now())?;
        self.notify();
        self.settle_all().await;
        Ok(refused)
    }

    /// Takes over a record that the operator has just given to `peer`.
    pub(crate) async fn issued(&self, peer: PeerId, record: &Signed) -> Result<(), Refusal> {
        self.roster().present(record, &peer, clock::now())?;
        self.settle(peer).await;
        Ok(())
    }

    /// Brings the node's view of one peer in line with the roster.
    pub(crate) async fn settle(&self, peer: PeerId) {
        let mut admitted = self.admitted.lock().await;
        if self.roster().is_member(&peer, clock::now()) {
            admitted.insert(peer);
            self.node.admit(peer).await;
        } else {
            admitted.remove(&peer);
            self.node.expel(peer).await;
        }
    }

    /// Whether the node admits `peer`.
    pub(crate) async fn is_admitted(&self, peer: &PeerId) -> bool {
        self.admitted.lock().await.contains(peer)
    }

    /// Brings the node in line with the roster, expulsions first.
    async fn settle_all(&self) {
        let mut admitted = self.admitted.lock().await;
        let members = {
            let mut roster = self.roster();
            roster.forget_ended(clock::now());
            roster.members(clock::now())
        };
        for peer in admitted.difference(&members) {
            tracing::debug!(%peer, "expelled");
            self.node.expel(*peer).await;
        }
        for peer in members.difference(&admitted) {
            self.node.admit(*peer).await;
        }
        *admitted = members;
    }

    /// Expels those whose records end, when they end, until `stop`.
    pub(crate) async fn expel_ended(&self, stop: CancellationToken) {
        let mut changed = self.watch();
        loop {
            self.settle_all().await;
            let now = clock::now();
            let next = self.roster().next_end(now);
            let pause = next.map_or(LOOK_AGAIN, |end| {
                Duration::from_secs(end.saturating_sub(now))
            });
            tokio::select! {
                () = tokio::time::sleep(pause.min(LOOK_AGAIN)) => {}
                _ = changed.changed() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn notify(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// What `peer` is by the record it shows; a good one is kept.
    pub(crate) fn present(&self, peer: &PeerId, record: &Signed) -> Result<Standing, Refusal> {
        match self.roster().present(record, peer, clock::now()) {
            Ok(_) => Ok(Standing::Admitted),
            Err(Refusal::Expired(_)) => Ok(Standing::Renewing),
            Err(refusal) => Err(refusal),
        }
    }

    /// Takes a revocation list that a peer knows.
    pub(crate) fn learn(&self, revocations: Signed) -> Result<(), Refusal> {
        if self.roster().offer_revocations(revocations, clock::now())? {
            self.notify();
        }
        Ok(())
    }
}
