//! Filtering probes: what members get, and what they can't make a relay do.

use peerup_node::io::{read_frame, write_frame};
use peerup_node::{OpenError, Protocol};
use peerup_protocol::frame::{MAX_FRAME, ProbeAnswer, ProbeAsk, ProbeFrom};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use super::bed::{Bed, PATIENCE, Peer};

const NONCE: [u8; 16] = *b"sixteen byte's n";

async fn ask(bed: &Bed, peer: &Peer, port: u16, from: ProbeFrom) -> ProbeAnswer {
    let mut stream = peer
        .node
        .open(bed.relay.peer_id(), Protocol::Probe)
        .await
        .unwrap();
    let ask = ProbeAsk {
        nonce: NONCE,
        port,
        from,
    };
    write_frame(&mut stream, &ask.encode()).await.unwrap();
    ProbeAnswer::decode(&read_frame(&mut stream, MAX_FRAME).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_nonce_comes_once_from_the_port_that_was_asked_for() {
    let bed = Bed::start().await;
    let [primary, alternate] = bed.relay.stun_ports();
    let (peer, _) = bed.member(7, 107).await;
    let socket = UdpSocket::bind(("127.0.0.7", 0)).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    for (from, expected) in [
        (ProbeFrom::MainPort, primary),
        (ProbeFrom::OtherPort, alternate),
    ] {
        assert_eq!(ask(&bed, &peer, port, from).await, ProbeAnswer::Sent);
        let mut datagram = [0; 64];
        let (length, source) = timeout(PATIENCE, socket.recv_from(&mut datagram))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (&datagram[..length], source.port()),
            (&NONCE[..], expected),
            "{from:?}"
        );
    }
    let more = socket.try_recv(&mut [0; 64]);
    assert_eq!(more.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    bed.stop().await;
}

/// The ask names a port only: the address is that of the asker's connection.
#[tokio::test]
async fn a_probe_goes_to_the_asker_only_and_not_often() {
    let bed = Bed::start().await;
    let (peer, _) = bed.member(8, 108).await;
    let victim = UdpSocket::bind(("127.0.0.9", 0)).await.unwrap();
    let port = victim.local_addr().unwrap().port();
    let mut answers = Vec::new();
    let begun = Instant::now();
    for _ in 0..40 {
        answers.push(ask(&bed, &peer, port, ProbeFrom::MainPort).await);
    }
    let mut all = answers.iter();
    let first = all.position(|answer| *answer == ProbeAnswer::Limited);
    // One more for each second that it took.
    let most = 16 + begun.elapsed().as_secs() as usize;
    let is_limit = first.is_some_and(|at| (16..=most).contains(&at));
    assert!(is_limit, "{answers:?}");
    let got = victim.try_recv(&mut [0; 64]);
    assert_eq!(got.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    bed.stop().await;
}

/// Others may stand behind the asker's address.
#[tokio::test]
async fn ports_of_well_known_services_get_no_probe() {
    let bed = Bed::start().await;
    let (peer, _) = bed.member(10, 110).await;
    for port in [0, 53, 1023] {
        let answer = ask(&bed, &peer, port, ProbeFrom::MainPort).await;
        assert_eq!(answer, ProbeAnswer::Untestable, "{port}");
    }
    let answer = ask(&bed, &peer, 1024, ProbeFrom::MainPort).await;
    assert_eq!(answer, ProbeAnswer::Sent);
    bed.stop().await;
}

#[tokio::test]
async fn whoever_is_not_admitted_is_not_probed() {
    let bed = Bed::start().await;
    let stranger = Peer::start(&bed, 9);
    stranger.node.admit(bed.relay.peer_id()).await;
    stranger
        .node
        .dial(bed.relay.peer_id(), bed.addresses().await)
        .await
        .unwrap();
    let opened = stranger
        .node
        .open(bed.relay.peer_id(), Protocol::Probe)
        .await;
    assert!(matches!(opened, Err(OpenError::Unsupported)), "{opened:?}");
    bed.stop().await;
}
