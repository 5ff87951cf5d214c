//! Which connections there are, what is open on them, and dials that nobody waits for.

use std::future::ready;

use super::support::{QUIC, Running, TCP, befriend, seed};
use crate::{Protocol, Role};

#[tokio::test]
async fn streams_of_both_sides_count_while_they_are_open() {
    let relay = Running::relay().await;
    let mut a = Running::peer().await;
    let mut b = Running::peer().await;
    for peer in [&a, &b] {
        befriend(peer, &relay, relay.tcp()).await;
    }
    let address = relay.tcp()[0].clone();
    a.node.reserve(relay.id(), address).await.unwrap();
    a.node.admit(b.id()).await;
    b.node.admit(a.id()).await;
    let circuit = relay.circuit(a.id());
    b.node.dial(a.id(), circuit).await.unwrap();
    a.state(|state| state.connections.relayed == 1).await;
    let open = async |node: &Running, to| {
        let ways = node.node.ways().await.unwrap();
        let way = ways.iter().find(|way| way.peer == to).unwrap();
        assert!(way.relayed);
        way.streams
    };
    assert_eq!(open(&a, b.id()).await, 0);
    let asked = b.node.open(a.id(), Protocol::Verify).await.unwrap();
    let (_, _, told) = a.inbound(Protocol::Verify).await;
    let back = a.node.open(b.id(), Protocol::Direct).await.unwrap();
    let (_, _, back_there) = b.inbound(Protocol::Direct).await;
    assert_eq!((open(&a, b.id()).await, open(&b, a.id()).await), (2, 2));
    drop((asked, told));
    assert_eq!((open(&a, b.id()).await, open(&b, a.id()).await), (1, 1));
    drop((back, back_there));
    assert_eq!((open(&a, b.id()).await, open(&b, a.id()).await), (0, 0));
    let relay_way = a.node.ways().await.unwrap();
    assert!(
        relay_way
            .iter()
            .any(|way| way.peer == relay.id() && !way.relayed)
    );
}

#[tokio::test]
async fn a_peer_knows_where_it_listens() {
    let peer = Running::start(seed(), Role::Peer, &[TCP, QUIC]).await;
    let mut listening = peer.node.listening().await.unwrap();
    listening.sort();
    let mut expected = peer.addresses.clone();
    expected.sort();
    assert_eq!(listening, expected);
}

#[tokio::test]
async fn a_connection_that_nobody_waits_for_is_closed() {
    let mut peer = Running::peer().await;
    let server = Running::start(seed(), Role::Peer, &[TCP]).await;
    tokio::select! {
        biased;
        _ = peer.node.dial(server.id(), server.tcp()) => panic!("answered before it was polled twice"),
        () = ready(()) => (),
    }
    assert_eq!(peer.disconnected(server.id()).await, 0);
    let state = peer.node.snapshot().await.unwrap();
    assert_eq!(state.gated.tcp, 0);
}
