//! What metrics need: counts that only grow, and the state at a moment.

use std::sync::atomic::{AtomicU64, Ordering};

use libp2p::swarm::ConnectionId;
use peerup_protocol::PeerId;

use crate::probation::Counts;

/// Why something was denied; one counter each.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Denial {
    ArrivingFull,
    SourceFull,
    ProbationFull,
    AttestedFull,
    Late,
    Connection,
    Reservation,
    Circuit,
    Stream,
    Record,
    Misdirected,
}

/// Denials since the start, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Denied {
    /// Too many strangers at once.
    pub arriving_full: u64,
    /// Too many strangers from one source.
    pub source_full: u64,
    /// Too many pairing at once.
    pub probation_full: u64,
    /// Too many attested pairing at once.
    pub attested_full: u64,
    /// Strangers closed at their timeout.
    pub late: u64,
    /// Connections over the limits of number or memory.
    pub connection: u64,
    /// Reservations refused.
    pub reservation: u64,
    /// Circuits refused.
    pub circuit: u64,
    /// Inbound streams over the peer's cap.
    pub stream: u64,
    /// DHT records refused.
    pub record: u64,
    /// Messages of inner behaviours that had no visible connection, and dials of theirs.
    pub misdirected: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    arriving_full: AtomicU64,
    source_full: AtomicU64,
    probation_full: AtomicU64,
    attested_full: AtomicU64,
    late: AtomicU64,
    connection: AtomicU64,
    reservation: AtomicU64,
    circuit: AtomicU64,
    stream: AtomicU64,
    record: AtomicU64,
    misdirected: AtomicU64,
}

impl Counters {
    pub(crate) fn deny(&self, denial: Denial) {
        match denial {
            Denial::ArrivingFull => &self.arriving_full,
            Denial::SourceFull => &self.source_full,
            Denial::ProbationFull => &self.probation_full,
            Denial::AttestedFull => &self.attested_full,
            Denial::Late => &self.late,
            Denial::Connection => &self.connection,
            Denial::Reservation => &self.reservation,
            Denial::Circuit => &self.circuit,
            Denial::Stream => &self.stream,
            Denial::Record => &self.record,
            Denial::Misdirected => &self.misdirected,
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn denied(&self) -> Denied {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Denied {
            arriving_full: read(&self.arriving_full),
            source_full: read(&self.source_full),
            probation_full: read(&self.probation_full),
            attested_full: read(&self.attested_full),
            late: read(&self.late),
            connection: read(&self.connection),
            reservation: read(&self.reservation),
            circuit: read(&self.circuit),
            stream: read(&self.stream),
            record: read(&self.record),
            misdirected: read(&self.misdirected),
        }
    }
}

/// Open connections by transport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// Direct over TCP.
    pub tcp: usize,
    /// Direct over QUIC.
    pub quic: usize,
    /// Circuits through a relay.
    pub relayed: usize,
}

/// A connection that carries everything, at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The connection.
    pub connection: ConnectionId,
    /// Where it leads.
    pub peer: PeerId,
    /// Whether a relay lies between.
    pub relayed: bool,
    /// Streams of ours that are open on it, of both sides.
    pub streams: usize,
}

/// The state of a node at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Connections to admitted peers.
    pub connections: Connections,
    /// Connections to peers that are not admitted.
    pub gated: Connections,
    /// Admitted PeerIds, connected or not.
    pub admitted: usize,
    /// Admitted peers with a connection, in order; whether one of them is direct.
    pub members: Vec<(PeerId, bool)>,
    /// At a relay: peers with a reservation. At a peer: relays that hold one. In order.
    pub reservations: Vec<PeerId>,
    /// Circuits that the relay carries.
    pub circuits: usize,
    /// Bytes that the relay has carried since the start: of circuits, both directions, as they pass the stream of the
    /// side that opened it; its requests are in it, what transports add is not.
    pub carried_bytes: u64,
    /// Connections on probation.
    pub probation: Counts,
    /// Denials since the start.
    pub denied: Denied,
}
