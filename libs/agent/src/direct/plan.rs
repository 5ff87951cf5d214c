//! Whom to ask for a direct connection and when, whom to answer, and when a circuit has had its day (pure).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use peerup_node::{ConnectionId, PeerId, Way};
use tokio::time::Instant;

/// Rounds at once, asked and answered ones together.
const MAX_ROUNDS: usize = 4;
/// Pause after the first failure in a row, and the longest; each is jittered down to half of it.
const PAUSES: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));
/// A direct connection that ends before was none.
const STEADY: Duration = Duration::from_secs(60);
/// A circuit beside a direct connection is closed after so long without a stream.
const DRAINED: Duration = Duration::from_secs(2);
/// Pause between two looks at such a circuit.
const LOOK: Duration = Duration::from_secs(1);
/// Without any of that there is nothing to look at for so long.
const LONGEST: Duration = Duration::from_secs(300);
/// A peer that is gone is remembered for so long after its last pause, so that it does not come back as a new one.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Peers that are remembered; more of them stay relayed.
const MAX_PEERS: usize = 4096;
/// Asks of one peer that are answered within [`ASKS_TIME`].
const ASKS: usize = 3;
const ASKS_TIME: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask the peer over this circuit; [`Plan::ended`] is to be told.
    Ask(PeerId, ConnectionId),
    /// Close a circuit on which nothing is left.
    Close(ConnectionId),
}

/// What is known of one peer.
#[derive(Debug)]
struct Known {
    /// In a row.
    failures: u32,
    /// Nothing is dialled before.
    next: Instant,
    /// A round is under way.
    trying: bool,
    /// Since when there is a direct connection.
    direct: Option<Instant>,
    /// When its last asks were answered.
    asks: [Option<Instant>; ASKS],
}

impl Known {
    fn new(now: Instant) -> Self {
        Self {
            failures: 0,
            next: now,
            trying: false,
            direct: None,
            asks: [None; ASKS],
        }
    }

    fn failed(&mut self, now: Instant, random: f64) {
        self.failures = self.failures.saturating_add(1);
        let doubled = PAUSES.0.saturating_mul(1 << (self.failures - 1).min(8));
        let jitter = 0.5 + random.clamp(0.0, 1.0) / 2.0;
        self.next = now + doubled.min(PAUSES.1).mul_f64(jitter);
    }

    /// Whether there is a direct connection; one that did not last is a failure.
    fn sees(&mut self, direct: bool, now: Instant, random: f64) {
        match (direct, self.direct) {
            (true, None) => self.direct = Some(now),
            (true, Some(since)) if now >= since + STEADY => self.failures = 0,
            (true, Some(_)) | (false, None) => (),
            (false, Some(since)) => {
                self.direct = None;
                if now < since + STEADY {
                    self.failed(now, random);
                } else {
                    (self.failures, self.next) = (0, now);
                }
            }
        }
    }
}

/// One session's.
#[derive(Debug)]
pub(super) struct Plan {
    me: PeerId,
    peers: BTreeMap<PeerId, Known>,
    /// Circuits beside direct connections, and since when they have no stream.
    idle: BTreeMap<ConnectionId, Instant>,
}

impl Plan {
    pub(super) fn new(me: PeerId) -> Self {
        Self {
            me,
            peers: BTreeMap::new(),
            idle: BTreeMap::new(),
        }
    }

    /// What to do, given all `ways` to other members, and when to look again at latest. `random` lies in 0…1.
    pub(super) fn look(&mut self, ways: &[Way], now: Instant, random: f64) -> (Vec<Step>, Instant) {
        let mut steps = Vec::new();
        let mut next = now + LONGEST;
        self.see(ways, now, random);
        for (peer, circuit) in self.relayed(ways) {
            let rounds = self.rounds();
            let Some(known) = self.peers.get_mut(&peer).filter(|known| !known.trying) else {
                continue;
            };
            if known.next > now {
                next = next.min(known.next);
            } else if rounds < MAX_ROUNDS {
                known.trying = true;
                steps.push(Step::Ask(peer, circuit));
            }
        }
        for (circuit, since) in self.drain(ways, now) {
            if now >= since + DRAINED {
                steps.push(Step::Close(circuit));
            }
            next = next.min(now + LOOK);
        }
        (steps, next)
    }

    /// Takes notice of who is connected how.
    fn see(&mut self, ways: &[Way], now: Instant, random: f64) {
        for way in ways {
            if self.peers.len() < MAX_PEERS || self.peers.contains_key(&way.peer) {
                self.peers
                    .entry(way.peer)
                    .or_insert_with(|| Known::new(now));
            }
        }
        for (peer, known) in &mut self.peers {
            known.sees(is_direct(ways, peer), now, random);
        }
        self.peers.retain(|peer, known| {
            let there = known.trying || ways.iter().any(|way| way.peer == *peer);
            there || known.next + REMEMBERED > now
        });
    }

    /// The peers that this one asks and that have no direct connection, each with its newest circuit.
    fn relayed(&self, ways: &[Way]) -> BTreeMap<PeerId, ConnectionId> {
        let circuits = ways.iter().filter(|way| way.relayed && way.peer > self.me);
        circuits
            .filter(|way| !is_direct(ways, &way.peer))
            .map(|way| (way.peer, way.connection))
            .collect()
    }

    /// The circuits beside direct connections, and since when they have no stream. The side that asks closes them.
    fn drain(&mut self, ways: &[Way], now: Instant) -> Vec<(ConnectionId, Instant)> {
        let beside = |way: &&Way| way.relayed && way.peer > self.me && is_direct(ways, &way.peer);
        let beside: Vec<&Way> = ways.iter().filter(beside).collect();
        let is_idle = |id: &ConnectionId| {
            let mut all = beside.iter();
            all.any(|way| way.connection == *id && way.streams == 0)
        };
        self.idle.retain(|circuit, _| is_idle(circuit));
        let since = beside.into_iter().map(|way| {
            let since = match way.streams {
                0 => *self.idle.entry(way.connection).or_insert(now),
                _ => now,
            };
            (way.connection, since)
        });
        since.collect()
    }

    fn rounds(&self) -> usize {
        self.peers.values().filter(|known| known.trying).count()
    }

    /// What came of a round or of a dial.
    pub(super) fn ended(&mut self, peer: PeerId, connected: bool, now: Instant, random: f64) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        known.trying = false;
        if connected {
            // If it is gone before anybody has looked, it did not last.
            known.direct = Some(now);
        } else {
            known.failed(now, random);
        }
    }

    /// Whether an ask is answered: of a peer that asks this one, and not too often.
    pub(super) fn may_answer(&mut self, peer: PeerId, now: Instant) -> bool {
        if peer >= self.me {
            return false;
        }
        if !self.peers.contains_key(&peer) && self.peers.len() >= MAX_PEERS {
            return false;
        }
        let known = self.peers.entry(peer).or_insert_with(|| Known::new(now));
        let is_free = |ask: &&mut Option<Instant>| ask.is_none_or(|at| now >= at + ASKS_TIME);
        let Some(free) = known.asks.iter_mut().find(is_free) else {
            return false;
        };
        *free = Some(now);
        true
    }

    /// Whether this side may dial a peer that asked and did not reach it; if so, [`Self::ended`] is to be told.
    pub(super) fn may_dial(&mut self, peer: PeerId, now: Instant) -> bool {
        let has_room = self.rounds() < MAX_ROUNDS;
        let known = self.peers.get_mut(&peer);
        let due = known.filter(|known| has_room && !known.trying && known.next <= now);
        due.map(|known| known.trying = true).is_some()
    }

    /// On another network what failed before may succeed.
    pub(super) fn network_changed(&mut self, now: Instant) {
        for known in self.peers.values_mut() {
            (known.failures, known.next) = (0, now);
        }
    }
}

fn is_direct(ways: &[Way], peer: &PeerId) -> bool {
    ways.iter().any(|way| way.peer == *peer && !way.relayed)
}
