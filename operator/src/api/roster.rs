//! `roster`: a long poll by which relays learn who is a member. Every change answers with all of it.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::ResourceExt;
use peerup_crds::{PairingCode, Peer, PeerNetwork};
use peerup_protocol::{api::RosterAnswer, record::Signed};
use tokio::sync::broadcast::error::RecvError;

use super::{Api, callers::RelayCaller, members, problem::Refusal, records};
use crate::{
    clock,
    context::{Change, Published},
};

/// How long a poll is held open.
pub(super) const HOLD: Duration = Duration::from_secs(25);
/// Changes within this time are answered together.
const GATHER: Duration = Duration::from_millis(200);

/// Networks whose last state is remembered.
const MOST_NETWORKS: usize = 4096;

/// The last state of each network's roster, and its number.
#[derive(Default)]
pub(super) struct Rosters(Mutex<Numbers>);

#[derive(Default)]
struct Numbers {
    last: u64,
    networks: HashMap<String, (u64, u64)>,
}

impl Rosters {
    /// The number of this state: the last one if nothing has changed, else one that no state ever had.
    fn number(&self, network_uid: &str, state: u64) -> u64 {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, _)) = numbers
            .networks
            .get(network_uid)
            .filter(|(_, last)| *last == state)
        {
            return *number;
        }
        if numbers.networks.len() >= MOST_NETWORKS {
            numbers.networks.clear();
        }
        numbers.last += 1;
        let number = numbers.last;
        numbers
            .networks
            .insert(network_uid.to_owned(), (number, state));
        number
    }
}

impl Api {
    pub(super) async fn roster(
        &self,
        relay: &RelayCaller,
        query: &str,
    ) -> Result<RosterAnswer, Refusal> {
        let (run, seq) = position(query).ok_or_else(|| {
            Refusal::Malformed("the query must be run=<number>&seq=<number>".to_owned())
        })?;
        let uid = relay.network.uid().unwrap_or_default();
        let mut documents = self.context.documents.subscribe(&uid);
        let (mut peers, mut codes) = (
            self.context.stores.peers.changes(),
            self.context.stores.codes.changes(),
        );
        let deadline = tokio::time::Instant::now() + HOLD;
        loop {
            let now_run = self
                .context
                .leadership
                .run()
                .ok_or_else(|| Refusal::Unavailable("this replica leads no more".to_owned()))?;
            let published = documents.borrow_and_update().clone();
            let members = self.members(&relay.network);
            let now_seq = published
                .as_deref()
                .map(|published| self.rosters.number(&uid, state(&members, published)));
            let is_over = tokio::time::Instant::now() >= deadline;
            match (published, now_seq) {
                (Some(published), Some(now_seq)) if (run, seq) != (now_run, now_seq) => {
                    let records = self.records(relay, &members);
                    return Ok(answer(now_run, now_seq, Some(records), &published));
                }
                (Some(published), Some(now_seq)) if is_over => {
                    return Ok(answer(now_run, now_seq, None, &published));
                }
                (None, _) | (_, None) if is_over => {
                    return Err(Refusal::Unavailable(
                        "the network's documents are not signed yet".to_owned(),
                    ));
                }
                (Some(_) | None, _) => {}
            }
            let changed = async {
                tokio::select! {
                    _ = documents.changed() => {}
                    () = concerns(&mut peers, |peer: &Peer| is_of(&relay.network, peer.namespace(), &peer.spec.network_ref.name)) => {}
                    () = concerns(&mut codes, |code: &PairingCode| is_of(&relay.network, code.namespace(), &code.spec.network_ref.name)) => {}
                }
                tokio::time::sleep(GATHER).await;
            };
            // At the deadline one more look is taken, and answered.
            drop(tokio::time::timeout_at(deadline, changed).await);
        }
    }

    /// The members, in the order of their serials.
    fn members(&self, network: &PeerNetwork) -> Vec<Arc<Peer>> {
        let mut peers = members::of_network(&self.context, network);
        peers.retain(|peer| members::is_member(&self.context, peer));
        peers.sort_by(|one, other| one.spec.serial.cmp(&other.spec.serial));
        peers
    }

    fn records(&self, relay: &RelayCaller, members: &[Arc<Peer>]) -> Vec<Signed> {
        let now = clock::now();
        let record = |peer: &Arc<Peer>| {
            let code = peer.spec.pairing_code_ref.as_ref();
            let code = code.and_then(|code| {
                self.context
                    .stores
                    .codes
                    .get(&peer.namespace().unwrap_or_default(), &code.name)
            });
            let life = records::life(&relay.network, peer, code.as_deref());
            records::sign(&relay.key, peer, records::issued(peer, life, now), life)
        };
        let signed = members.iter().map(record).filter_map(|signed| {
            signed
                .inspect_err(|error| tracing::warn!(%error, "a Peer is left out of the roster"))
                .ok()
        });
        signed.collect()
    }
}

fn position(query: &str) -> Option<(u64, u64)> {
    let value = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    Some((value("run")?, value("seq")?))
}

/// What tells one state of a roster from another within a run.
fn state(members: &[Arc<Peer>], published: &Published) -> u64 {
    let mut hasher = DefaultHasher::new();
    (published.epoch, published.issued, members.len()).hash(&mut hasher);
    for peer in members {
        (
            &peer.spec.serial,
            &peer.spec.peer_id,
            &peer.spec.display_name,
        )
            .hash(&mut hasher);
    }
    hasher.finish()
}

fn answer(run: u64, seq: u64, records: Option<Vec<Signed>>, published: &Published) -> RosterAnswer {
    RosterAnswer {
        run,
        seq,
        full: records.is_some(),
        records: records.unwrap_or_default(),
        gone: Vec::new(),
        revocations: published.revocations.clone(),
        network_document: published.document.clone(),
    }
}

fn is_of(network: &PeerNetwork, namespace: Option<String>, name: &str) -> bool {
    network.namespace() == namespace && network.name_any() == name
}

/// Waits for a change that is about the network, or that may be.
async fn concerns<K>(
    changes: &mut tokio::sync::broadcast::Receiver<Change<K>>,
    is_ours: impl Fn(&K) -> bool,
) {
    loop {
        match changes.recv().await {
            Ok(Change::Applied(object) | Change::Deleted(object)) if !is_ours(&object) => {}
            Ok(Change::Applied(_) | Change::Deleted(_) | Change::Relisted)
            | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_two_numbers() {
        assert_eq!(position("run=0&seq=0"), Some((0, 0)));
        assert_eq!(
            position("seq=7&run=18446744073709551615"),
            Some((u64::MAX, 7))
        );
        for bad in [
            "",
            "run=1",
            "seq=1",
            "run=-1&seq=1",
            "run=1&seq=x",
            "runs=1&seq=1",
        ] {
            assert_eq!(position(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_grow_with_changes_only() {
        let rosters = Rosters::default();
        let numbers = [5, 5, 6, 5, 5].map(|state| rosters.number("one", state));
        assert_eq!(numbers, [1, 1, 2, 3, 3]);
        assert_eq!((rosters.number("two", 6), rosters.number("one", 5)), (4, 3));
    }
}
