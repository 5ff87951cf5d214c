//! Services, pings and traces: offered to admitted peers, exactly those that are exposed.

use peerup_protocol::service::ServiceName;

use super::support::{QUIC, Running, TCP, befriend, echo, seed};
use crate::{Event, OpenError, Protocol, Role, path};

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

fn service(text: &str) -> Protocol {
    Protocol::Service(name(text))
}

async fn server() -> Running {
    Running::start(seed(), Role::Peer, &[TCP, QUIC]).await
}

#[tokio::test]
async fn a_peer_offers_what_it_exposes_at_the_moment() {
    let (peer, mut server) = (Running::peer().await, server().await);
    befriend(&peer, &server, server.tcp()).await;
    let (node, id) = (peer.node.clone(), server.id());
    let open = |text: &str| {
        let opened = service(text);
        let node = node.clone();
        async move { node.open(id, opened).await }
    };
    assert!(matches!(open("http").await, Err(OpenError::Unsupported)));
    server.node.expose(vec![name("http")]).await.unwrap();
    let _ours = open("http").await.unwrap();
    assert!(matches!(open("ssh").await, Err(OpenError::Unsupported)));
    server.inbound(service("http")).await;
    let server = server.node;
    server.expose(vec![name("ssh")]).await.unwrap();
    assert!(matches!(
        peer.node.open(server.peer_id(), service("http")).await,
        Err(OpenError::Unsupported)
    ));
    peer.node
        .open(server.peer_id(), service("ssh"))
        .await
        .unwrap();
}

#[tokio::test]
async fn before_admission_there_are_none() {
    let (peer, server) = (Running::peer().await, server().await);
    server.node.expose(vec![name("http")]).await.unwrap();
    peer.node.admit(server.id()).await;
    peer.node.dial(server.id(), server.tcp()).await.unwrap();
    for protocol in [
        service("http"),
        Protocol::Verify,
        Protocol::Ping,
        Protocol::Trace,
        Protocol::Direct,
    ] {
        let opened = peer.node.open(server.id(), protocol.clone()).await;
        assert!(
            matches!(opened, Err(OpenError::Unsupported)),
            "{protocol:?}: {opened:?}"
        );
    }
}

#[tokio::test]
async fn bytes_end_one_direction_at_a_time_over_tcp_and_quic() {
    let mut server = server().await;
    server.node.expose(vec![name("http")]).await.unwrap();
    for addresses in [server.tcp(), server.quic()] {
        let peer = Running::peer().await;
        befriend(&peer, &server, addresses).await;
        let ours = peer.node.open(server.id(), service("http")).await.unwrap();
        let (_, connection, theirs) = server.inbound(service("http")).await;
        assert_eq!(
            (theirs.peer(), theirs.connection()),
            (peer.id(), connection)
        );
        echo(ours, theirs, 1 << 20).await;
    }
}

/// What services tell an end from a break by.
#[tokio::test]
async fn a_dropped_stream_reads_like_an_end_and_takes_no_more_bytes() {
    use futures::{AsyncReadExt, AsyncWriteExt};
    let mut server = server().await;
    server.node.expose(vec![name("http")]).await.unwrap();
    for addresses in [server.tcp(), server.quic()] {
        let peer = Running::peer().await;
        befriend(&peer, &server, addresses).await;
        for dropped in [false, true] {
            let mut ours = peer.node.open(server.id(), service("http")).await.unwrap();
            let (_, _, mut theirs) = server.inbound(service("http")).await;
            if dropped {
                drop(theirs);
            } else {
                theirs.close().await.unwrap();
            }
            let read = ours.read(&mut [0]).await.unwrap();
            assert_eq!((read, ours.write(&[]).await.is_err()), (0, dropped));
        }
    }
}

#[tokio::test]
async fn names_that_do_not_fit_are_refused_and_those_that_fit_are_told() {
    let (peer, server) = (Running::peer().await, server().await);
    let long = |count: usize| -> Vec<ServiceName> {
        (0..count).map(|n| name(&format!("{n:0>63}"))).collect()
    };
    server.node.expose(long(23)).await.unwrap();
    assert!(server.node.expose(long(24)).await.is_err());
    let mut peer = peer;
    befriend(&peer, &server, server.tcp()).await;
    // Identify's message, which lists them all, has arrived.
    let id = server.id();
    peer.until(|event| match event {
        Event::Observed { peer, .. } if peer == id => Some(()),
        _ => None,
    })
    .await;
    let last = Protocol::Service(long(23).remove(22));
    peer.node.open(server.id(), last).await.unwrap();
}

/// Serves pings and traces until the test ends.
fn answer(running: Running) {
    let Running {
        node, mut events, ..
    } = running;
    tokio::spawn(async move {
        // Without a handle it would stop.
        let _node = node;
        while let Some(event) = events.recv().await {
            let Event::Inbound {
                protocol,
                mut stream,
                ..
            } = event
            else {
                continue;
            };
            tokio::spawn(async move {
                match protocol {
                    Protocol::Ping => path::answer_pings(&mut stream).await.unwrap(),
                    Protocol::Trace => path::answer_trace(&mut stream).await.unwrap(),
                    other => panic!("{other:?}"),
                }
            });
        }
    });
}

#[tokio::test]
async fn a_trace_tells_the_way_through_the_relay() {
    let relay = Running::relay().await;
    let (a, b) = (Running::peer().await, Running::peer().await);
    for peer in [&a, &b] {
        befriend(peer, &relay, relay.tcp()).await;
    }
    let address = relay.tcp()[0].clone();
    a.node.reserve(relay.id(), address.clone()).await.unwrap();
    a.node.admit(b.id()).await;
    b.node.admit(a.id()).await;
    b.node.dial(a.id(), relay.circuit(a.id())).await.unwrap();
    let (a_id, relay_id) = (a.id(), relay.id());
    answer(a);
    answer(relay);

    let mut ping = b.node.open(a_id, Protocol::Ping).await.unwrap();
    path::ping(&mut ping, 7).await.unwrap();
    assert_eq!(ping.origin().relay(), Some(relay_id));
    let mut stream = b.node.open(a_id, Protocol::Trace).await.unwrap();
    let answer = path::trace(&mut stream).await.unwrap();
    let expected = format!("{address}/p2p/{relay_id}/p2p-circuit/p2p/{}", b.id());
    assert_eq!(
        (answer.relayed, answer.observed.to_string()),
        (true, expected)
    );
    let mut stream = b.node.open(relay_id, Protocol::Trace).await.unwrap();
    let answer = path::trace(&mut stream).await.unwrap();
    assert!(!answer.relayed);
    assert!(
        answer
            .observed
            .to_string()
            .starts_with("/ip4/127.0.0.1/tcp/"),
        "{}",
        answer.observed
    );
}
