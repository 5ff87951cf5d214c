//! How libp2p's relay is set up: without limits of its own but of time and bytes, which its handlers hold; the books
//! decide the rest.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use libp2p::relay;
use peerup_protocol::{Multiaddr, PeerId};

use super::{Maxima, books::Books, lock};
use crate::{config::RelayLimits, members::Members};

/// Reservations of one peer; more than one only while it reconnects.
const RESERVATIONS_PER_PEER: usize = 2;
/// Requests that one peer may make in a row, and the time after which it may make one more.
const RESERVATION_RATE: (NonZeroU32, Duration) =
    (NonZeroU32::MIN.saturating_add(29), Duration::from_secs(10));
const CIRCUIT_RATE: (NonZeroU32, Duration) =
    (NonZeroU32::MIN.saturating_add(511), Duration::from_secs(1));
/// libp2p writes the duration of a circuit as a u32.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

pub(super) fn maxima(limits: &RelayLimits) -> Maxima {
    Maxima {
        reservations: limits.max_reservations,
        circuits: limits.max_circuits,
    }
}

/// The relay that decides: members only; no limit per address, which a whole cluster may share.
pub(super) fn relay(id: PeerId, members: &Members, books: &Arc<Mutex<Books>>) -> relay::Behaviour {
    let acl = || {
        let members = members.clone();
        move |peer: PeerId, _: &Multiaddr, _| members.contains(&peer)
    };
    let (reserving, opening) = (Arc::clone(books), Arc::clone(books));
    let mut config = relay::Config {
        max_reservations: usize::MAX,
        max_reservations_per_peer: RESERVATIONS_PER_PEER,
        reservation_rate_limiters: vec![Box::new(acl())],
        max_circuits: usize::MAX,
        max_circuits_per_peer: usize::MAX,
        circuit_src_rate_limiters: vec![Box::new(acl())],
        ..relay::Config::default()
    }
    .reservation_rate_per_peer(RESERVATION_RATE.0, RESERVATION_RATE.1)
    .circuit_src_per_peer(CIRCUIT_RATE.0, CIRCUIT_RATE.1);
    // Last: what passes here is granted.
    config
        .reservation_rate_limiters
        .push(Box::new(move |peer, _: &Multiaddr, _| {
            lock(&reserving).may_reserve(peer)
        }));
    config
        .circuit_src_rate_limiters
        .push(Box::new(move |_, _: &Multiaddr, _| {
            lock(&opening).may_open()
        }));
    enabled(relay::Behaviour::new(id, config))
}

/// One that only makes handlers, whose circuits end after `duration` (zero: never) or so many bytes (zero: unlimited).
pub(super) fn maker(id: PeerId, duration: Duration, bytes: u64) -> relay::Behaviour {
    let max_circuit_duration = if duration.is_zero() {
        LONGEST
    } else {
        duration.min(LONGEST)
    };
    let config = relay::Config {
        max_circuit_duration,
        max_circuit_bytes: bytes,
        ..relay::Config::default()
    };
    enabled(relay::Behaviour::new(id, config))
}

/// Without this it serves only while an external address is confirmed.
fn enabled(mut relay: relay::Behaviour) -> relay::Behaviour {
    relay.set_status(Some(relay::Status::Enable));
    relay
}
