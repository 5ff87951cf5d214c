//! The roster that all tasks share, and its consequence at the node: who is admitted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peerup_node::member::Standing;
use peerup_node::{Node, PeerId};
use peerup_pairing::membership::Refusal;
use peerup_protocol::api::RosterAnswer;
use peerup_protocol::record::{RecordKind, Signed};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::guests::Guests;
use crate::roster::{ListError, Roster};

/// Longest time until ended records are looked for again, in case the clock was set.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Roster and admissions.
#[derive(Debug)]
pub(crate) struct Network {
    node: Node,
    roster: Mutex<Roster>,
    /// Locked after the roster, where both are.
    guests: Mutex<Guests>,
    /// Counts changes of the roster.
    changed: watch::Sender<u64>,
    /// Whom the node admits; held while the node is told, so that it hears changes in order.
    admitted: tokio::sync::Mutex<BTreeMap<PeerId, Rank>>,
}

/// What somebody is admitted as. A member that also has a grant is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    Guest,
    Member,
}

impl Network {
    pub(crate) fn new(node: Node, roster: Roster) -> Self {
        Self {
            node,
            roster: Mutex::new(roster),
            guests: Mutex::default(),
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
        let rank = {
            let is_member = self.roster().is_member(&peer, clock::now());
            let is_guest = self.guests().contains(&peer);
            match (is_member, is_guest) {
                (true, _) => Some(Rank::Member),
                (false, true) => Some(Rank::Guest),
                (false, false) => None,
            }
        };
        let former = match rank {
            Some(rank) => admitted.insert(peer, rank),
            None => admitted.remove(&peer),
        };
        self.tell(peer, former, rank).await;
    }

    /// Whether the node admits `peer` as a member.
    pub(crate) async fn is_admitted(&self, peer: &PeerId) -> bool {
        self.admitted.lock().await.get(peer) == Some(&Rank::Member)
    }

    /// Whether the node admits `peer`, as a member or as a guest.
    pub(crate) async fn is_known(&self, peer: &PeerId) -> bool {
        self.admitted.lock().await.contains_key(peer)
    }

    /// Tells the node what a peer is now. Whoever falls in rank loses what it has.
    async fn tell(&self, peer: PeerId, former: Option<Rank>, rank: Option<Rank>) {
        match (former, rank) {
            (_, None) => self.node.expel(peer).await,
            (_, Some(Rank::Member)) => self.node.admit(peer).await,
            (former, Some(Rank::Guest)) => {
                if former == Some(Rank::Member) {
                    self.node.expel(peer).await;
                }
                self.node.admit_guest(peer).await;
            }
        }
    }

    /// Brings the node in line with the roster, expulsions first.
    async fn settle_all(&self) {
        let mut admitted = self.admitted.lock().await;
        let good = self.good();
        for peer in admitted.keys().filter(|peer| !good.contains_key(peer)) {
            tracing::debug!(%peer, "expelled");
            self.node.expel(*peer).await;
        }
        for (peer, rank) in &good {
            let former = admitted.get(peer).copied();
            if former != Some(*rank) {
                self.tell(*peer, former, Some(*rank)).await;
            }
        }
        *admitted = good;
    }

    /// Everybody who is something now.
    fn good(&self) -> BTreeMap<PeerId, Rank> {
        let now = clock::now();
        let mut roster = self.roster();
        roster.forget_ended(now);
        let mut guests = self.guests();
        guests.forget_ended(&roster, now);
        let ranked = |rank| move |peer| (peer, rank);
        let guests = guests.peers().into_iter().map(ranked(Rank::Guest));
        let members = roster.members(now).into_iter().map(ranked(Rank::Member));
        guests.chain(members).collect()
    }

    /// Expels those whose records or grants end, when they end, until `stop`.
    pub(crate) async fn expel_ended(&self, stop: CancellationToken) {
        let mut changed = self.watch();
        loop {
            self.settle_all().await;
            let now = clock::now();
            let ends = [self.roster().next_end(now), self.guests().next_end()];
            let next = ends.into_iter().flatten().min();
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

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// What `peer` is by the record or grant it shows; a good one is kept.
    pub(crate) fn present(&self, peer: &PeerId, credential: &Signed) -> Result<Standing, Refusal> {
        let mut roster = self.roster();
        let now = clock::now();
        if RecordKind::of(&credential.bytes) == Some(RecordKind::Guest) {
            let mut guests = self.guests();
            guests.present(&roster, credential, peer, now)?;
            drop(guests);
            // Wakes the one who waits for ends: this grant's may be the next.
            self.notify();
            return Ok(match roster.is_member(peer, now) {
                true => Standing::Admitted,
                false => Standing::Guest,
            });
        }
        let next = roster.next_end(now);
        match roster.present(credential, peer, now) {
            Ok(_) => {
                // The same, where it is; most records are known already.
                if roster.next_end(now) != next {
                    self.notify();
                }
                Ok(Standing::Admitted)
            }
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
