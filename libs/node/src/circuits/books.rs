//! Who holds a reservation and which circuits there are, against limits that may change at any time (pure).
//!
//! libp2p's relay takes its limits once. It is started without any, and asks here for each request: when a request
//! passes, libp2p grants it at once, so that it is in the books before the next one is decided. What libp2p tells
//! afterwards moves or removes entries.

use std::collections::HashMap;

use libp2p::swarm::ConnectionId;
use peerup_protocol::PeerId;

/// Most reservations and circuits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Maxima {
    pub(crate) reservations: usize,
    pub(crate) circuits: usize,
}

#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) maxima: Maxima,
    /// The connection whose request is decided at the moment.
    pub(crate) asking: Option<ConnectionId>,
    /// The connection that holds the peer's reservation.
    reservations: HashMap<PeerId, ConnectionId>,
    /// Reservations that are granted and not confirmed yet.
    reserving: HashMap<ConnectionId, PeerId>,
    /// Circuits that are granted and not there yet.
    opening: Vec<Opening>,
    /// A circuit has passed, and where it leads is not known yet.
    passed: Option<Caller>,
    /// Who asks for a circuit at the moment.
    caller: Caller,
    open: usize,
}

/// Who asks for a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Member,
    /// A stranger, for its one circuit.
    Guest,
}

/// A circuit that the destination has not accepted yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) from: ConnectionId,
    pub(crate) to: ConnectionId,
    pub(crate) destination: PeerId,
}

impl Books {
    pub(crate) fn new(maxima: Maxima) -> Self {
        Self {
            maxima,
            asking: None,
            reservations: HashMap::new(),
            reserving: HashMap::new(),
            opening: Vec::new(),
            passed: None,
            caller: Caller::Member,
            open: 0,
        }
    }

    /// Peers with a reservation.
    pub(crate) fn holders(&self) -> impl Iterator<Item = PeerId> {
        self.reservations.keys().copied()
    }

    /// Circuits that are there.
    pub(crate) fn circuits(&self) -> usize {
        self.open
    }

    /// Whether `peer` may reserve; who holds a reservation may always renew it, or move it to another connection.
    pub(crate) fn may_reserve(&mut self, peer: PeerId) -> bool {
        let Some(connection) = self.asking else {
            return false;
        };
        let held = self.reservations.len() + self.reserving.len();
        let known = self.reservations.contains_key(&peer);
        if !known && held >= self.maxima.reservations {
            return false;
        }
        if !known {
            self.reserving.insert(connection, peer);
        }
        true
    }

    /// A reservation is confirmed. Gives the peer's former connection with one.
    pub(crate) fn reserved(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
    ) -> Option<ConnectionId> {
        self.reserving.remove(&connection);
        self.reservations
            .insert(peer, connection)
            .filter(|former| *former != connection)
    }

    /// The connection's reservation ended or did not come about.
    pub(crate) fn release(&mut self, peer: PeerId, connection: ConnectionId) {
        self.reserving.remove(&connection);
        if self.reservations.get(&peer) == Some(&connection) {
            self.reservations.remove(&peer);
        }
    }

    /// Who asks for the circuit that is decided next.
    pub(crate) fn called_by(&mut self, caller: Caller) {
        self.caller = caller;
    }

    /// Whether one more circuit may be opened.
    pub(crate) fn may_open(&mut self) -> bool {
        let has_room = self.open + self.opening.len() < self.maxima.circuits;
        self.passed = has_room.then_some(self.caller);
        has_room
    }

    /// Once after a circuit has passed, who asked for it: where it leads comes next.
    pub(crate) fn has_passed(&mut self) -> Option<Caller> {
        self.passed.take()
    }

    /// The circuit that has passed leads somewhere.
    pub(crate) fn opening(&mut self, opening: Opening) {
        self.opening.push(opening);
    }

    /// A circuit is there.
    pub(crate) fn opened(&mut self, from: ConnectionId, destination: PeerId) {
        self.open += 1;
        self.settle(|o| o.from == from && o.destination == destination);
    }

    /// The destination refused, or the source did not take what it had asked for; `at` is either's connection.
    pub(crate) fn failed(&mut self, at: ConnectionId, destination: PeerId) {
        self.settle(|o| (o.to == at || o.from == at) && o.destination == destination);
    }

    /// A circuit has ended.
    pub(crate) fn ended(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// A connection is closed, and with it what hangs on it.
    pub(crate) fn closed(&mut self, peer: PeerId, connection: ConnectionId) {
        self.release(peer, connection);
        self.opening
            .retain(|o| o.from != connection && o.to != connection);
    }

    fn settle(&mut self, is_it: impl FnMut(&Opening) -> bool) {
        if let Some(at) = self.opening.iter().position(is_it) {
            self.opening.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn books(reservations: usize, circuits: usize) -> Books {
        Books::new(Maxima {
            reservations,
            circuits,
        })
    }

    fn reserve(books: &mut Books, peer: PeerId, number: usize) -> bool {
        books.asking = Some(connection(number));
        books.may_reserve(peer)
    }

    #[test]
    fn places_are_taken_when_they_are_granted() {
        let (a, b) = (PeerId::random(), PeerId::random());
        let mut books = books(1, 1);
        assert!(reserve(&mut books, a, 1) && !reserve(&mut books, b, 2));
        assert_eq!(books.reserved(a, connection(1)), None);
        assert!(!reserve(&mut books, b, 2));
        assert!(reserve(&mut books, a, 1), "renewed though all are taken");
        assert!(reserve(&mut books, a, 3), "and moved");
        assert_eq!(books.reserved(a, connection(3)), Some(connection(1)));
        books.closed(a, connection(1));
        assert!(!reserve(&mut books, b, 2));
        books.closed(a, connection(3));
        assert!(reserve(&mut books, b, 2));
        books.release(b, connection(2));
        assert!(reserve(&mut books, a, 4), "the answer did not reach b");
    }

    #[test]
    fn lower_limits_take_nothing_away() {
        let (a, b) = (PeerId::random(), PeerId::random());
        let mut books = books(2, 0);
        for (number, peer) in [a, b].into_iter().enumerate() {
            assert!(reserve(&mut books, peer, number));
            books.reserved(peer, connection(number));
        }
        books.maxima.reservations = 1;
        assert!(reserve(&mut books, a, 0) && !reserve(&mut books, PeerId::random(), 2));
        assert_eq!(books.holders().count(), 2);
    }

    #[test]
    fn circuits_count_from_their_request_to_their_end() {
        let to = PeerId::random();
        let mut books = books(0, 2);
        let opening = |from| Opening {
            from: connection(from),
            to: connection(9),
            destination: to,
        };
        for from in 1..=2 {
            assert!(books.may_open());
            assert_eq!(books.has_passed(), Some(Caller::Member));
            assert_eq!(books.has_passed(), None);
            books.opening(opening(from));
        }
        assert!(!books.may_open());
        assert_eq!(books.has_passed(), None);
        books.opened(connection(1), to);
        assert_eq!((books.circuits(), books.may_open()), (1, false));
        books.failed(connection(9), to);
        assert!(books.may_open(), "2 was refused by its destination");
        books.opening(opening(2));
        books.closed(PeerId::random(), connection(9));
        assert!(
            books.may_open(),
            "the destination is gone without an answer"
        );
        books.ended();
        books.ended();
        assert_eq!(books.circuits(), 0);
    }
}
