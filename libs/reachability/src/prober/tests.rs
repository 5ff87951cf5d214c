//! The prober on a simulated network.

use std::collections::VecDeque;

use peerup_protocol::grade::Scope;
use peerup_protocol::stun::server::{Local, answer};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn world(scope: Scope) -> World {
    World {
        scope,
        internal: vec!["10.0.0.0/8".parse().unwrap(), "fc00::/7".parse().unwrap()],
    }
}

fn relay(ip: &str) -> Server {
    Server {
        relay: None,
        primary: at(&format!("{ip}:3478")),
        alternate: Some(at(&format!("{ip}:3479"))),
        own: false,
    }
}

const PORTS: LocalPorts = LocalPorts {
    v4: Some(5000),
    v6: Some(6000),
};

/// Transaction ids in order.
fn ids() -> impl FnMut() -> TransactionId {
    let mut next = 0u32;
    move || {
        next += 1;
        let mut id = [0; 12];
        id[..4].copy_from_slice(&next.to_be_bytes());
        id
    }
}

fn prober(servers: &[Server], scope: Scope) -> Prober {
    Prober::new(&world(scope), servers, PORTS, ids(), Duration::ZERO)
}

/// Runs to the end on a simulated network: `reply` says which address a server
/// sees, or that the datagram is lost. Gives the measurement, its time, and what was sent.
fn run(
    mut prober: Prober,
    mut reply: impl FnMut(Duration, SocketAddr) -> Option<SocketAddr>,
) -> (Measurement, Duration, Vec<(Duration, SocketAddr)>) {
    let (mut now, mut sent, mut inbox) = (Duration::ZERO, Vec::new(), VecDeque::new());
    loop {
        match prober.poll_output(now) {
            Output::Send { to, datagram } => {
                sent.push((now, to));
                if let Some(seen) = reply(now, to) {
                    let local = Local {
                        origin: to,
                        other: to,
                    };
                    inbox.push_back((to, answer(&datagram, seen, &local).unwrap().bytes));
                }
            }
            // A NAT without hairpinning.
            Output::Hairpin { .. } => (),
            Output::Wait(until) => match inbox.pop_front() {
                Some((from, datagram)) => {
                    now += Duration::from_millis(10);
                    prober.handle_input(from, &datagram);
                }
                None => {
                    assert!(until > now, "a wait goes forward");
                    now = until;
                }
            },
            Output::Done(measurement) => return (measurement, now, sent),
        }
    }
}

#[test]
fn both_ports_are_asked_twice() {
    let (measurement, took, sent) = run(prober(&[relay("10.0.0.1")], Scope::Internal), |_, _| {
        Some(at("10.9.9.9:7777"))
    });
    let asked: Vec<_> = sent.iter().map(|(_, to)| to.to_string()).collect();
    assert_eq!(
        asked,
        [
            "10.0.0.1:3478",
            "10.0.0.1:3479",
            "10.0.0.1:3478",
            "10.0.0.1:3479"
        ]
    );
    let answers = ["10.0.0.1:3478", "10.0.0.1:3479"].map(|server| Answer {
        server: at(server),
        mapped: at("10.9.9.9:7777"),
    });
    assert_eq!(measurement.v4.rounds, [answers.to_vec(), answers.to_vec()]);
    assert_eq!(measurement.v4.local_port, Some(5000));
    assert_eq!(measurement.v6, Seen::default());
    assert!(
        took < Duration::from_millis(100),
        "nobody waits for answers that came"
    );
}

#[test]
fn silence_is_asked_thrice_a_round_and_ends_in_time() {
    let (measurement, took, sent) = run(prober(&[relay("10.0.0.1")], Scope::Internal), |_, _| None);
    assert!(!measurement.v4.answered());
    assert_eq!(measurement.v4.local_port, Some(5000), "it was asked");
    let times = |port: u16| -> Vec<u128> {
        let to_port = sent.iter().filter(|(_, to)| to.port() == port);
        to_port.map(|(at, _)| at.as_millis()).collect()
    };
    assert_eq!(times(3478), [0, 500, 1500, 1900, 2400, 3400]);
    assert_eq!(times(3479), times(3478));
    assert!(took < Duration::from_secs(4));
}

#[test]
fn a_lost_datagram_is_sent_again() {
    let mut first = true;
    let (measurement, ..) = run(prober(&[relay("10.0.0.1")], Scope::Internal), |_, to| {
        let lost = to.port() == 3478 && std::mem::take(&mut first);
        (!lost).then(|| at("10.9.9.9:7777"))
    });
    assert_eq!(measurement.v4.rounds.each_ref().map(Vec::len), [2, 2]);
}

#[test]
fn only_servers_of_the_world_are_asked() {
    let servers = [relay("10.0.0.1"), relay("8.8.8.8")];
    let (_, _, sent) = run(prober(&servers, Scope::Internet), |_, _| {
        Some(at("9.9.9.9:1"))
    });
    assert!(
        sent.iter().all(|(_, to)| to.ip() == at("8.8.8.8:1").ip()),
        "{sent:?}"
    );
    let (measurement, took, sent) = run(prober(&[relay("10.0.0.1")], Scope::Internet), |_, _| None);
    assert_eq!(
        (measurement, took, sent),
        (Measurement::default(), Duration::ZERO, Vec::new())
    );
}

#[test]
fn a_version_without_a_socket_is_not_asked() {
    let servers = [
        relay("10.0.0.1"),
        Server {
            relay: None,
            primary: at("[fd00::1]:3478"),
            alternate: None,
            own: false,
        },
    ];
    let ports = LocalPorts {
        v4: None,
        v6: Some(6000),
    };
    let prober = Prober::new(
        &world(Scope::Internal),
        &servers,
        ports,
        ids(),
        Duration::ZERO,
    );
    let (measurement, ..) = run(prober, |_, _| Some(at("[fd00::9]:6000")));
    assert_eq!(measurement.v4, Seen::default());
    assert_eq!(
        (measurement.v6.local_port, measurement.v6.rounds[0].len()),
        (Some(6000), 1)
    );
}

#[test]
fn servers_are_bounded_and_asked_once() {
    let mut servers: Vec<_> = (1..=20).map(|n| relay(&format!("10.0.0.{n}"))).collect();
    servers.insert(0, relay("10.0.0.1"));
    let (_, _, sent) = run(prober(&servers, Scope::Internal), |_, _| {
        Some(at("10.9.9.9:7777"))
    });
    assert_eq!(sent.len(), 2 * (2 * MAX_SERVERS - 2));
}

#[test]
fn answers_must_come_from_whom_was_asked_with_its_id() {
    let mut prober = prober(&[relay("10.0.0.1")], Scope::Internal);
    let Output::Send { to, datagram } = prober.poll_output(Duration::ZERO) else {
        panic!("a question")
    };
    let local = Local {
        origin: to,
        other: to,
    };
    let good = answer(&datagram, at("10.9.9.9:7777"), &local)
        .unwrap()
        .bytes;
    let mut other_id = good.clone();
    other_id[19] ^= 1;
    let before = format!("{prober:?}");
    prober.handle_input(at("10.0.0.2:3478"), &good);
    prober.handle_input(at("10.0.0.1:3479"), &good);
    prober.handle_input(to, &other_id);
    prober.handle_input(to, b"garbage");
    prober.handle_input(to, &datagram);
    assert_eq!(format!("{prober:?}"), before);
    prober.handle_input(to, &good);
    assert_ne!(format!("{prober:?}"), before);
}

#[test]
fn nobody_waits_for_an_ip_version_without_a_way() {
    let servers = [relay("11.0.0.1"), relay("[2a00:1::1]")];
    let mut prober = prober(&servers, Scope::Internet);
    let (mut now, mut asked) = (Duration::ZERO, 0);
    let measurement = loop {
        match prober.poll_output(now) {
            Output::Send { to, .. } if to.is_ipv6() => {
                asked += 1;
                prober.handle_no_route(to);
            }
            Output::Send { to, datagram } => {
                now += Duration::from_millis(10);
                let local = Local {
                    origin: to,
                    other: to,
                };
                let answer = answer(&datagram, at("11.0.0.9:5000"), &local).unwrap();
                prober.handle_input(to, &answer.bytes);
            }
            Output::Hairpin { .. } => (),
            Output::Wait(until) => panic!("waits until {until:?}"),
            Output::Done(measurement) => break measurement,
        }
    };
    assert_eq!(asked, 4, "each port once a round");
    assert_eq!(measurement.v4.rounds.each_ref().map(Vec::len), [2, 2]);
    assert!(!measurement.v6.answered() && measurement.v6.local_port.is_some());
}

#[test]
fn a_refusal_is_no_answer_and_is_not_repeated() {
    let mut prober = prober(
        &[Server {
            alternate: None,
            ..relay("10.0.0.1")
        }],
        Scope::Internal,
    );
    for _ in 0..2 {
        let Output::Send { to, datagram } = prober.poll_output(Duration::ZERO) else {
            panic!("a question")
        };
        // The same transaction with CHANGE-REQUEST gets 420.
        let mut question = datagram[..20].to_vec();
        question[3] = 8;
        question.extend([0, 3, 0, 4, 0, 0, 0, 6]);
        let local = Local {
            origin: to,
            other: to,
        };
        prober.handle_input(
            to,
            &answer(&question, at("10.9.9.9:7777"), &local)
                .unwrap()
                .bytes,
        );
    }
    let Output::Done(measurement) = prober.poll_output(Duration::ZERO) else {
        panic!("done")
    };
    assert!(!measurement.v4.answered());
}

proptest! {
    #[test]
    fn nothing_that_arrives_disturbs(datagrams in vec((any::<u16>(), vec(any::<u8>(), 0..200)), 0..20)) {
        let mut prober = prober(&[relay("10.0.0.1")], Scope::Internal);
        for (port, datagram) in datagrams {
            let _ = prober.poll_output(Duration::ZERO);
            prober.handle_input(SocketAddr::new(at("10.0.0.1:1").ip(), port), &datagram);
        }
        let (measurement, took, _) = run(prober, |_, _| None);
        prop_assert!(!measurement.v4.answered());
        prop_assert!(took < Duration::from_secs(4));
    }
}

/// Answers all questions as `origin` says where they came in, and brings hairpins back if `hairpins`.
fn answered(
    mut prober: Prober,
    origin: impl Fn(SocketAddr) -> SocketAddr,
    hairpins: bool,
) -> (Measurement, Vec<Answer>) {
    let now = Duration::ZERO;
    let mut first = Vec::new();
    loop {
        first.extend(
            prober
                .first_answers()
                .filter(|_| first.is_empty())
                .into_iter()
                .flatten(),
        );
        match prober.poll_output(now) {
            Output::Send { to, datagram } => {
                let local = Local {
                    origin: origin(to),
                    other: to,
                };
                let answer = answer(&datagram, at("10.9.9.9:7777"), &local).unwrap();
                prober.handle_input(to, &answer.bytes);
            }
            Output::Hairpin { to, datagram } => {
                assert_eq!(to, at("10.9.9.9:7777"));
                if hairpins {
                    prober.handle_input(to, &datagram);
                }
            }
            Output::Wait(until) => panic!("nothing to wait for until {until:?}"),
            Output::Done(measurement) => return (measurement, first),
        }
    }
}

#[test]
fn a_hairpin_is_what_comes_back() {
    for hairpins in [true, false] {
        let prober = prober(&[relay("10.0.0.1")], Scope::Internal);
        let (measurement, _) = answered(prober, |to| to, hairpins);
        assert_eq!(measurement.v4.hairpin, hairpins);
        assert!(!measurement.v6.hairpin && !measurement.v4.rewritten);
    }
}

#[test]
fn who_says_another_address_of_its_own_is_behind_something() {
    let elsewhere = |to: SocketAddr| SocketAddr::new("10.5.5.5".parse().unwrap(), to.port());
    for (own, rewritten) in [(true, true), (false, false)] {
        let server = Server {
            own,
            ..relay("10.0.0.1")
        };
        let (measurement, first) = answered(prober(&[server], Scope::Internal), elsewhere, false);
        assert_eq!(measurement.v4.rewritten, rewritten);
        assert_eq!(first.is_empty(), rewritten, "it is not asked for probes");
        assert_eq!(
            measurement.v4.rounds[0].len(),
            2,
            "the mapping counts all the same"
        );
    }
}
