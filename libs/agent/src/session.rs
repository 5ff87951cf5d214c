//! What the tasks of one membership share: node, membership, members, and who is admitted.

mod connections;
pub(crate) mod exchange;
mod others;
mod shown;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peerup_node::{ConnectionId, Node, Origin};
use peerup_pairing::membership::Refusal;
use peerup_protocol::record::{MemberRecord, Signed};
use peerup_protocol::{Multiaddr, PeerId, SigningKey};
use tokio::sync::watch;

use crate::clock::{now, timestamp};
use crate::direct::Direct;
use crate::hosting::Hosting;
use crate::measure::Signals;
use crate::membership::{Membership, Standing, Stored};
use crate::metrics::Metrics;
use crate::reach::Turns;
use crate::roster::Roster;
use crate::shared::Shared;
use crate::state::Store;
use crate::status::{self, Badge, Board, Phase, Verification};
use connections::Held;

pub(crate) use connections::ToRelay;
pub(crate) use others::Bond;

/// Shared state of one membership.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) node: Node,
    pub(crate) key: SigningKey,
    pub(crate) board: Board,
    pub(crate) metrics: Metrics,
    pub(crate) shared: Arc<Shared>,
    pub(crate) turns: Turns,
    pub(crate) signals: Signals,
    pub(crate) hosting: Arc<Hosting>,
    pub(crate) direct: Direct,
    store: Arc<Store>,
    /// The membership could not be stored the last time, and the status says so.
    unsaved: AtomicBool,
    pod: bool,
    membership: Mutex<Membership>,
    roster: Mutex<Roster>,
    members: Mutex<Vec<MemberRecord>>,
    admitted: Mutex<BTreeMap<PeerId, Standing>>,
    /// Somebody was admitted, whose record may end before all others.
    admissions: watch::Sender<()>,
    connections: Mutex<BTreeMap<ConnectionId, Held>>,
    /// Own record, revocations or network document changed.
    lists: watch::Sender<()>,
    /// Connections, reservations or members changed.
    surroundings: watch::Sender<()>,
}

impl Session {
    pub(crate) fn new(node: Node, shared: Arc<Shared>, pod: bool, membership: Membership) -> Self {
        let (net, me, store) = (membership.net(), node.peer_id(), Arc::clone(&shared.store));
        let hosting = Hosting::load(net, me, shared.key.clone(), Arc::clone(&store));
        let session = Self {
            direct: Direct::new(node.peer_id()),
            node,
            hosting: Arc::new(hosting),
            key: shared.key.clone(),
            board: shared.board.clone(),
            metrics: shared.metrics.clone(),
            store,
            unsaved: AtomicBool::new(false),
            shared,
            turns: Turns::default(),
            signals: Signals::default(),
            pod,
            membership: Mutex::new(membership),
            roster: Mutex::default(),
            members: Mutex::default(),
            admitted: Mutex::default(),
            admissions: watch::Sender::new(()),
            connections: Mutex::default(),
            lists: watch::Sender::new(()),
            surroundings: watch::Sender::new(()),
        };
        session
            .board
            .update(|status| status.phase = Phase::Connecting);
        session.lists_changed();
        session
    }

    pub(crate) fn me(&self) -> PeerId {
        self.node.peer_id()
    }

    /// True in a pod, which uses inside addresses and whose operator gives it another code when need be.
    pub(crate) fn is_pod(&self) -> bool {
        self.pod
    }

    /// True of a guest, which knows its sponsor and nobody else.
    pub(crate) fn is_guest(&self) -> bool {
        self.membership().hosted().is_some()
    }

    /// The membership, for as long as it takes to look at it.
    pub(crate) fn membership(&self) -> MutexGuard<'_, Membership> {
        lock(&self.membership)
    }

    /// The other members, as they were verified last.
    pub(crate) fn members(&self) -> Vec<MemberRecord> {
        lock(&self.members).clone()
    }

    pub(crate) fn watch_lists(&self) -> watch::Receiver<()> {
        self.lists.subscribe()
    }

    pub(crate) fn watch_admissions(&self) -> watch::Receiver<()> {
        self.admissions.subscribe()
    }

    pub(crate) fn watch_surroundings(&self) -> watch::Receiver<()> {
        self.surroundings.subscribe()
    }

    pub(crate) fn surroundings_changed(&self) {
        self.surroundings.send_replace(());
    }

    /// Shows the membership, and wakes those who depend on it.
    pub(crate) fn lists_changed(&self) {
        let membership = self.membership().clone();
        let record = membership.record();
        let shown = status::Membership {
            network_id: membership.net().to_string(),
            namespace: membership.namespace().to_string(),
            name: record.name.to_string(),
            subject: record.subject.clone(),
            sponsor: membership.hosted().map(|hosted| hosted.sponsor.to_string()),
            verification: Verification::of(record.method),
            issued_time: timestamp(record.issued),
            expiration_time: timestamp(record.not_after),
            revocations_time: membership.revocations_time().map(timestamp),
        };
        let relays = membership.my_relays();
        self.board.update(|status| {
            status.membership = Some(shown);
            let former = std::mem::take(&mut status.relays);
            status.relays = relays
                .iter()
                .map(|relay| relay_status(relay, &former))
                .collect();
        });
        self.lists.send_replace(());
    }

    /// Stores the membership.
    pub(crate) async fn save(&self) {
        let stored = Stored::of(&self.membership());
        let store = Arc::clone(&self.store);
        let saved = tokio::task::spawn_blocking(move || store.save_membership(&stored)).await;
        match saved {
            Ok(Err(error)) => {
                tracing::error!(%error, "membership can't be stored");
                self.unsaved.store(true, Relaxed);
                self.board
                    .update(|status| status.problem = Some(error.to_string()));
            }
            Ok(Ok(())) if self.unsaved.swap(false, Relaxed) => {
                self.board.update(|status| status.problem = None);
            }
            Ok(Ok(())) | Err(_) => {}
        }
    }

    /// Stores the membership whenever it changes.
    pub(crate) async fn keep_saved(&self) -> Infallible {
        let mut lists = self.lists.subscribe();
        loop {
            if lists.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            self.save().await;
        }
    }

    /// Takes newer lists of whoever told them; what is not the network's is refused.
    pub(crate) fn take_lists(
        &self,
        revocations: Option<Signed>,
        document: Option<Signed>,
    ) -> Result<(), Refusal> {
        let mut newer = false;
        {
            let mut membership = self.membership();
            if let Some(revocations) = revocations {
                newer |= membership.take_revocations(revocations, now())?;
            }
            if let Some(document) = document {
                newer |= membership.take_document(document, now())?;
            }
        }
        if newer {
            self.lists_changed();
        }
        Ok(())
    }

    /// Forgets members whose membership ended, and closes all connections of those who are no longer what they were
    /// admitted as.
    pub(crate) async fn sweep(&self) {
        self.verify_members();
        let lost: Vec<PeerId> = {
            let membership = self.membership();
            let members = lock(&self.members);
            let mut admitted = lock(&self.admitted);
            for (peer, standing) in admitted.iter_mut() {
                renew(standing, members.iter().find(|record| record.peer == *peer));
            }
            let lost = admitted
                .iter()
                .filter(|(peer, standing)| !self.still_is(&membership, peer, standing));
            lost.map(|(peer, _)| *peer).collect()
        };
        for peer in lost {
            tracing::debug!(%peer, "membership ended, connections are closed");
            lock(&self.admitted).remove(&peer);
            self.node.expel(peer).await;
        }
    }

    /// When the first of the admitted members' records ends.
    pub(crate) fn next_end(&self) -> Option<u64> {
        let admitted = lock(&self.admitted);
        let ends = admitted.values().filter_map(|standing| match standing {
            Standing::Member(record) => Some(record.not_after),
            Standing::Guest(grant) => Some(grant.not_after),
            Standing::Relay | Standing::Sponsor => None,
        });
        ends.min()
    }

    /// A peer tells at which address it sees this one; only relays are believed.
    pub(crate) fn observed(&self, peer: PeerId, address: &Multiaddr) {
        let relays = self.all_relays();
        self.direct.observed(peer, address, &relays);
        let seen = Origin {
            address: address.clone(),
            relayed: false,
        };
        if let Some(ip) = seen.ip() {
            self.signals.observed(peer, ip, &relays);
        }
    }

    /// Takes over a complete roster, unless another relay has told a later one.
    pub(crate) fn take_roster(&self, roster: &Roster) {
        {
            let mut known = lock(&self.roster);
            if roster.is_before(&known) {
                return;
            }
            *known = roster.clone();
        }
        self.verify_members();
    }

    /// Verifies the roster by the lists and the time of now.
    pub(crate) fn verify_members(&self) {
        let members = lock(&self.roster).verified(&self.membership(), &self.me(), now());
        let changed = {
            let mut known = lock(&self.members);
            let changed = *known != members;
            *known = members;
            changed
        };
        if changed {
            self.surroundings_changed();
        }
    }

    /// Identities of the network's relays, in their order.
    fn all_relays(&self) -> Vec<PeerId> {
        let relays = self.membership().all_relays().into_iter();
        relays.map(|relay| relay.peer).collect()
    }

    /// Whether a person here has compared with `peer`.
    pub(crate) fn badge(&self, peer: &PeerId) -> Badge {
        let membership = self.membership();
        Badge::of(self.shared.marks.check(membership.namespace(), peer))
    }

    /// Somebody has proved membership.
    pub(crate) fn shaken(&self) {
        self.board
            .update(|status| status.last_handshake_time = Some(timestamp(now())));
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A member that has renewed stays.
fn renew(standing: &mut Standing, newer: Option<&MemberRecord>) {
    if let (Standing::Member(known), Some(newer)) = (standing, newer)
        && newer.issued > known.issued
    {
        *known = newer.clone();
    }
}

fn relay_status(relay: &crate::membership::RelayAt, former: &[status::Relay]) -> status::Relay {
    let peer_id = relay.peer.to_string();
    let known = former.iter().find(|known| known.peer_id == peer_id);
    status::Relay {
        ordinal: relay.ordinal,
        connected: known.is_some_and(|known| known.connected),
        reserved: known.is_some_and(|known| known.reserved),
        peer_id,
    }
}
