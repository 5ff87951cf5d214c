//! Published samples, amplification, limits, and whatever a datagram may hold.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::limiter::MAX_SOURCES;
use super::server::{Handled, Local, Server, answer};
use super::*;

const ID: TransactionId = [7; 12];

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn local() -> Local {
    Local {
        origin: at("10.0.0.1:3478"),
        other: at("10.0.0.1:3479"),
    }
}

fn local_v6() -> Local {
    Local {
        origin: at("[2a00::1]:3478"),
        other: at("[2a00::1]:3479"),
    }
}

fn bare() -> Vec<u8> {
    message(BINDING_REQUEST, &ID, &[])
}

/// RFC 5769, 2.2 and 2.3: sample responses over IPv4 and IPv6 (their MESSAGE-INTEGRITY and FINGERPRINT are skipped).
#[test]
fn published_answers_are_understood() {
    let v4 = hex(
        "0101003c 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220
         00200008 0001a147e112a643 00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 c07d4c96",
    );
    let response = Response::decode(&v4).unwrap();
    assert_eq!(response.result, Ok(at("192.0.2.1:32853")));
    assert_eq!(
        response.transaction.to_vec(),
        hex("b7e7a701bc34d686fa87dfae")
    );
    let v6 = hex(
        "01010048 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220
         00200014 0002a147 0113a9faa5d3f179bc25f4b5bed2b9d9 00080014
         a382954e4be67bf11784c97c8292c275bfe3ed41 80280004 c8fb0b4c",
    );
    assert_eq!(
        Response::decode(&v6).unwrap().result,
        Ok(at("[2001:db8:1234:5678:11:2233:4455:6677]:32853"))
    );
}

#[test]
fn a_padded_question_gets_everything() {
    for (source, local, length) in [
        ("198.18.0.9:5000", local(), 56),
        ("[2a00::9]:5000", local_v6(), 92),
    ] {
        let question = request(&ID);
        let answer = answer(&question, at(source), &local).unwrap();
        assert!(answer.full && answer.bytes.len() <= question.len());
        assert_eq!(answer.bytes.len(), length);
        let read = Response::decode(&answer.bytes).unwrap();
        let expected = Response {
            transaction: ID,
            result: Ok(at(source)),
            origin: Some(local.origin),
            other: Some(local.other),
        };
        assert_eq!(read, expected);
    }
}

#[test]
fn a_short_question_gets_the_mapped_address_only() {
    for (source, local, length) in [
        ("198.18.0.9:5000", local(), 32),
        ("[2a00::9]:5000", local_v6(), 44),
    ] {
        let answer = answer(&bare(), at(source), &local).unwrap();
        assert_eq!((answer.full, answer.bytes.len()), (false, length));
        let read = Response::decode(&answer.bytes).unwrap();
        assert_eq!(
            (read.result, read.origin, read.other),
            (Ok(at(source)), None, None)
        );
    }
    // One byte of padding less than the full answer is short; exactly as long is not.
    let padded = |length: usize| {
        message(
            BINDING_REQUEST,
            &ID,
            &attribute(SOFTWARE, &vec![b' '; length - 24]),
        )
    };
    assert!(
        !answer(&padded(52), at("198.18.0.9:5000"), &local())
            .unwrap()
            .full
    );
    assert!(
        answer(&padded(56), at("198.18.0.9:5000"), &local())
            .unwrap()
            .full
    );
}

#[test]
fn a_mapped_ipv4_address_is_an_ipv4_address() {
    let answer = answer(&request(&ID), at("[::ffff:198.18.0.9]:5000"), &local()).unwrap();
    assert_eq!(
        Response::decode(&answer.bytes).unwrap().result,
        Ok(at("198.18.0.9:5000"))
    );
}

#[test]
fn what_must_be_understood_and_is_not_gets_420() {
    const CHANGE_REQUEST: u16 = 0x0003;
    const PADDING: u16 = 0x0026;
    for kind in [CHANGE_REQUEST, PADDING] {
        let attributes = [
            attribute(kind, &[0, 0, 0, 6]),
            attribute(SOFTWARE, &[b' '; 90]),
        ]
        .concat();
        let answer = answer(
            &message(BINDING_REQUEST, &ID, &attributes),
            at("198.18.0.9:5000"),
            &local(),
        )
        .unwrap();
        assert!(!answer.full);
        assert_eq!(Response::decode(&answer.bytes).unwrap().result, Err(420));
        let expected = attribute(UNKNOWN_ATTRIBUTES, &kind.to_be_bytes());
        assert!(answer.bytes.ends_with(&expected));
    }
}

#[test]
fn nothing_but_requests_is_answered() {
    let mut cut = request(&ID);
    cut.pop();
    let mut longer = request(&ID);
    longer.push(0);
    let mut no_cookie = request(&ID);
    no_cookie[4] ^= 1;
    let answer_of_others = message(BINDING_SUCCESS, &ID, &[]);
    let indication = message(0x0011, &ID, &[]);
    let large = message(
        BINDING_REQUEST,
        &ID,
        &attribute(SOFTWARE, &[b' '; MAX_MESSAGE]),
    );
    for datagram in [
        Vec::new(),
        cut,
        longer,
        no_cookie,
        answer_of_others,
        indication,
        large,
    ] {
        assert_eq!(
            answer(&datagram, at("198.18.0.9:5000"), &local()),
            None,
            "{datagram:?}"
        );
    }
}

#[test]
fn answers_of_others_are_understood() {
    let old = message(
        BINDING_SUCCESS,
        &ID,
        &attribute(MAPPED_ADDRESS, &write_address(at("198.18.0.9:1"))),
    );
    assert_eq!(
        Response::decode(&old).unwrap().result,
        Ok(at("198.18.0.9:1"))
    );
    let empty = message(BINDING_SUCCESS, &ID, &[]);
    assert!(Response::decode(&empty).is_err());
    assert!(Response::decode(&request(&ID)).is_err());
}

/// What a server says to questions of one source at these milliseconds.
fn answered(server: &mut Server, source: &str, question: &[u8], times: &[u64]) -> Vec<bool> {
    let handle = |at_ms: &u64| {
        let handled = server.handle(
            Duration::from_millis(*at_ms),
            question,
            at(source),
            &local(),
        );
        assert_ne!(handled, Handled::Ignored);
        handled != Handled::Limited
    };
    times.iter().map(handle).collect()
}

#[test]
fn short_questions_get_four_at_once_and_one_a_second() {
    let mut server = Server::new();
    let times = [
        0, 0, 0, 0, 0, 999, 1000, 1001, 2000, 10_000, 10_000, 10_000, 10_000, 10_000,
    ];
    let expected = [
        true, true, true, true, false, false, true, false, true, true, true, true, true, false,
    ];
    assert_eq!(
        answered(&mut server, "198.18.0.9:5000", &bare(), &times),
        expected
    );
    assert_eq!(
        answered(&mut server, "198.18.0.9:6000", &bare(), &[10_000]),
        [false],
        "the port does not matter"
    );
    assert_eq!(
        answered(&mut server, "198.18.0.10:5000", &bare(), &[10_000]),
        [true],
        "another source does"
    );
    assert_eq!(
        answered(&mut server, "198.18.0.9:5000", &request(&ID), &[10_000]),
        [true],
        "padded ones are others"
    );
}

#[test]
fn a_network_of_ipv6_is_one_source() {
    let mut server = Server::new();
    for host in 1..=4 {
        assert_eq!(
            answered(&mut server, &format!("[2a00::{host}]:1"), &bare(), &[0]),
            [true]
        );
    }
    assert_eq!(answered(&mut server, "[2a00::5]:1", &bare(), &[0]), [false]);
    assert_eq!(
        answered(&mut server, "[2a00:0:0:1::5]:1", &bare(), &[0]),
        [true]
    );
}

#[test]
fn padded_questions_are_limited_too() {
    let mut server = Server::new();
    let times = vec![0; 300];
    let count = answered(&mut server, "198.18.0.9:1", &request(&ID), &times)
        .iter()
        .filter(|ok| **ok)
        .count();
    assert_eq!(count, 200);
}

#[test]
fn forged_sources_do_not_grow_memory_nor_starve_those_known() {
    let mut server = Server::new();
    let mut allowed = 0;
    for n in 0..10_000u32 {
        let source = SocketAddr::new(std::net::Ipv4Addr::from(0x0B00_0000 + n).into(), 1);
        let handled = server.handle(Duration::ZERO, &bare(), source, &local());
        allowed += usize::from(handled != Handled::Limited);
    }
    assert_eq!(allowed, MAX_SOURCES + 4, "the rest share one bucket");
    assert_eq!(
        answered(&mut server, "11.0.0.1:1", &bare(), &[0, 0, 0, 0]),
        [true, true, true, false]
    );
    // Sources at rest make room: each new one has a bucket of its own again.
    for source in ["198.18.0.9:1", "198.18.0.10:1"] {
        assert_eq!(
            answered(&mut server, source, &bare(), &[5000; 5]),
            [true, true, true, true, false]
        );
    }
}

proptest! {
    #[test]
    fn any_datagram_is_answered_or_ignored(datagram in vec(any::<u8>(), 0..200)) {
        let _ = answer(&datagram, at("198.18.0.9:5000"), &local());
        let _ = Response::decode(&datagram);
    }

    #[test]
    fn damaged_questions_never_get_much_more_than_they_bring(at_byte: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut question = request(&ID);
        let index = at_byte.index(question.len());
        question[index] = byte;
        question.truncate(20 + cut.index(77));
        if let Some(answer) = answer(&question, at("198.18.0.9:5000"), &local()) {
            prop_assert!(answer.bytes.len() <= question.len() + 12);
            prop_assert!(!answer.full || answer.bytes.len() <= question.len());
        }
    }

    #[test]
    fn addresses_come_back(v4: [u8; 4], v6: [u8; 16], port: u16, id: TransactionId) {
        for ip in [IpAddr::from(v4), IpAddr::from(v6)] {
            let address = SocketAddr::new(ip, port);
            prop_assert_eq!(xor(xor(address, &id), &id), address);
            prop_assert_eq!(read_address(&write_address(address)), Ok(address));
        }
    }
}
