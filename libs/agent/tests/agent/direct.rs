//! Direct connections between whole agents, and with a peer that does as the test says.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::AsyncWriteExt;
use peerup_agent::ServiceLimits;
use peerup_agent::status::Status;
use peerup_node::io::{read_frame, write_frame};
use peerup_node::{Protocol, Stream};
use peerup_protocol::frame::{
    DirectAddress, DirectOffer, DirectOutcome, DirectTransport, MAX_FRAME,
};
use peerup_protocol::grade::Path as Way;
use peerup_protocol::id::{PeerName, ServiceName};
use peerup_protocol::service::{Expose, Forward};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::compat::FuturesAsyncReadCompatExt;

use super::programs;
use super::puppet::Puppet;
use super::relay::{FakeRelay, Network};
use super::second::within_a_second;
use super::wait::until;
use super::{Peer, Scratch, is_connected, sees, with_code};

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// Joins and listens at these addresses.
async fn join(network: &Network, dir: &Scratch, slot: u16, name: &str, listen: &[&str]) -> Peer {
    let source = with_code(network.code(slot), name);
    let peer = Peer::listening(&dir.0, source, ServiceLimits::default(), listen);
    peer.until("joined", is_connected).await;
    peer
}

async fn until_circuits(relay: &FakeRelay, circuits: usize) {
    until("circuits", async || {
        relay.node.snapshot().await.unwrap().circuits == circuits
    })
    .await;
}

fn name(text: &str) -> PeerName {
    PeerName::parse(text).unwrap()
}

async fn outcome(stream: &mut Stream) -> DirectOutcome {
    let limit = Duration::from_secs(60);
    let frame = peerup_node::io::read_frame_within(stream, MAX_FRAME, limit).await;
    DirectOutcome::decode(&frame.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_behind_a_relay_meet_directly_and_the_circuit_is_closed() {
    let network = Network::new(3600);
    let relay = FakeRelay::start(&network).await;
    let (one, two) = (Scratch::new(), Scratch::new());
    let laptop = join(&network, &one, 0, "laptop", &[TCP, QUIC]).await;
    let server = join(&network, &two, 1, "server", &[TCP, QUIC]).await;
    let has_met =
        |status: &Status| status.direct_connections == 1 && status.relayed_connections == 0;
    for (peer, other) in [(&laptop, "server"), (&server, "laptop")] {
        let direct = |status: &Status| has_met(status) && sees(status, other, Way::Direct);
        let status = peer.until("meets the other", direct).await;
        assert_eq!(status.path, Way::Direct);
    }
    until_circuits(&relay, 0).await;
    let pong = laptop.agent.handle().ping(&name("server")).await.unwrap();
    assert_eq!(pong.path, Way::Direct);
    assert!(!pong.address.contains("p2p-circuit"), "{}", pong.address);
    let hops = laptop.agent.handle().trace(&name("server")).await.unwrap();
    assert_eq!(hops.len(), 1, "no relay lies between: {hops:?}");
    let text = server.metrics.text(&server.board.status()).unwrap();
    for line in [
        "peerup_connections{path=\"direct\"} 1",
        "peerup_connections{path=\"relayed\"} 0",
    ] {
        assert!(text.lines().any(|has| has == line), "{line} in\n{text}");
    }
    // What is carried does not pass the relay.
    let before = relay.node.snapshot().await.unwrap().carried_bytes;
    let at = forwarded(&laptop, &server, "server").await;
    let million = vec![7; 1 << 20];
    assert!(programs::talk(at, &million).await == million);
    let carried = relay.node.snapshot().await.unwrap().carried_bytes - before;
    assert!(carried < 1 << 16, "{carried} bytes went through the relay");
}

/// A port of `client` that leads to an echo at `server`.
async fn forwarded(client: &Peer, server: &Peer, called: &str) -> SocketAddr {
    let expose: Expose = format!("echo={}", programs::echo().await).parse().unwrap();
    server.agent.handle().expose(expose).await.unwrap();
    let mut forward: Forward = format!("1=echo@{called}").parse().unwrap();
    forward.port = 0;
    client.agent.handle().forward(forward).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_side_that_can_be_dialled_is_enough() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let (one, two, three) = (Scratch::new(), Scratch::new(), Scratch::new());
    let reachable = join(&network, &one, 0, "reachable", &[TCP]).await;
    // Whichever of two asks: one of these is smaller than the first or greater, as it happens.
    let hidden = join(&network, &two, 1, "hidden", &[]).await;
    let other = join(&network, &three, 2, "other", &[]).await;
    for peer in [&hidden, &other] {
        peer.until("meets the one that can be dialled", |status| {
            sees(status, "reachable", Way::Direct)
        })
        .await;
    }
    let both = |status: &Status| status.direct_connections == 2;
    reachable.until("is met", both).await;
    let relayed = |status: &Status| sees(status, "other", Way::Relayed);
    hidden
        .until("has only the relay to the other", relayed)
        .await;
    let pong = hidden.agent.handle().ping(&name("other")).await.unwrap();
    assert_eq!(pong.path, Way::Relayed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expelled_peer_loses_its_direct_connection() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let (one, two) = (Scratch::new(), Scratch::new());
    let laptop = join(&network, &one, 0, "laptop", &[TCP]).await;
    let server = join(&network, &two, 1, "server", &[TCP]).await;
    let met = |status: &Status| sees(status, "server", Way::Direct);
    laptop.until("meets the server", met).await;
    let at = forwarded(&laptop, &server, "server").await;
    let mut open = programs::connect(at).await;
    open.write_all(b"x").await.unwrap();
    open.read_exact(&mut [0]).await.unwrap();
    // It does not hear of it, and would stay.
    *network.deaf.lock().unwrap() = Some(server.id);
    network.revoke(&server.id);
    within_a_second(async {
        programs::broken(&mut open).await;
        laptop
            .until("server is gone", |status| {
                status.peers.is_empty()
                    && status.direct_connections + status.relayed_connections == 0
            })
            .await;
    })
    .await
    .unwrap();
}

/// By the other member, which met it after it had begun to wait for the end of longer records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_loses_its_direct_connection_within_a_second_of_its_records_end() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let dir = Scratch::new();
    let laptop = join(&network, &dir, 0, "laptop", &[]).await;
    network.life.store(30, Relaxed);
    let mut puppet = Puppet::meet(&network, &laptop, true, &[TCP]).await;
    let record = network.record_of(&puppet.node.peer_id()).unwrap();
    let at = puppet.own_addresses();
    let (mut asked, _) = puppet.tell(&at).await;
    assert_eq!(outcome(&mut asked).await, DirectOutcome::Connected);
    let met = |status: &Status| status.direct_connections == 1;
    laptop.until("meets the puppet", met).await;
    let left = || Duration::from_secs(record.not_after).saturating_sub(since_1970());
    let gone = || {
        laptop.until("the puppet is gone", |status| {
            status.direct_connections == 0
        })
    };
    let before = left().saturating_sub(Duration::from_millis(200));
    let early = tokio::time::timeout(before, gone()).await;
    assert!(early.is_err(), "its record still holds");
    tokio::time::sleep(left()).await;
    within_a_second(gone()).await.unwrap();
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_streams_end_on_the_circuit_and_new_ones_go_directly() {
    let network = Network::new(3600);
    let relay = FakeRelay::start(&network).await;
    let dir = Scratch::new();
    let laptop = join(&network, &dir, 0, "laptop", &[]).await;
    let mut puppet = Puppet::meet(&network, &laptop, true, &[TCP]).await;
    let mut asked = puppet.stream(&Protocol::Direct).await;
    // A service is used before the question is answered.
    let service = ServiceName::parse("echo").unwrap();
    puppet.node.expose(vec![service.clone()]).await.unwrap();
    let mut forward: Forward = "1=echo@puppet".parse().unwrap();
    forward.port = 0;
    let at = laptop.agent.handle().forward(forward).await.unwrap();
    let service = Protocol::Service(service);
    let (mut old, old_there) = tokio::join!(programs::connect(at), accept(&mut puppet, &service));
    assert!(old_there, "the first goes through the relay");

    read_frame(&mut asked, MAX_FRAME).await.unwrap();
    let offer = DirectOffer {
        addresses: puppet.own_addresses(),
        side: None,
    };
    write_frame(&mut asked, &offer.encode()).await.unwrap();
    assert_eq!(outcome(&mut asked).await, DirectOutcome::Connected);
    drop(asked);
    let (new, new_there) = tokio::join!(programs::connect(at), accept(&mut puppet, &service));
    assert!(!new_there, "the second does not");
    let both = |status: &Status| sees(status, "puppet", Way::Direct);
    laptop.until("meets the puppet", both).await;
    for _ in 0..3 {
        old.write_all(b"still there").await.unwrap();
        old.read_exact(&mut [0; 11]).await.unwrap();
    }
    until_circuits(&relay, 1).await;
    drop(old);
    until_circuits(&relay, 0).await;
    drop(new);
}

/// Accepts a service's next stream and echoes what comes; whether it came over the relay.
async fn accept(puppet: &mut Puppet, service: &Protocol) -> bool {
    let mut stream = puppet.stream(service).await;
    let relayed = stream.origin().relayed;
    stream.write_all(&[0]).await.unwrap();
    stream.flush().await.unwrap();
    tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(stream.compat());
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    });
    relayed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_direct_connection_ends_the_relay_is_there() {
    let network = Network::new(3600);
    let relay = FakeRelay::start(&network).await;
    let dir = Scratch::new();
    let laptop = join(&network, &dir, 0, "laptop", &[]).await;
    let mut puppet = Puppet::meet(&network, &laptop, true, &[TCP]).await;
    let addresses = puppet.own_addresses();
    let (mut asked, _) = puppet.tell(&addresses).await;
    assert_eq!(outcome(&mut asked).await, DirectOutcome::Connected);
    drop(asked);
    let direct = puppet.connection(false).await;
    let handle = laptop.agent.handle();
    let met = |status: &Status| sees(status, "puppet", Way::Direct);
    laptop.until("meets the puppet", met).await;
    assert_eq!(
        handle.ping(&name("puppet")).await.unwrap().path,
        Way::Direct
    );
    until_circuits(&relay, 0).await;

    puppet.node.close_connection(direct).await;
    let lost = |status: &Status| !sees(status, "puppet", Way::Direct);
    laptop.until("has lost it", lost).await;
    let pong = handle.ping(&name("puppet")).await.unwrap();
    assert_eq!(pong.path, Way::Relayed);
    // A connection that did not last is not made again at once.
    until_circuits(&relay, 1).await;
    assert!(puppet.streams.try_recv().is_err(), "it was asked again");
}

/// A port where connections are counted and closed.
async fn foreign() -> (DirectAddress, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            drop::<TcpStream>(stream);
        }
    });
    let address = DirectAddress::new(at.ip(), at.port(), DirectTransport::Tcp);
    (address.unwrap(), count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_addresses_are_dialled_once_and_nothing_is_told_of_them() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let dir = Scratch::new();
    let laptop = join(&network, &dir, 0, "laptop", &[]).await;
    let mut puppet = Puppet::meet(&network, &laptop, true, &[]).await;
    let (open, dialled) = foreign().await;
    let closed = DirectAddress::new(open.ip(), programs::nobody().await, DirectTransport::Tcp);
    let begun = Instant::now();
    let (mut asked, offer) = puppet.tell(&[open, open, closed.unwrap()]).await;
    assert_eq!(offer.addresses, [], "it listens nowhere");
    assert_eq!(outcome(&mut asked).await, DirectOutcome::NotReached);
    // Both failed within a moment.
    assert!(
        begun.elapsed() >= Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(dialled.load(Ordering::Relaxed), 1);
    write_frame(&mut asked, &DirectOutcome::NotReached.encode())
        .await
        .unwrap();
    asked.close().await.unwrap();

    // The peer works over the relay, and nobody asks or dials again soon.
    let pong = laptop.agent.handle().ping(&name("puppet")).await.unwrap();
    assert_eq!(pong.path, Way::Relayed);
    puppet.circuit(laptop.id).await;
    laptop.agent.handle().ping(&name("puppet")).await.unwrap();
    assert!(puppet.streams.try_recv().is_err(), "it was asked again");
    assert_eq!(dialled.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_is_answered_thrice_and_dialled_once() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let dir = Scratch::new();
    let laptop = join(&network, &dir, 0, "laptop", &[]).await;
    let puppet = Puppet::meet(&network, &laptop, false, &[]).await;
    let circuit = puppet.circuit(laptop.id).await;
    let (foreign, dialled) = foreign().await;
    let offer = DirectOffer {
        addresses: vec![foreign],
        side: None,
    };
    let mut answers = Vec::new();
    for _ in 0..4 {
        let mut stream = puppet
            .node
            .open_on(circuit, Protocol::Direct)
            .await
            .unwrap();
        // What is not answered may be gone before it is asked.
        let asked = write_frame(&mut stream, &offer.encode()).await;
        if asked.is_err() || read_frame(&mut stream, MAX_FRAME).await.is_err() {
            answers.push(None);
            continue;
        }
        let not = DirectOutcome::NotReached.encode();
        write_frame(&mut stream, &not).await.unwrap();
        let limit = Duration::from_secs(60);
        let told = peerup_node::io::read_frame_within(&mut stream, MAX_FRAME, limit).await;
        answers.push(Some(told.is_ok()));
    }
    // The first time it dials in vain, then it only tells, then not even that.
    assert_eq!(answers, [Some(true), Some(false), Some(false), None]);
    assert_eq!(dialled.load(Ordering::Relaxed), 1);
}
