//! Which comparisons are being made and which wait for a person (pure). One a peer: whoever opens, both sides end up
//! with the same one.
//!
//! ```text
//! person asks    nothing → Opening → (result)       Ready → taken       Answering → wait
//! stream comes   nothing, Ready → Answering → Ready     Opening → Answering if this side gives way
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use peerup_pairing::sas;
use peerup_protocol::PeerId;
use tokio::time::Instant;

/// Comparisons that others have begun and no person has taken yet.
const MAX_PENDING: usize = 8;
/// How long one waits for its person.
pub(super) const PENDING: Duration = Duration::from_secs(300);
/// Comparisons that one peer may begin in that time: each is a try at the string.
const MAX_TRIES: usize = 8;

/// What a stream of another peer gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inbound {
    Answer,
    Refuse,
}

/// What a person's question leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted<T> {
    /// The other side has begun one.
    Take(T, Instant),
    /// The other side is beginning one.
    Wait,
    /// Another question about the same peer is being answered.
    Busy,
    /// This side begins one.
    Open,
}

#[derive(Debug)]
enum State<T> {
    Opening,
    Answering,
    Ready(T, Instant),
}

/// All of them, by peer.
#[derive(Debug)]
pub(super) struct Table<T> {
    me: PeerId,
    states: BTreeMap<PeerId, State<T>>,
    /// When others began theirs, newest last.
    begun: BTreeMap<PeerId, Vec<Instant>>,
}

impl<T> Table<T> {
    pub(super) fn new(me: PeerId) -> Self {
        Self {
            me,
            states: BTreeMap::new(),
            begun: BTreeMap::new(),
        }
    }

    /// Forgets what waits for a person in vain.
    pub(super) fn retain(&mut self, mut is_open: impl FnMut(&mut T) -> bool) {
        self.states.retain(|_, state| match state {
            State::Ready(made, _) => is_open(made),
            State::Opening | State::Answering => true,
        });
    }

    /// A stream of `peer` has come.
    pub(super) fn inbound(&mut self, peer: PeerId, now: Instant) -> Inbound {
        self.forget(now);
        let pending = self
            .states
            .values()
            .filter(|state| !matches!(state, State::Opening));
        let full = pending.count() >= MAX_PENDING;
        let refused = match self.states.get(&peer) {
            Some(State::Opening) => full || !sas::gives_way(&self.me, &peer),
            Some(State::Answering) => true,
            Some(State::Ready(..)) => false,
            None => full,
        };
        let tries = self.begun.get(&peer).map_or(0, Vec::len);
        if refused || tries >= MAX_TRIES {
            return Inbound::Refuse;
        }
        self.begun.entry(peer).or_default().push(now);
        self.states.insert(peer, State::Answering);
        Inbound::Answer
    }

    /// The stream of `peer` came to this end.
    pub(super) fn answered(&mut self, peer: PeerId, result: Option<T>, now: Instant) {
        if !matches!(self.states.get(&peer), Some(State::Answering)) {
            return;
        }
        match result {
            Some(made) => self.states.insert(peer, State::Ready(made, now + PENDING)),
            None => self.states.remove(&peer),
        };
    }

    /// A person wants to compare with `peer`.
    pub(super) fn wanted(&mut self, peer: PeerId, now: Instant) -> Wanted<T> {
        self.forget(now);
        match self.states.remove(&peer) {
            Some(State::Ready(made, until)) => Wanted::Take(made, until),
            Some(State::Answering) => {
                self.states.insert(peer, State::Answering);
                Wanted::Wait
            }
            Some(State::Opening) => {
                self.states.insert(peer, State::Opening);
                Wanted::Busy
            }
            None => {
                self.states.insert(peer, State::Opening);
                Wanted::Open
            }
        }
    }

    /// This side's own try is over, one way or the other.
    pub(super) fn opened(&mut self, peer: PeerId) {
        if self.is_opening(peer) {
            self.states.remove(&peer);
        }
    }

    /// False once this side has given way, or its try is over.
    pub(super) fn is_opening(&self, peer: PeerId) -> bool {
        matches!(self.states.get(&peer), Some(State::Opening))
    }

    /// True while a comparison that the other side began is being made.
    pub(super) fn is_answering(&self, peer: PeerId) -> bool {
        matches!(self.states.get(&peer), Some(State::Answering))
    }

    /// True while a comparison that the other side began is there or being made.
    pub(super) fn has_inbound(&self, peer: PeerId) -> bool {
        matches!(
            self.states.get(&peer),
            Some(State::Answering | State::Ready(..))
        )
    }

    fn forget(&mut self, now: Instant) {
        self.states.retain(|_, state| match state {
            State::Ready(_, until) => now < *until,
            State::Opening | State::Answering => true,
        });
        self.begun.retain(|_, times| {
            times.retain(|time| now < *time + PENDING);
            !times.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use peerup_protocol::SigningKey;
    use peerup_protocol::id::peer_id;

    use super::*;

    fn peers() -> (PeerId, PeerId) {
        let [one, other] =
            [1, 2].map(|seed| peer_id(&SigningKey::from_bytes(&[seed; 32]).verifying_key()));
        if sas::gives_way(&one, &other) {
            (other, one)
        } else {
            (one, other)
        }
    }

    fn many(count: u8) -> Vec<PeerId> {
        (10..10 + count)
            .map(|seed| peer_id(&SigningKey::from_bytes(&[seed; 32]).verifying_key()))
            .collect()
    }

    #[test]
    fn a_person_takes_what_the_other_side_began() {
        let (me, peer) = peers();
        let (mut table, now) = (Table::new(me), Instant::now());
        assert_eq!(table.inbound(peer, now), Inbound::Answer);
        assert_eq!(table.wanted(peer, now), Wanted::Wait);
        table.answered(peer, Some("sas"), now);
        assert_eq!(
            table.wanted(peer, now),
            Wanted::Take("sas", now + PENDING),
            "and not a new one"
        );
        assert_eq!(table.wanted(peer, now), Wanted::Open, "it is taken once");
    }

    #[test]
    fn of_two_that_open_at_once_the_greater_gives_way() {
        let (small, great) = peers();
        let now = Instant::now();
        let (mut at_small, mut at_great) = (Table::<()>::new(small), Table::<()>::new(great));
        assert_eq!(at_small.wanted(great, now), Wanted::Open);
        assert_eq!(at_great.wanted(small, now), Wanted::Open);
        assert_eq!(at_small.inbound(great, now), Inbound::Refuse);
        assert!(at_small.is_opening(great));
        assert_eq!(at_great.inbound(small, now), Inbound::Answer);
        assert!(!at_great.is_opening(small) && at_great.has_inbound(small));
        // The end of the try that was given up changes nothing.
        at_great.opened(small);
        assert_eq!(at_great.wanted(small, now), Wanted::Wait);
    }

    #[test]
    fn two_questions_at_once_are_one_too_many() {
        let (me, peer) = peers();
        let (mut table, now) = (Table::<()>::new(me), Instant::now());
        assert_eq!(table.wanted(peer, now), Wanted::Open);
        assert_eq!(table.wanted(peer, now), Wanted::Busy);
        table.opened(peer);
        assert_eq!(table.wanted(peer, now), Wanted::Open);
    }

    #[test]
    fn after_five_minutes_nothing_waits() {
        let (me, peer) = peers();
        let (mut table, now) = (Table::new(me), Instant::now());
        table.inbound(peer, now);
        table.answered(peer, Some("sas"), now);
        let last = now + PENDING - Duration::from_millis(1);
        assert!(matches!(table.wanted(peer, last), Wanted::Take(..)));
        table.opened(peer);
        table.inbound(peer, now);
        table.answered(peer, Some("sas"), now);
        assert_eq!(table.wanted(peer, now + PENDING), Wanted::Open);
    }

    #[test]
    fn a_failed_one_leaves_nothing() {
        let (me, peer) = peers();
        let (mut table, now) = (Table::<()>::new(me), Instant::now());
        table.inbound(peer, now);
        table.answered(peer, None, now);
        assert_eq!(table.wanted(peer, now), Wanted::Open);
    }

    #[test]
    fn eight_wait_and_own_questions_go_on() {
        let (me, peer) = peers();
        let (mut table, now) = (Table::new(me), Instant::now());
        for other in many(8) {
            assert_eq!(table.inbound(other, now), Inbound::Answer);
            table.answered(other, Some(()), now);
        }
        assert_eq!(table.inbound(peer, now), Inbound::Refuse);
        assert_eq!(table.wanted(peer, now), Wanted::Open);
        assert_eq!(
            table.inbound(peer, now + PENDING),
            Inbound::Refuse,
            "the own one is being made"
        );
        table.opened(peer);
        assert_eq!(table.inbound(peer, now + PENDING), Inbound::Answer);
    }

    #[test]
    fn what_waits_in_vain_takes_no_place() {
        let (me, peer) = peers();
        let (mut table, now) = (Table::new(me), Instant::now());
        for (at, other) in many(8).into_iter().enumerate() {
            table.inbound(other, now);
            table.answered(other, Some(at), now);
        }
        table.retain(|made| *made != 3);
        assert_eq!(table.inbound(peer, now), Inbound::Answer);
        assert_eq!(table.wanted(many(4)[3], now), Wanted::Open);
        assert!(matches!(table.wanted(many(5)[4], now), Wanted::Take(4, _)));
    }

    #[test]
    fn one_peer_has_eight_tries_in_five_minutes() {
        let (me, peer) = peers();
        let (mut table, now) = (Table::new(me), Instant::now());
        for _ in 0..MAX_TRIES {
            assert_eq!(table.inbound(peer, now), Inbound::Answer);
            assert_eq!(table.inbound(peer, now), Inbound::Refuse, "one at a time");
            table.answered(peer, Some(()), now);
        }
        assert_eq!(table.inbound(peer, now), Inbound::Refuse);
        assert_eq!(table.inbound(peer, now + PENDING), Inbound::Answer);
    }
}
