//! Strangers that stay too long or come in numbers.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::support::{DEADLINE, LONG, QUIC, Running, TCP, limits, seed};
use crate::{Pool, ProbationLimits, Protocol, Role, probation::Refused};

async fn relay(probation: ProbationLimits) -> Running {
    let limits = crate::RelayLimits {
        probation,
        ..limits()
    };
    Running::start(seed(), Role::Relay(limits), &[TCP, QUIC]).await
}

#[tokio::test]
async fn the_eleventh_that_pairs_is_refused_and_closed() {
    let limits = ProbationLimits {
        arriving_timeout: LONG,
        timeout: LONG,
        ..ProbationLimits::default()
    };
    let mut relay = relay(limits).await;
    let mut peers = Vec::new();
    for host in 1..=11 {
        // QUIC dials from the socket that it listens on, so each comes from its own address.
        let listen = format!("/ip4/127.0.0.{host}/udp/0/quic-v1");
        let peer = Running::start(seed(), Role::Peer, &[listen.as_str()]).await;
        peer.node.dial(relay.id(), relay.quic()).await.unwrap();
        let stream = peer.node.open(relay.id(), Protocol::Pair).await.unwrap();
        let (_, connection, inbound) = relay.inbound(Protocol::Pair).await;
        let entered = relay.node.enter(connection, Pool::Probationary).await;
        assert_eq!(
            entered,
            if host == 11 {
                Err(Refused::Full)
            } else {
                Ok(())
            },
            "{host}"
        );
        peers.push((peer, stream, inbound));
    }
    assert_eq!(relay.disconnected(peers[10].0.id()).await, 0);
    let state = relay.state(|s| s.probation.arriving == 0).await;
    assert_eq!(
        (state.probation.probationary, state.denied.probation_full),
        (10, 1)
    );
    assert_eq!(state.gated.quic, 10);
}

#[tokio::test]
async fn the_ninth_of_one_source_is_not_let_in() {
    let relay = relay(ProbationLimits {
        arriving_timeout: LONG,
        ..Default::default()
    })
    .await;
    let mut peers = Vec::new();
    for _ in 0..8 {
        let peer = Running::peer().await;
        peer.node.dial(relay.id(), relay.tcp()).await.unwrap();
        relay
            .state(|s| s.probation.arriving == peers.len() + 1)
            .await;
        peers.push(peer);
    }
    let mut ninth = Running::peer().await;
    // The dialer learns of it only when the connection is up.
    if ninth.node.dial(relay.id(), relay.tcp()).await.is_ok() {
        ninth.disconnected(relay.id()).await;
    }
    let state = relay.state(|s| s.denied.source_full == 1).await;
    assert_eq!((state.probation.arriving, state.gated.tcp), (8, 8));

    let member = Running::peer().await;
    relay.node.admit(member.id()).await;
    member.node.dial(relay.id(), relay.tcp()).await.unwrap();
    relay.state(|s| s.connections.tcp == 1).await;
}

#[tokio::test]
async fn who_says_nothing_is_closed_at_its_timeout() {
    let limits = ProbationLimits {
        arriving_timeout: Duration::from_secs(2),
        timeout: Duration::from_secs(5),
        ..ProbationLimits::default()
    };
    let mut relay = relay(limits).await;
    let (silent, pairing) = (Running::peer().await, Running::peer().await);
    let started = Instant::now();
    silent.node.dial(relay.id(), relay.tcp()).await.unwrap();
    pairing.node.dial(relay.id(), relay.tcp()).await.unwrap();
    let stream = pairing.node.open(relay.id(), Protocol::Pair).await.unwrap();
    let (_, connection, inbound) = relay.inbound(Protocol::Pair).await;
    relay
        .node
        .enter(connection, Pool::Probationary)
        .await
        .unwrap();

    timeout(DEADLINE, relay.disconnected(silent.id()))
        .await
        .unwrap();
    assert!(started.elapsed() >= Duration::from_secs(2));
    timeout(DEADLINE, relay.disconnected(pairing.id()))
        .await
        .unwrap();
    assert!(started.elapsed() >= Duration::from_secs(5));
    let state = relay.state(|s| s.gated.tcp == 0).await;
    assert_eq!((state.denied.late, state.probation.probationary), (2, 0));
    drop((stream, inbound));
}
