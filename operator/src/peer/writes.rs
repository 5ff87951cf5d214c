//! Writes of grades and conditions, slowly enough for the API server: each peer waits at most once, those that joined
//! have a budget of their own, bad news come before good.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::runtime::reflector::ObjectRef;
use peerup_crds::Peer;
use prometheus::IntGauge;
use tokio::sync::Notify;

use super::{bucket::Bucket, decide::Turn};

/// Writes a second for peers that join.
const JOINS_PER_SECOND: u32 = 50;
/// What one peer costs: its status and its pod's conditions.
const COST: u32 = 2;

/// Peers that wait for a write.
#[derive(Clone)]
pub(super) struct Writes {
    waiting: Arc<Mutex<Waiting>>,
    news: Arc<Notify>,
    length: IntGauge,
}

struct Waiting {
    turns: HashMap<ObjectRef<Peer>, (Turn, u64)>,
    queue: BTreeSet<(Turn, u64)>,
    peers: HashMap<u64, ObjectRef<Peer>>,
    next: u64,
    joins: Bucket,
    others: Bucket,
}

impl Writes {
    pub(super) fn new(per_second: u32, length: IntGauge) -> Self {
        let now = Instant::now();
        let waiting = Waiting {
            turns: HashMap::new(),
            queue: BTreeSet::new(),
            peers: HashMap::new(),
            next: 0,
            joins: Bucket::new(JOINS_PER_SECOND, now),
            others: Bucket::new(per_second, now),
        };
        Self {
            waiting: Arc::new(Mutex::new(waiting)),
            news: Arc::default(),
            length,
        }
    }

    /// A peer has something to be written; one that waits already keeps its better place.
    pub(super) fn enqueue(&self, peer: ObjectRef<Peer>, turn: Turn) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.add(peer, turn);
        self.length
            .set(i64::try_from(waiting.queue.len()).unwrap_or(i64::MAX));
        self.news.notify_one();
    }

    /// The next peer, when it is its turn and there is budget.
    pub(super) async fn next(&self) -> ObjectRef<Peer> {
        loop {
            let wait = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let next = waiting.pop(Instant::now());
                self.length
                    .set(i64::try_from(waiting.queue.len()).unwrap_or(i64::MAX));
                next
            };
            match wait {
                Ok(peer) => return peer,
                Err(None) => self.news.notified().await,
                // Somebody with a better turn may come meanwhile.
                Err(Some(pause)) => drop(tokio::time::timeout(pause, self.news.notified()).await),
            }
        }
    }
}

impl Waiting {
    fn add(&mut self, peer: ObjectRef<Peer>, turn: Turn) {
        let number = match self.turns.get(&peer) {
            Some((former, _)) if *former <= turn => return,
            Some((former, number)) => {
                self.queue.remove(&(*former, *number));
                *number
            }
            None => {
                self.next += 1;
                self.next
            }
        };
        self.turns.insert(peer.clone(), (turn, number));
        self.peers.insert(number, peer);
        self.queue.insert((turn, number));
    }

    /// The next peer; else how long to wait for budget; `None`: nobody waits.
    fn pop(&mut self, now: Instant) -> Result<ObjectRef<Peer>, Option<Duration>> {
        let join = self
            .queue
            .first()
            .copied()
            .filter(|(turn, _)| *turn == Turn::Join);
        let other = self.queue.range((Turn::Offline, 0)..).next().copied();
        let mut wait = None;
        for (entry, bucket) in [(join, &mut self.joins), (other, &mut self.others)] {
            let Some(entry) = entry else { continue };
            match bucket.take(COST, now) {
                Ok(()) => {
                    self.queue.remove(&entry);
                    if let Some(peer) = self.peers.remove(&entry.1) {
                        self.turns.remove(&peer);
                        return Ok(peer);
                    }
                }
                Err(pause) => wait = Some(wait.map_or(pause, |other: Duration| other.min(pause))),
            }
        }
        Err(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> ObjectRef<Peer> {
        ObjectRef::new(name).within("shop")
    }

    fn waiting(per_second: u32, now: Instant) -> Waiting {
        let writes = Writes::new(per_second, IntGauge::new("length", "x").unwrap());
        let mut waiting = Arc::into_inner(writes.waiting)
            .unwrap()
            .into_inner()
            .unwrap();
        waiting.joins = Bucket::new(4, now);
        waiting.others = Bucket::new(per_second, now);
        waiting
    }

    #[test]
    fn bad_news_come_first_and_each_peer_once() {
        let now = Instant::now();
        let mut waiting = waiting(100, now);
        for (name, turn) in [
            ("a", Turn::Other),
            ("b", Turn::Poor),
            ("c", Turn::Offline),
            ("d", Turn::Other),
            ("a", Turn::Other),
        ] {
            waiting.add(peer(name), turn);
        }
        waiting.add(peer("d"), Turn::Offline);
        waiting.add(peer("d"), Turn::Poor);
        let order: Vec<_> = std::iter::from_fn(|| waiting.pop(now).ok())
            .map(|peer| peer.name)
            .collect();
        assert_eq!(order, ["c", "d", "b", "a"]);
        assert!(waiting.turns.is_empty() && waiting.peers.is_empty());
        assert_eq!(waiting.pop(now), Err(None));
    }

    #[test]
    fn joins_have_a_budget_of_their_own() {
        let now = Instant::now();
        let mut waiting = waiting(2, now);
        for name in ["j1", "j2", "j3"] {
            waiting.add(peer(name), Turn::Join);
        }
        waiting.add(peer("o1"), Turn::Offline);
        waiting.add(peer("o2"), Turn::Offline);
        let order: Vec<_> = std::iter::from_fn(|| waiting.pop(now).ok())
            .map(|peer| peer.name)
            .collect();
        assert_eq!(
            order,
            ["j1", "j2", "o1"],
            "two joins and one other, then both budgets are spent"
        );
        assert_eq!(waiting.pop(now), Err(Some(Duration::from_millis(500))));
        assert_eq!(
            waiting.pop(now + Duration::from_millis(500)).unwrap().name,
            "j3"
        );
        assert_eq!(
            waiting.pop(now + Duration::from_secs(1)).unwrap().name,
            "o2"
        );
    }
}
