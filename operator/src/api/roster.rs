//! `roster`: a long poll by which relays learn who is a member. Who knows a state of this leader's gets what is
//! different, others get all of it.

mod changes;

use std::{
    collections::{BTreeMap, HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kube::ResourceExt;
use peerup_crds::{PairingCode, Peer, PeerNetwork};
use peerup_protocol::{UnixTime, api::RosterAnswer, id::Serial, record::Signed};
use tokio::sync::broadcast::error::RecvError;

use self::changes::{Changes, Difference, Entry};
use super::{Api, callers::RelayCaller, members, problem::Refusal, records};
use crate::{
    clock,
    context::{Change, Published},
};

/// How long a poll is held open.
pub(super) const HOLD: Duration = Duration::from_secs(25);
/// Changes within this time are answered together.
const GATHER: Duration = Duration::from_millis(200);

/// Networks whose states are remembered.
const MOST_NETWORKS: usize = 4096;

/// The states of each network's roster.
#[derive(Default)]
pub(super) struct Rosters {
    /// No number is ever given twice, whatever is forgotten.
    last: AtomicU64,
    networks: Mutex<HashMap<String, Arc<Mutex<Changes>>>>,
}

impl Rosters {
    fn of(&self, network_uid: &str) -> Arc<Mutex<Changes>> {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if networks.len() >= MOST_NETWORKS && !networks.contains_key(network_uid) {
            networks.clear();
        }
        let changes = networks.entry(network_uid.to_owned()).or_default();
        changes.clone()
    }

    fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// How far a relay knows the roster, or how far it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    run: u64,
    seq: u64,
}

/// A member and the times of its record.
struct Member {
    peer: Arc<Peer>,
    life: UnixTime,
    issued: UnixTime,
}

impl Api {
    pub(super) async fn roster(
        &self,
        relay: &RelayCaller,
        query: &str,
    ) -> Result<RosterAnswer, Refusal> {
        let asked = position(query).ok_or_else(|| {
            Refusal::Malformed("the query must be run=<number>&seq=<number>".to_owned())
        })?;
        let uid = relay.network.uid().unwrap_or_default();
        let mut documents = self.context.documents.subscribe(&uid);
        let (mut peers, mut codes) = (
            self.context.stores.peers.changes(),
            self.context.stores.codes.changes(),
        );
        let index = &self.context.stores.index;
        let deadline = tokio::time::Instant::now() + HOLD;
        loop {
            let run = self
                .context
                .leadership
                .run()
                .ok_or_else(|| Refusal::Unavailable("this replica leads no more".to_owned()))?;
            let published = documents.borrow_and_update().clone();
            let (version, is_over) = (index.version(), tokio::time::Instant::now() >= deadline);
            match published {
                Some(published) => {
                    let answer = self.look(relay, &uid, run, asked, &published);
                    if is_over || (answer.run, answer.seq) != (asked.run, asked.seq) {
                        return Ok(answer);
                    }
                }
                None if is_over => {
                    return Err(Refusal::Unavailable(
                        "the network's documents are not signed yet".to_owned(),
                    ));
                }
                None => {}
            }
            let network = &relay.network;
            // Most changes of Peers are of their status, and no change of the roster.
            let ours = |peer: &Peer| {
                is_of(network, peer.namespace(), &peer.spec.network_ref.name)
                    && index.version() != version
            };
            let changed = async {
                tokio::select! {
                    _ = documents.changed() => {}
                    () = concerns(&mut peers, ours) => {}
                    () = concerns(&mut codes, |code: &PairingCode| is_of(network, code.namespace(), &code.spec.network_ref.name)) => {}
                }
                tokio::time::sleep(GATHER).await;
            };
            // At the deadline one more look is taken, and answered.
            drop(tokio::time::timeout_at(deadline, changed).await);
        }
    }

    /// The roster as it is now, for one who knows it as far as `asked`.
    fn look(
        &self,
        relay: &RelayCaller,
        uid: &str,
        run: u64,
        asked: Position,
        published: &Published,
    ) -> RosterAnswer {
        let changes = self.rosters.of(uid);
        let (members, seq, difference) = {
            // One look after the other: an older one must not undo what a newer has seen.
            let mut changes = changes.lock().unwrap_or_else(PoisonError::into_inner);
            let members = self.members(&relay.network);
            let state = members
                .iter()
                .map(|(serial, member)| (*serial, entry(member)));
            let lists = (published.epoch, published.issued);
            let seq = changes.update(state.collect(), lists, || self.rosters.next());
            let known = (asked.run == run).then(|| changes.since(asked.seq));
            (members, seq, known.flatten())
        };
        let full = difference.is_none();
        let Difference { changed, gone } = difference.unwrap_or_else(|| Difference {
            changed: members.keys().copied().collect(),
            gone: Vec::new(),
        });
        let changed = changed.iter().filter_map(|serial| members.get(serial));
        RosterAnswer {
            run,
            seq,
            full,
            records: signed(relay, changed),
            gone,
            revocations: published.revocations.clone(),
            network_document: published.document.clone(),
        }
    }

    /// The members and the times of their records; one whose serial nobody can read is left out.
    fn members(&self, network: &PeerNetwork) -> BTreeMap<Serial, Member> {
        let now = clock::now();
        let mut found = BTreeMap::new();
        for peer in members::of_network(&self.context, network) {
            if !members::is_member(&self.context, &peer) {
                continue;
            }
            let Ok(serial) = peer.spec.serial.parse() else {
                tracing::warn!(
                    peer = peer.name_any(),
                    "a Peer with a bad serial is left out of the roster"
                );
                continue;
            };
            let code = peer.spec.pairing_code_ref.as_ref();
            let code = code.and_then(|code| {
                let namespace = peer.metadata.namespace.as_deref().unwrap_or_default();
                self.context.stores.codes.get(namespace, &code.name)
            });
            let life = records::life(network, &peer, code.as_deref());
            let issued = records::issued(&peer, life, now);
            found.insert(serial, Member { peer, life, issued });
        }
        found
    }
}

fn signed<'a>(relay: &RelayCaller, members: impl Iterator<Item = &'a Member>) -> Vec<Signed> {
    let record = |member: &Member| {
        records::sign(&relay.key, &member.peer, member.issued, member.life)
            .inspect_err(|error| tracing::warn!(%error, "a Peer is left out of the roster"))
            .ok()
    };
    members.filter_map(record).collect()
}

fn entry(member: &Member) -> Entry {
    let spec = &member.peer.spec;
    let mut hasher = DefaultHasher::new();
    (&spec.peer_id, &spec.display_name, &spec.subject).hash(&mut hasher);
    Entry {
        said: hasher.finish(),
        issued: member.issued,
        life: member.life,
    }
}

fn position(query: &str) -> Option<Position> {
    let value = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    Some(Position {
        run: value("run")?,
        seq: value("seq")?,
    })
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
        let of = |run, seq| Some(Position { run, seq });
        assert_eq!(position("run=0&seq=0"), of(0, 0));
        assert_eq!(position("seq=7&run=18446744073709551615"), of(u64::MAX, 7));
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
    fn no_number_is_given_twice() {
        let rosters = Rosters::default();
        let number = |uid: &str, lists| {
            let changes = rosters.of(uid);
            let mut changes = changes.lock().unwrap();
            changes.update(BTreeMap::new(), lists, || rosters.next())
        };
        let numbers = [5, 5, 6, 5, 5].map(|epoch| number("one", (epoch, 1)));
        assert_eq!(numbers, [1, 1, 2, 3, 3]);
        assert_eq!((number("two", (6, 1)), number("one", (5, 1))), (4, 3));
    }
}
