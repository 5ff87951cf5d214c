//! STUN: a server's questions, a client's answers; and what a home router says.

use std::net::SocketAddr;
use std::time::Duration;

use peerup_protocol::grade::Scope;
use peerup_protocol::natpmp;
use peerup_protocol::stun::server::{self, Local};
use peerup_protocol::stun::{self, Request, Response};
use peerup_reachability::prober::{LocalPorts, Measurement};
use peerup_reachability::{Output, Prober, Server, World};

use crate::property::bounded;

/// Longest answer to a question that is too short for the full one.
const SHORT: usize = 44;

/// A server reads a question. Its answer is one that a client understands, and is not
/// worth a forged source.
pub(crate) fn request(data: &[u8]) -> bool {
    let Ok(request) = bounded(data.len(), 8, || Request::decode(data)) else {
        assert_eq!(answer_to(data, "192.0.2.1:5000"), None);
        return false;
    };
    for source in [
        "192.0.2.1:5000",
        "[2001:db8::1]:5000",
        "[::ffff:192.0.2.1]:5000",
    ] {
        let answer = answer_to(data, source).expect("a request is answered");
        let read = Response::decode(&answer.bytes).expect("an answer is read");
        assert_eq!(read.transaction, request.transaction);
        let source: SocketAddr = source.parse().unwrap();
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        if request.unknown.is_empty() {
            assert_eq!(read.result, Ok(source));
        } else {
            assert_eq!((read.result, answer.full), (Err(420), false));
        }
        assert_eq!(answer.full, read.other.is_some());
        let most = if answer.full {
            data.len()
        } else {
            data.len().max(SHORT)
        };
        assert!(answer.bytes.len() <= most, "amplification");
    }
    true
}

fn answer_to(data: &[u8], source: &str) -> Option<server::Answer> {
    let local = Local {
        origin: "198.51.100.1:3478".parse().unwrap(),
        other: "198.51.100.1:3479".parse().unwrap(),
    };
    bounded(data.len(), 8, || {
        server::answer(data, source.parse().unwrap(), &local)
    })
}

/// A client reads an answer. It counts only from the server that was asked, and only
/// with the transaction of the question.
pub(crate) fn answer(data: &[u8]) -> bool {
    let Ok(response) = bounded(data.len(), 8, || Response::decode(data)) else {
        assert_eq!(measured([0; 12], SERVER, data), []);
        return false;
    };
    let mapped = response.result.map(|seen| vec![canonical(seen)]);
    let asked = response.transaction;
    assert_eq!(measured(asked, SERVER, data), mapped.unwrap_or_default());
    assert_eq!(measured(asked.map(|byte| !byte), SERVER, data), []);
    assert_eq!(measured(asked, "192.0.2.7:3479", data), []);
    true
}

/// A peer reads a router's answer: nothing but twelve bytes says an address, and it is the last four.
pub(crate) fn nat_pmp(data: &[u8]) -> bool {
    let told = bounded(data.len(), 0, || natpmp::outside_address(data));
    let Ok(told) = told else { return false };
    let answer = [0, 128, 0, 0].iter().chain(&data[4..8]).copied();
    let answer: Vec<u8> = answer.chain(told.octets()).collect();
    assert_eq!(answer, data);
    true
}

const SERVER: &str = "192.0.2.7:3478";

/// What a prober that asks [`SERVER`] holds for its address after this datagram.
fn measured(transaction: stun::TransactionId, from: &str, data: &[u8]) -> Vec<SocketAddr> {
    let world = World {
        scope: Scope::Internal,
        internal: vec!["192.0.2.0/24".parse().unwrap()],
    };
    let server = Server {
        relay: None,
        primary: SERVER.parse().unwrap(),
        alternate: None,
        own: false,
    };
    let ports = LocalPorts {
        v4: Some(5000),
        v6: None,
    };
    let mut prober = Prober::new(&world, &[server], ports, || transaction, Duration::ZERO);
    prober.handle_input(from.parse().unwrap(), data);
    let Measurement { v4, v6: _ } = finish(prober);
    v4.rounds[0].iter().map(|answer| answer.mapped).collect()
}

/// Lets a prober run out of time.
fn finish(mut prober: Prober) -> Measurement {
    let mut now = Duration::ZERO;
    loop {
        match prober.poll_output(now) {
            Output::Send { .. } | Output::Hairpin { .. } => {}
            Output::Wait(until) => now = until,
            Output::Done(measurement) => return measurement,
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
