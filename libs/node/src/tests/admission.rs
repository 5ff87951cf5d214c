//! Gated and full connections, the exchange of records, expulsion, streams.

use std::sync::Arc;

use tokio::time::{Duration, Instant, timeout};

use super::support::{Card, DEADLINE, Running, befriend, echo, hello, now, record, revoked};
use crate::{
    Event, OpenError, Protocol,
    io::{FrameError, write_frame},
    member::{self, ConnectError, MemberError, Standing},
};

/// Serves every inbound member stream of `running` with `card`; gives how each ended.
fn serve(
    running: Running,
    card: Arc<Card>,
) -> tokio::sync::mpsc::Receiver<Result<Standing, MemberError>> {
    let (results, receiver) = tokio::sync::mpsc::channel(16);
    let mut running = running;
    tokio::spawn(async move {
        while let Some(event) = running.events.recv().await {
            let Event::Inbound {
                peer,
                connection,
                protocol: Protocol::Member,
                mut stream,
                ..
            } = event
            else {
                continue;
            };
            let node = running.node.clone();
            let served = member::serve(&node, &mut stream, peer, connection, card.as_ref()).await;
            if let Ok(Standing::Renewing) = served {
                let fresh = record(peer, 9, now() + 500);
                member::write_renewal(&mut stream, Some(fresh))
                    .await
                    .unwrap();
            } else if served.is_err() {
                node.close_connection(connection).await;
            }
            results.send(served).await.unwrap();
        }
    });
    receiver
}

#[tokio::test]
async fn a_record_admits_and_the_second_connection_carries_everything() {
    let mut peer = Running::peer().await;
    let relay = Running::relay().await;
    let card = Card::member(&peer, 1, &[&relay]);
    let relay_card = Arc::new(Card::relay(&relay));
    let (id, addresses, handle) = (relay.id(), relay.tcp(), relay.node.clone());
    let mut served = serve(relay, relay_card);

    let connection = member::connect(&peer.node, &card, id, addresses.clone())
        .await
        .unwrap();
    assert_eq!(served.recv().await.unwrap().unwrap(), Standing::Admitted);
    peer.node
        .open_on(connection, Protocol::Roster)
        .await
        .unwrap();
    assert_eq!(
        peer.disconnected(id).await,
        0,
        "the first connection is gone"
    );
    peer.node.reserve(id, addresses[0].clone()).await.unwrap();
    let state = handle.snapshot().await.unwrap();
    assert_eq!(state.members, vec![(peer.id(), true)]);
}

#[tokio::test]
async fn between_two_that_have_admitted_each_other_one_connection_is_enough() {
    let mut peer = Running::peer().await;
    let relay = Running::relay().await;
    let card = Card::member(&peer, 1, &[&relay]);
    let relay_card = Arc::new(Card::relay(&relay));
    let (id, addresses) = (relay.id(), relay.tcp());
    let mut served = serve(relay, relay_card);
    for expected in [2, 1] {
        let connection = member::connect(&peer.node, &card, id, addresses.clone())
            .await
            .unwrap();
        served.recv().await.unwrap().unwrap();
        peer.node
            .open_on(connection, Protocol::Roster)
            .await
            .unwrap();
        peer.node.close(id).await;
        let mut connections = 0;
        peer.until(|event| match event {
            Event::Connected { .. } => {
                connections += 1;
                None
            }
            Event::Disconnected {
                connection: gone, ..
            } if gone == connection => Some(()),
            _ => None,
        })
        .await;
        assert_eq!(connections, expected);
    }
}

#[tokio::test]
async fn without_a_record_nothing_opens() {
    let peer = Running::peer().await;
    let relay = Running::relay().await;
    peer.node.admit(relay.id()).await;
    peer.node.dial(relay.id(), relay.tcp()).await.unwrap();
    for protocol in [
        Protocol::Roster,
        Protocol::Report,
        Protocol::Probe,
        Protocol::Ping,
        Protocol::Trace,
    ] {
        let refused = peer.node.open(relay.id(), protocol.clone()).await;
        assert!(
            matches!(refused, Err(OpenError::Unsupported)),
            "{protocol:?}"
        );
    }
    peer.node.open(relay.id(), Protocol::Member).await.unwrap();
    peer.node.open(relay.id(), Protocol::Pair).await.unwrap();
}

#[tokio::test]
async fn bad_records_are_refused() {
    let relay = Running::relay().await;
    let relay_card = Arc::new(Card::relay(&relay));
    relay_card.knows(revoked(3, &[66]));
    let (id, addresses) = (relay.id(), relay.tcp());
    let other = Running::peer().await;
    let mut served = serve(relay, relay_card);
    let foreign = {
        let mut signed = record(other.id(), 1, now() + 100);
        signed.signature[0] ^= 1;
        signed
    };
    let cases = [
        (foreign, false),
        (record(id, 1, now() + 100), false),
        // Only somebody whose record was good is told why.
        (record(other.id(), 66, now() + 100), true),
    ];
    for (credential, is_told) in cases {
        let card = Card::member(&other, 1, &[]);
        card.shows(credential);
        let refused = member::connect(&other.node, &card, id, addresses.clone()).await;
        match refused {
            Err(ConnectError::Member(MemberError::Revoked)) => assert!(is_told),
            Err(ConnectError::Member(MemberError::Frame(
                FrameError::Closed | FrameError::Io(_),
            ))) => assert!(!is_told),
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            served.recv().await.unwrap(),
            Err(MemberError::Refused(_))
        ));
    }
    assert_eq!(other.node.snapshot().await.unwrap().admitted, 0);
}

#[tokio::test]
async fn a_relay_that_is_not_in_the_document_is_refused() {
    let peer = Running::peer().await;
    let relay = Running::relay().await;
    let card = Card::member(&peer, 1, &[]);
    let relay_card = Arc::new(Card::relay(&relay));
    let (id, addresses) = (relay.id(), relay.tcp());
    let _served = serve(relay, relay_card);
    let refused = member::connect(&peer.node, &card, id, addresses).await;
    assert!(matches!(
        refused,
        Err(ConnectError::Member(MemberError::Refused(_)))
    ));
    assert_eq!(peer.node.snapshot().await.unwrap().admitted, 0);
}

#[tokio::test]
async fn the_newer_revocations_pass_in_both_directions() {
    for (dialer, listener, after) in [(7, 3, 7), (3, 7, 7), (5, 5, 5), (0, 2, 2)] {
        let peer = Running::peer().await;
        let relay = Running::relay().await;
        let card = Card::member(&peer, 1, &[&relay]);
        let relay_card = Arc::new(Card::relay(&relay));
        if dialer > 0 {
            card.knows(revoked(dialer, &[100]));
        }
        relay_card.knows(revoked(listener, &[200]));
        let (id, addresses) = (relay.id(), relay.tcp());
        let mut served = serve(relay, Arc::clone(&relay_card));
        member::connect(&peer.node, &card, id, addresses)
            .await
            .unwrap();
        served.recv().await.unwrap().unwrap();
        assert_eq!((card.epoch(), relay_card.epoch()), (after, after));
    }
}

#[tokio::test]
async fn a_list_that_revokes_its_bearer_expels_it() {
    let peer = Running::peer().await;
    let relay = Running::relay().await;
    let card = Card::member(&peer, 1, &[&relay]);
    card.knows(revoked(9, &[1]));
    let relay_card = Arc::new(Card::relay(&relay));
    let (id, addresses, handle) = (relay.id(), relay.tcp(), relay.node.clone());
    let mut served = serve(relay, relay_card);
    let _ = member::connect(&peer.node, &card, id, addresses).await;
    assert!(matches!(
        served.recv().await.unwrap(),
        Err(MemberError::Refused(_))
    ));
    assert_eq!(handle.snapshot().await.unwrap().admitted, 0);
}

#[tokio::test]
async fn an_expired_record_is_renewed_and_admits_to_nothing() {
    let peer = Running::peer().await;
    let relay = Running::relay().await;
    let card = Card::member(&peer, 9, &[&relay]);
    card.shows(record(peer.id(), 9, now() - 10));
    let relay_card = Arc::new(Card::relay(&relay));
    let (id, addresses, handle) = (relay.id(), relay.tcp(), relay.node.clone());
    let mut served = serve(relay, relay_card);
    let fresh = member::renew(&peer.node, &card, id, addresses.clone())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(served.recv().await.unwrap().unwrap(), Standing::Renewing);
    assert_eq!(handle.snapshot().await.unwrap().admitted, 0);
    card.shows(fresh);
    member::connect(&peer.node, &card, id, addresses)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_gated_and_a_full_connection_of_one_peer_live_side_by_side() {
    let peer = Running::peer().await;
    let mut relay = Running::relay().await;
    peer.node.admit(relay.id()).await;
    let gated = peer.node.dial(relay.id(), relay.tcp()).await.unwrap();
    relay.state(|s| s.gated.tcp == 1).await;
    relay.node.admit(peer.id()).await;
    let full = peer.node.dial(relay.id(), relay.quic()).await.unwrap();
    relay
        .state(|s| (s.gated.tcp, s.connections.quic) == (1, 1))
        .await;

    let refused = peer.node.open_on(gated, Protocol::Roster).await;
    assert!(matches!(refused, Err(OpenError::Unsupported)));
    let ours = peer.node.open_on(full, Protocol::Roster).await.unwrap();
    let (_, _, theirs) = relay.inbound(Protocol::Roster).await;
    // The DHT's messages go to "any" connection of the peer, at both ends.
    peer.node.close_connection(gated).await;
    relay.state(|s| s.gated.tcp == 0).await;
    peer.node
        .reserve(relay.id(), relay.quic()[0].clone())
        .await
        .unwrap();
    let again = peer.node.dial(relay.id(), relay.tcp()).await.unwrap();
    peer.node.publish(b"where I am".to_vec()).await.unwrap();
    echo(ours, theirs, 100_000).await;
    peer.node.close_connection(again).await;
    peer.node.close_connection(full).await;
    let state = relay.state(|s| s.connections == Default::default()).await;
    assert_eq!(
        (state.gated, state.reservations.len()),
        (Default::default(), 0)
    );
}

#[tokio::test]
async fn expelling_closes_all_connections_at_once() {
    let mut peer = Running::peer().await;
    let relay = Running::relay().await;
    befriend(&peer, &relay, relay.tcp()).await;
    befriend(&peer, &relay, relay.quic()).await;
    peer.node
        .reserve(relay.id(), relay.tcp()[0].clone())
        .await
        .unwrap();
    let stream = peer.node.open(relay.id(), Protocol::Roster).await.unwrap();
    // A reservation closes what is older than its connection, not what is newer.
    relay
        .state(|s| s.connections.tcp + s.connections.quic == 2)
        .await;

    let started = Instant::now();
    relay.node.expel(peer.id()).await;
    while peer.disconnected(relay.id()).await > 0 {}
    // What is dead is noticed after 25 s by itself.
    assert!(started.elapsed() < Duration::from_secs(10));
    relay
        .state(|s| s.connections == Default::default() && s.reservations.is_empty())
        .await;
    drop(stream);

    peer.node.dial(relay.id(), relay.tcp()).await.unwrap();
    relay.state(|s| s.gated.tcp == 1).await;
    assert!(matches!(
        peer.node.open(relay.id(), Protocol::Roster).await,
        Err(OpenError::Unsupported)
    ));
}

#[tokio::test]
async fn fifty_streams_at_once_all_arrive() {
    let peer = Running::peer().await;
    let mut relay = Running::relay().await;
    befriend(&peer, &relay, relay.tcp()).await;
    let opens = (0..50u8).map(|n| {
        let node = peer.node.clone();
        let relay = relay.id();
        tokio::spawn(async move {
            let mut stream = node.open(relay, Protocol::Roster).await.unwrap();
            write_frame(&mut stream, &[n]).await.unwrap();
            stream
        })
    });
    let opens: Vec<_> = opens.collect();
    let mut seen = Vec::new();
    for _ in 0..50 {
        let (_, _, mut stream) = relay.inbound(Protocol::Roster).await;
        seen.push(crate::io::read_frame(&mut stream, 1).await.unwrap()[0]);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..50).collect::<Vec<u8>>());
    for open in opens {
        open.await.unwrap();
    }
    assert_eq!(
        relay.node.snapshot().await.unwrap().denied,
        Default::default()
    );
}

#[tokio::test]
async fn streams_wait_while_nobody_reads_events() {
    let peer = Running::peer().await;
    let mut relay = Running::relay().await;
    befriend(&peer, &relay, relay.tcp()).await;
    relay.state(|s| s.connections.tcp == 1).await;
    // More than the queue of events holds; the rest waits in the handler.
    let mut streams = Vec::new();
    for _ in 0..300 {
        let mut stream = peer.node.open(relay.id(), Protocol::Roster).await.unwrap();
        write_frame(&mut stream, b"x").await.unwrap();
        streams.push(stream);
    }
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(relay.inbound(Protocol::Roster).await);
    }
    assert_eq!(relay.node.snapshot().await.unwrap().denied.stream, 0);
}

#[tokio::test]
async fn a_read_ends_when_its_own_side_closes_the_connection() {
    let relay = Running::relay().await;
    for addresses in [relay.tcp(), relay.quic()] {
        let peer = Running::peer().await;
        befriend(&peer, &relay, addresses).await;
        let mut stream = peer.node.open(relay.id(), Protocol::Roster).await.unwrap();
        let node = peer.node.clone();
        let reading = tokio::spawn(async move {
            crate::io::read_frame_within(&mut stream, 10, DEADLINE * 2).await
        });
        node.close(relay.id()).await;
        let read = timeout(DEADLINE, reading).await.unwrap().unwrap();
        assert!(matches!(read, Err(FrameError::Io(_) | FrameError::Closed)));
    }
}

#[tokio::test]
async fn a_stream_uses_the_direct_connection_first() {
    let relay = Running::relay().await;
    let mut a = Running::start(
        super::support::seed(),
        crate::Role::Peer,
        &[super::support::TCP],
    )
    .await;
    let b = Running::peer().await;
    befriend(&a, &relay, relay.tcp()).await;
    befriend(&b, &relay, relay.tcp()).await;
    a.node
        .reserve(relay.id(), relay.tcp()[0].clone())
        .await
        .unwrap();
    a.node.admit(b.id()).await;
    b.node.admit(a.id()).await;
    b.node.dial(a.id(), a.tcp()).await.unwrap();
    b.node.dial(a.id(), relay.circuit(a.id())).await.unwrap();
    let _stream = b.node.open(a.id(), Protocol::Member).await.unwrap();
    let relayed = a
        .until(|event| match event {
            Event::Inbound { origin, .. } => Some(origin.relayed),
            _ => None,
        })
        .await;
    assert!(!relayed, "the newer circuit is not preferred");
}

#[tokio::test]
async fn a_silent_listener_does_not_hold_the_dialer() {
    let peer = Running::peer().await;
    let mut relay = Running::relay().await;
    let card = Card::member(&peer, 1, &[&relay]);
    let (id, addresses) = (relay.id(), relay.tcp());
    let connecting = member::connect(&peer.node, &card, id, addresses);
    let silent = async {
        let (_, _, mut stream) = relay.inbound(Protocol::Member).await;
        let first = crate::io::read_frame(&mut stream, 65_535).await.unwrap();
        assert_eq!(first, hello(&card));
        // Probation ends it after three seconds.
        relay.disconnected(peer.id()).await;
        stream
    };
    let (connected, _) = timeout(DEADLINE, futures::future::join(connecting, silent))
        .await
        .unwrap();
    assert!(matches!(
        connected,
        Err(ConnectError::Member(MemberError::Frame(_)))
    ));
}
