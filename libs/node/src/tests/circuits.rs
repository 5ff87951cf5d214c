//! Reservations, circuits, and what happens to them when somebody dies.

use tokio::time::{Duration, Instant, timeout};

use super::support::{DEADLINE, QUIC, Running, TCP, befriend, echo, limits, seed};
use crate::{Event, Protocol, ReserveError, Role};

#[tokio::test]
async fn a_member_reserves_and_is_reached_through_the_relay() {
    let relay = Running::relay().await;
    let mut a = Running::peer().await;
    let b = Running::peer().await;
    befriend(&a, &relay, relay.tcp()).await;
    befriend(&b, &relay, relay.quic()).await;
    a.node
        .reserve(relay.id(), relay.tcp()[0].clone())
        .await
        .unwrap();
    relay.state(|s| s.reservations == vec![a.id()]).await;

    a.node.admit(b.id()).await;
    b.node.admit(a.id()).await;
    b.node.dial(a.id(), relay.circuit(a.id())).await.unwrap();
    let ours = b.node.open(a.id(), Protocol::Member).await.unwrap();
    let (peer, _, theirs) = a.inbound(Protocol::Member).await;
    assert_eq!(peer, b.id());
    let state = relay.state(|s| s.circuits == 1).await;
    assert_eq!((state.connections.tcp, state.connections.quic), (1, 1));
    assert_eq!(a.node.snapshot().await.unwrap().connections.relayed, 1);
    echo(ours, theirs, 3_000_000).await;

    b.node.close(a.id()).await;
    relay.state(|s| s.circuits == 0).await;
}

#[tokio::test]
async fn bytes_of_circuits_are_counted_in_both_directions() {
    const SENT: u64 = 3_000_000;
    let mut relay = Running::relay().await;
    let mut a = Running::peer().await;
    befriend(&a, &relay, relay.tcp()).await;
    a.node
        .reserve(relay.id(), relay.tcp()[0].clone())
        .await
        .unwrap();
    let mut before = relay.node.snapshot().await.unwrap().carried_bytes;
    assert!(before < 1000, "{before} for a reservation");
    for addresses in [relay.tcp(), relay.quic()] {
        let b = Running::peer().await;
        befriend(&b, &relay, addresses).await;
        // Streams of other protocols do not count.
        let ours = b.node.open(relay.id(), Protocol::Roster).await.unwrap();
        let (_, _, theirs) = relay.inbound(Protocol::Roster).await;
        echo(ours, theirs, SENT as usize).await;
        a.node.admit(b.id()).await;
        b.node.admit(a.id()).await;
        b.node.dial(a.id(), relay.circuit(a.id())).await.unwrap();
        let ours = b.node.open(a.id(), Protocol::Member).await.unwrap();
        let (_, _, theirs) = a.inbound(Protocol::Member).await;
        echo(ours, theirs, SENT as usize).await;
        let carried = relay.node.snapshot().await.unwrap().carried_bytes - before;
        // Encryption and frames between the two ends are carried too.
        let expected = 2 * SENT..2 * SENT + SENT / 10;
        assert!(expected.contains(&carried), "{carried} of {expected:?}");
        before += carried;
    }
}

#[tokio::test]
async fn the_circuit_count_survives_the_end_of_either_side() {
    let relay = Running::relay().await;
    let (a, mut b, c) = (
        Running::peer().await,
        Running::peer().await,
        Running::peer().await,
    );
    for peer in [&a, &b, &c] {
        befriend(peer, &relay, relay.tcp()).await;
    }
    for peer in [&a, &c] {
        let address = relay.tcp()[0].clone();
        peer.node.reserve(relay.id(), address).await.unwrap();
        peer.node.admit(b.id()).await;
        b.node.admit(peer.id()).await;
    }
    for to in [&a, &a, &c] {
        let circuit = relay.circuit(to.id());
        b.node.dial(to.id(), circuit).await.unwrap();
    }
    relay.state(|s| s.circuits == 3).await;
    a.node.close(relay.id()).await;
    while b.disconnected(a.id()).await > 0 {}
    // The end of a's two was reported twice; it counts once.
    relay.state(|s| s.circuits == 1).await;
    b.node.dial(c.id(), relay.circuit(c.id())).await.unwrap();
    relay.state(|s| s.circuits == 2).await;
    b.node.close(relay.id()).await;
    relay.state(|s| s.circuits == 0).await;
}

#[tokio::test]
async fn a_circuit_ends_with_the_connection_to_its_relay() {
    let relay = Running::relay().await;
    let (mut a, mut b) = (Running::peer().await, Running::peer().await);
    for peer in [&a, &b] {
        befriend(peer, &relay, relay.tcp()).await;
    }
    a.node
        .reserve(relay.id(), relay.tcp()[0].clone())
        .await
        .unwrap();
    a.node.admit(b.id()).await;
    b.node.admit(a.id()).await;
    for ends in [true, false] {
        b.node.dial(a.id(), relay.circuit(a.id())).await.unwrap();
        // Ping would find out too, after 15 seconds.
        let started = Instant::now();
        let (one, other) = if ends {
            (&mut b, a.id())
        } else {
            (&mut a, b.id())
        };
        one.node.close(relay.id()).await;
        one.disconnected(other).await;
        assert!(started.elapsed() < Duration::from_secs(5));
        befriend(&b, &relay, relay.tcp()).await;
    }
}

#[tokio::test]
async fn more_circuits_at_once_than_libp2p_takes() {
    let relay = Running::relay().await;
    let a = Running::peer().await;
    befriend(&a, &relay, relay.tcp()).await;
    let mut others = Vec::new();
    for _ in 0..20 {
        let b = Running::peer().await;
        befriend(&b, &relay, relay.tcp()).await;
        b.node
            .reserve(relay.id(), relay.tcp()[0].clone())
            .await
            .unwrap();
        b.node.admit(a.id()).await;
        a.node.admit(b.id()).await;
        others.push(b);
    }
    let dials = others
        .iter()
        .map(|b| a.node.dial(b.id(), relay.circuit(b.id())));
    let dialled = timeout(DEADLINE, futures::future::join_all(dials))
        .await
        .unwrap();
    for result in dialled {
        result.unwrap();
    }
}

#[tokio::test]
async fn reserving_needs_an_admitted_connection() {
    let relay = Running::relay().await;
    let a = Running::peer().await;
    let address = relay.tcp()[0].clone();
    let reserve = || a.node.reserve(relay.id(), address.clone());
    assert!(matches!(reserve().await, Err(ReserveError::NotConnected)));
    a.node.admit(relay.id()).await;
    a.node.dial(relay.id(), relay.tcp()).await.unwrap();
    assert!(
        matches!(reserve().await, Err(ReserveError::Refused(_))),
        "the relay does not know it"
    );
}

#[tokio::test]
async fn reservations_over_the_limit_are_refused_and_counted() {
    let mut limits = limits();
    limits.max_reservations = 1;
    let relay = Running::start(seed(), Role::Relay(limits), &[TCP]).await;
    let (a, b) = (Running::peer().await, Running::peer().await);
    befriend(&a, &relay, relay.tcp()).await;
    befriend(&b, &relay, relay.tcp()).await;
    a.node
        .reserve(relay.id(), relay.tcp()[0].clone())
        .await
        .unwrap();
    let refused = b.node.reserve(relay.id(), relay.tcp()[0].clone()).await;
    assert!(matches!(refused, Err(ReserveError::Refused(_))));
    relay
        .state(|s| s.denied.reservation == 1 && s.reservations == vec![a.id()])
        .await;
}

#[tokio::test]
async fn a_relay_restarts_with_its_key_and_the_reservation_is_regained() {
    let relay = Running::relay().await;
    let mut a = Running::peer().await;
    befriend(&a, &relay, relay.tcp()).await;
    a.node
        .reserve(relay.id(), relay.tcp()[0].clone())
        .await
        .unwrap();
    let listen: Vec<String> = relay.addresses.iter().map(ToString::to_string).collect();
    let (id, key) = (relay.id(), relay.seed);
    relay.node.shutdown().await;
    a.until(|event| matches!(event, Event::ReservationLost { relay } if relay == id).then_some(()))
        .await;
    drop(relay);

    let listen: Vec<&str> = listen.iter().map(String::as_str).collect();
    let relay = Running::start(key, Role::Relay(limits()), &listen).await;
    assert_eq!(relay.id(), id);
    befriend(&a, &relay, relay.tcp()).await;
    a.node
        .reserve(relay.id(), relay.tcp()[0].clone())
        .await
        .unwrap();
    relay.state(|s| s.reservations == vec![a.id()]).await;
}

/// A peer that dies without a word over QUIC stays connected until the idle timeout (10 s).
#[tokio::test]
async fn a_peer_that_crashed_is_reached_on_its_new_connection() {
    let mut relay = Running::relay().await;
    let address = relay.quic()[0].clone();
    let key = seed();
    let doomed = tokio::runtime::Runtime::new().unwrap();
    let (at, id) = (address.clone(), relay.id());
    let first = doomed
        .spawn(async move {
            let a = Running::start(key, Role::Peer, &[]).await;
            a.node.admit(id).await;
            a
        })
        .await
        .unwrap();
    relay.node.admit(first.id()).await;
    first.node.dial(id, vec![at.clone()]).await.unwrap();
    first.node.reserve(id, at.clone()).await.unwrap();
    doomed.shutdown_background();

    let mut second = Running::start(key, Role::Peer, &[QUIC]).await;
    befriend(&second, &relay, vec![at.clone()]).await;
    second.node.reserve(id, at).await.unwrap();
    let closed = timeout(Duration::from_secs(10), relay.disconnected(second.id())).await;
    assert_eq!(closed, Ok(1), "the dead connection is closed at once");

    let b = Running::peer().await;
    befriend(&b, &relay, relay.tcp()).await;
    second.node.admit(b.id()).await;
    b.node.admit(second.id()).await;
    b.node
        .dial(second.id(), relay.circuit(second.id()))
        .await
        .unwrap();
    let ours = b.node.open(second.id(), Protocol::Member).await.unwrap();
    let (_, _, theirs) = second.inbound(Protocol::Member).await;
    echo(ours, theirs, 1000).await;
}
