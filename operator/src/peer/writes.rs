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
    /// Peers that are being written, and whether somebody wanted to write them meanwhile.
    busy: HashMap<ObjectRef<Peer>, bool>,
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
            busy: HashMap::new(),
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

    /// A peer whose turn it was needed no write after all: it costs nothing.
    pub(super) fn spared(&self, turn: Turn) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bucket(turn).give_back(COST);
        self.news.notify_one();
    }

    /// A peer is not being written any more; answers whether it has to be looked at again.
    pub(super) fn done(&self, peer: &ObjectRef<Peer>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.busy.remove(peer).unwrap_or(false)
    }

    /// The next peer, when it is its turn and there is budget. What is wanted for it from now on waits until it is
    /// [`Writes::done`]: half of a write would look like one that is needed.
    pub(super) async fn next(&self) -> (ObjectRef<Peer>, Turn) {
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
        if let Some(wanted) = self.busy.get_mut(&peer) {
            *wanted = true;
            return;
        }
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

    fn bucket(&mut self, turn: Turn) -> &mut Bucket {
        match turn {
            Turn::Join => &mut self.joins,
            Turn::Offline | Turn::Poor | Turn::Other => &mut self.others,
        }
    }

    /// The next peer; else how long to wait for budget; `None`: nobody waits.
    fn pop(&mut self, now: Instant) -> Result<(ObjectRef<Peer>, Turn), Option<Duration>> {
        let join = self
            .queue
            .first()
            .copied()
            .filter(|(turn, _)| *turn == Turn::Join);
        let other = self.queue.range((Turn::Offline, 0)..).next().copied();
        let mut wait = None;
        for entry in [join, other].into_iter().flatten() {
            match self.bucket(entry.0).take(COST, now) {
                Ok(()) => {
                    self.queue.remove(&entry);
                    if let Some(peer) = self.peers.remove(&entry.1) {
                        self.turns.remove(&peer);
                        self.busy.insert(peer.clone(), false);
                        return Ok((peer, entry.0));
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
            .map(|(peer, _)| peer.name)
            .collect();
        assert_eq!(order, ["c", "d", "b", "a"]);
        assert!(waiting.turns.is_empty() && waiting.peers.is_empty());
        assert_eq!(waiting.pop(now), Err(None));
    }

    #[test]
    fn what_is_wanted_during_a_write_is_looked_at_afterwards() {
        let now = Instant::now();
        let writes = Writes::new(100, IntGauge::new("length", "x").unwrap());
        let pop = || writes.waiting.lock().unwrap().pop(now);
        writes.enqueue(peer("a"), Turn::Join);
        pop().unwrap();
        writes.enqueue(peer("a"), Turn::Poor);
        assert_eq!(pop(), Err(None), "it is being written");
        assert!(writes.done(&peer("a")));

        writes.enqueue(peer("a"), Turn::Poor);
        pop().unwrap();
        assert!(!writes.done(&peer("a")), "nobody wanted it");
        assert!(writes.waiting.lock().unwrap().busy.is_empty());
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
            .map(|(peer, _)| peer.name)
            .collect();
        assert_eq!(
            order,
            ["j1", "j2", "o1"],
            "two joins and one other, then both budgets are spent"
        );
        assert_eq!(waiting.pop(now), Err(Some(Duration::from_millis(500))));
        let mut after = |millis| {
            waiting
                .pop(now + Duration::from_millis(millis))
                .unwrap()
                .0
                .name
        };
        assert_eq!([after(500), after(1000)], ["j3", "o2"]);
    }

    #[test]
    fn who_needs_no_write_leaves_the_budget_to_others() {
        let now = Instant::now();
        let mut waiting = waiting(2, now);
        for name in ["a", "b", "c"] {
            waiting.add(peer(name), Turn::Other);
        }
        let (first, turn) = waiting.pop(now).unwrap();
        waiting.bucket(turn).give_back(COST);
        let (second, _) = waiting.pop(now).unwrap();
        assert_eq!([first.name, second.name], ["a", "b"]);
        waiting.pop(now).unwrap_err();
    }
}
