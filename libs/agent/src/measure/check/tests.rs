//! A STUN server on loopback that says what it is told to.

use peerup_protocol::stun::server::{Local, answer};
use peerup_reachability::prober::Seen;
use peerup_reachability::{Measurement, World};
use tokio::task::JoinHandle;

use super::*;

const HERE: &str = "10.0.0.5";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Answers as if every question came from `source`; the first `silent` ones not at all.
async fn server(source: &str, silent: usize) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let (origin, source) = (at, SocketAddr::new(ip(source), 7));
    let task = tokio::spawn(async move {
        let mut buffer = [0; MAX_MESSAGE];
        for number in 0.. {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let local = Local {
                origin,
                other: origin,
            };
            let said = answer(&buffer[..length], source, &local).unwrap();
            if number >= silent {
                // Not an answer to anything that was asked.
                socket.send_to(b"noise", from).await.unwrap();
                socket.send_to(&said.bytes, from).await.unwrap();
            }
        }
    });
    (at, task)
}

fn facts(server: SocketAddr, mapped: &str) -> Facts {
    let answer = Answer {
        server,
        mapped: SocketAddr::new(ip(mapped), 5000),
    };
    let seen = Seen {
        local_port: Some(5000),
        rounds: [Vec::new(), vec![answer]],
        ..Seen::default()
    };
    Facts {
        world: World {
            scope: peerup_protocol::grade::Scope::Internet,
            internal: Vec::new(),
        },
        in_pod: false,
        interfaces: vec![ip(HERE), ip("fe80::1")],
        gateway_outside: None,
        route: Some(ip(HERE)),
        links: Vec::new(),
        measurement: Measurement {
            v4: seen,
            v6: Seen::default(),
        },
    }
}

#[test]
fn without_an_answer_there_is_nothing_to_confirm() {
    let mut facts = facts("192.0.2.1:3478".parse().unwrap(), "198.51.100.7");
    assert!(Baseline::of(&facts).is_some());
    facts.measurement.v4.rounds = Default::default();
    assert_eq!(Baseline::of(&facts), None);
}

#[test]
fn other_addresses_or_another_route_are_no_longer_home() {
    let facts = facts("192.0.2.1:3478".parse().unwrap(), "198.51.100.7");
    let baseline = Baseline::of(&facts).unwrap();
    let (one, two) = (ip(HERE), ip("fe80::1"));
    assert!(baseline.is_at_home(&[two, one], Some(one)), "in any order");
    assert!(!baseline.is_at_home(&[one], Some(one)));
    assert!(!baseline.is_at_home(&[one, two, ip("10.0.0.6")], Some(one)));
    assert!(!baseline.is_at_home(&[one, two], None));
    assert!(!baseline.is_at_home(&[one, two], Some(ip("10.0.0.6"))));
}

#[tokio::test]
async fn a_server_that_sees_the_same_address_confirms_another_does_not() {
    let (at, task) = server("198.51.100.7", 0).await;
    let same = Baseline::of(&facts(at, "198.51.100.7")).unwrap();
    assert!(same.is_seen_alike().await);
    let other = Baseline::of(&facts(at, "198.51.100.8")).unwrap();
    assert!(!other.is_seen_alike().await);
    task.abort();
}

#[tokio::test]
async fn a_question_that_is_lost_is_asked_again() {
    let (at, task) = server("198.51.100.7", 1).await;
    let baseline = Baseline::of(&facts(at, "198.51.100.7")).unwrap();
    assert!(baseline.is_seen_alike().await);
    task.abort();
}

#[tokio::test]
async fn a_server_that_is_silent_confirms_nothing() {
    let (at, task) = server("198.51.100.7", usize::MAX).await;
    let baseline = Baseline::of(&facts(at, "198.51.100.7")).unwrap();
    assert!(!baseline.is_seen_alike().await);
    task.abort();
    let nobody = UdpSocket::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let baseline = Baseline::of(&facts(nobody, "198.51.100.7")).unwrap();
    assert!(!baseline.is_seen_alike().await);
}
