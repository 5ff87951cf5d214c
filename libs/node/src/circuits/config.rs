//! How libp2p's relay is set up: without limits of its own but of time and bytes, which its handlers hold; the books
//! decide the rest. Only members reserve. Members open circuits, and strangers one each while an invite is open.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use libp2p::relay;
use peerup_protocol::{Multiaddr, PeerId};

use super::{
    Maxima,
    books::{Books, Caller},
    lock,
};
use crate::{
    config::RelayLimits,
    members::Members,
    probation::{
        Pool,
        behaviour::{self as probation, SharedPools},
    },
};

/// Reservations of one peer; more than one only while it reconnects.
const RESERVATIONS_PER_PEER: usize = 2;
/// Requests that one peer may make in a row, and the time after which it may make one more.
const RESERVATION_RATE: (NonZeroU32, Duration) =
    (NonZeroU32::MIN.saturating_add(29), Duration::from_secs(10));
const CIRCUIT_RATE: (NonZeroU32, Duration) =
    (NonZeroU32::MIN.saturating_add(511), Duration::from_secs(1));
/// Bytes of a stranger's circuit, both directions: a handshake takes a tenth of it.
const GUEST_BYTES: u64 = 128 << 10;
/// libp2p writes the duration of a circuit as a u32.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

pub(super) fn maxima(limits: &RelayLimits) -> Maxima {
    Maxima {
        reservations: limits.max_reservations,
        circuits: limits.max_circuits,
    }
}

/// The relay that decides. No limit per address, which a whole cluster may share.
pub(super) fn relay(
    id: PeerId,
    members: &Members,
    pools: &SharedPools,
    books: &Arc<Mutex<Books>>,
) -> relay::Behaviour {
    let config = relay::Config {
        max_reservations: usize::MAX,
        max_reservations_per_peer: RESERVATIONS_PER_PEER,
        reservation_rate_limiters: Vec::new(),
        max_circuits: usize::MAX,
        max_circuits_per_peer: usize::MAX,
        circuit_src_rate_limiters: Vec::new(),
        ..relay::Config::default()
    };
    let config = reservations(config, members.clone(), Arc::clone(books));
    let config = circuits(config, members.clone(), pools.clone(), Arc::clone(books));
    enabled(relay::Behaviour::new(id, config))
}

/// The books come last: what passes there is granted.
fn reservations(
    mut config: relay::Config,
    members: Members,
    books: Arc<Mutex<Books>>,
) -> relay::Config {
    let acl = move |peer: PeerId, _: &Multiaddr, _| members.contains(&peer);
    let has_room = move |peer, _: &Multiaddr, _| lock(&books).may_reserve(peer);
    config.reservation_rate_limiters.push(Box::new(acl));
    let mut config = config.reservation_rate_per_peer(RESERVATION_RATE.0, RESERVATION_RATE.1);
    config.reservation_rate_limiters.push(Box::new(has_room));
    config
}

fn circuits(
    mut config: relay::Config,
    members: Members,
    pools: SharedPools,
    books: Arc<Mutex<Books>>,
) -> relay::Config {
    let asked = Arc::clone(&books);
    // Only those who came while an invite was open have the handler that asks this.
    let acl = move |peer: PeerId, _: &Multiaddr, _| {
        let mut books = lock(&asked);
        if members.contains(&peer) {
            books.called_by(Caller::Member);
            return true;
        }
        books.called_by(Caller::Guest);
        let enter = |connection| probation::lock(&pools).enter(connection, Pool::Guest);
        books
            .asking
            .is_some_and(|connection| enter(connection).is_ok())
    };
    let has_room = move |_, _: &Multiaddr, _| lock(&books).may_open();
    config.circuit_src_rate_limiters.push(Box::new(acl));
    let mut config = config.circuit_src_per_peer(CIRCUIT_RATE.0, CIRCUIT_RATE.1);
    config.circuit_src_rate_limiters.push(Box::new(has_room));
    config
}

/// Makes the handlers of members' connections.
pub(super) fn for_members(id: PeerId, limits: &RelayLimits) -> relay::Behaviour {
    maker(id, limits.circuit_timeout, limits.circuit_data_limit)
}

/// Makes the handlers of strangers' connections. Probation ends their circuits too.
pub(super) fn for_guests(id: PeerId, limits: &RelayLimits) -> relay::Behaviour {
    maker(id, limits.probation.timeout, GUEST_BYTES)
}

/// One that only makes handlers, whose circuits end after `duration` (zero: never) or so many bytes (zero: unlimited).
fn maker(id: PeerId, duration: Duration, bytes: u64) -> relay::Behaviour {
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
