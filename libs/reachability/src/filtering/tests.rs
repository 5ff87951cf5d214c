//! Lanes on a simulated network.

use std::collections::VecDeque;

use peerup_protocol::stun::server::{Local, answer};
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn peer(number: u8) -> PeerId {
    let key = peerup_protocol::SigningKey::from_bytes(&[number; 32]);
    peerup_protocol::id::peer_id(&key.verifying_key())
}

fn relay(number: u8) -> Server {
    Server {
        relay: Some(peer(number)),
        primary: at(&format!("11.0.0.{number}:3478")),
        alternate: Some(at(&format!("11.0.0.{number}:3479"))),
        own: false,
    }
}

fn answers(servers: &[Server]) -> Vec<Answer> {
    let answer = |server: &Server| Answer {
        server: server.primary,
        mapped: MAPPED.parse().unwrap(),
    };
    servers.iter().map(answer).collect()
}

const MAPPED: &str = "11.0.9.9:7777";
const NONCES: [[u8; 16]; 2] = [[1; 16], [2; 16]];
/// Between the peer and everybody.
const LATENCY: Duration = Duration::from_millis(10);

/// What stands between the lane and the relays.
struct Net {
    /// Of the NAT or firewall.
    filtering: Filtering,
    /// What a relay says when it is asked the nth time; `None`: it can't be asked.
    says: fn(PeerId, usize) -> Option<ProbeAnswer>,
    /// Whether the nth datagram to the peer, STUN's included, gets lost.
    loses: fn(usize) -> bool,
}

const OPEN_NET: Net = Net {
    filtering: Filtering::EndpointIndependent,
    says: |_, _| Some(ProbeAnswer::Sent),
    loses: |_| false,
};

enum Comes {
    Datagram(SocketAddr, Vec<u8>),
    Answer(Option<ProbeAnswer>),
}

/// The verdict, how long it took, and who was asked for what.
fn run(servers: &[Server], net: &Net) -> (Filtering, Duration, Vec<(PeerId, ProbeFrom)>) {
    let plan = Plan::new(servers, &answers(servers)).unwrap();
    let known = plan.stun;
    let mut lane = Lane::new(plan, [7; 12], NONCES, Duration::ZERO);
    let (mut now, mut asked, mut datagrams) = (Duration::ZERO, Vec::new(), 0);
    let mut inbox: VecDeque<Comes> = VecDeque::new();
    let mut arrives = |inbox: &mut VecDeque<Comes>, from, bytes| {
        if !(net.loses)(datagrams) {
            inbox.push_back(Comes::Datagram(from, bytes));
        }
        datagrams += 1;
    };
    loop {
        match lane.poll_output(now) {
            Output::Done(filtering) => return (filtering, now, asked),
            Output::Send { to, datagram } => {
                assert_eq!(to, known, "the socket sends to one address only");
                let local = Local {
                    origin: to,
                    other: to,
                };
                let bytes = answer(&datagram, at(MAPPED), &local).unwrap().bytes;
                arrives(&mut inbox, to, bytes);
            }
            Output::Ask { relay, ask, mapped } => {
                assert_eq!((ask.port, mapped), (7777, at(MAPPED)));
                let says = (net.says)(relay, asked.len());
                asked.push((relay, ask.from));
                inbox.push_back(Comes::Answer(says));
                let server = servers
                    .iter()
                    .find(|server| server.relay == Some(relay))
                    .unwrap();
                let from = match ask.from {
                    ProbeFrom::MainPort => server.primary,
                    ProbeFrom::OtherPort => server.alternate.unwrap(),
                };
                if says == Some(ProbeAnswer::Sent) && passes(net.filtering, known, from) {
                    arrives(&mut inbox, from, ask.nonce.to_vec());
                }
            }
            Output::Wait(until) => match inbox.pop_front() {
                Some(comes) => {
                    now += LATENCY;
                    match comes {
                        Comes::Datagram(from, bytes) => lane.handle_input(from, &bytes),
                        Comes::Answer(says) => lane.handle_answer(now, says),
                    }
                }
                None => {
                    assert!(until > now, "a wait goes forward");
                    now = until;
                }
            },
        }
    }
}

/// Whether a packet of `from` reaches a socket that has sent to `known`.
fn passes(filtering: Filtering, known: SocketAddr, from: SocketAddr) -> bool {
    match filtering {
        Filtering::EndpointIndependent => true,
        Filtering::AddressDependent => from.ip() == known.ip(),
        Filtering::AddressAndPortDependent => from == known,
        Filtering::Unknown => unreachable!("a NAT filters somehow"),
    }
}

#[test]
fn two_relays_tell_each_filtering() {
    let relays = [relay(1), relay(2)];
    let stranger = (peer(2), ProbeFrom::MainPort);
    let other_port = (peer(1), ProbeFrom::OtherPort);
    for (filtering, expected) in [
        (Filtering::EndpointIndependent, vec![stranger]),
        (
            Filtering::AddressDependent,
            vec![stranger, stranger, other_port],
        ),
        (
            Filtering::AddressAndPortDependent,
            vec![stranger, stranger, other_port, other_port],
        ),
    ] {
        let (found, took, asked) = run(
            &relays,
            &Net {
                filtering,
                ..OPEN_NET
            },
        );
        assert_eq!((found, asked), (filtering, expected));
        assert!(took < LIMIT, "{took:?}");
    }
}

#[test]
fn one_relay_can_only_tell_ports_apart() {
    for (filtering, found) in [
        (Filtering::EndpointIndependent, Filtering::AddressDependent),
        (Filtering::AddressDependent, Filtering::AddressDependent),
        (
            Filtering::AddressAndPortDependent,
            Filtering::AddressAndPortDependent,
        ),
    ] {
        let net = Net {
            filtering,
            ..OPEN_NET
        };
        let (verdict, _, asked) = run(&[relay(1)], &net);
        assert_eq!(verdict, found);
        assert!(asked.contains(&(peer(1), ProbeFrom::OtherPort)));
    }
}

#[test]
fn two_relays_at_one_address_are_one() {
    let mut second = relay(2);
    second.primary = at("11.0.0.1:4478");
    let plan = Plan::new(&[relay(1), second], &answers(&[relay(1), second])).unwrap();
    assert_eq!(plan.stranger, None);
}

/// It sends from one address only.
#[test]
fn one_relay_at_two_addresses_is_one() {
    let again = Server {
        relay: Some(peer(1)),
        ..relay(2)
    };
    let servers = [relay(1), again, relay(3)];
    let plan = Plan::new(&servers[..2], &answers(&servers[..2])).unwrap();
    assert_eq!(plan.stranger, None);
    let plan = Plan::new(&servers, &answers(&servers)).unwrap();
    assert_eq!(plan.stranger.unwrap().relay, peer(3));
}

#[test]
fn what_can_not_be_sent_means_nothing() {
    let relays = [relay(1), relay(2)];
    for says in [
        |_, _| Some(ProbeAnswer::Untestable),
        |_, _| Some(ProbeAnswer::Limited),
        |_, _| None,
    ] as [fn(PeerId, usize) -> Option<ProbeAnswer>; 3]
    {
        let net = Net { says, ..OPEN_NET };
        assert_eq!(run(&relays, &net).0, Filtering::Unknown);
    }
    // The first relay alone can't test: that strangers are silent does not tell the rest.
    let net = Net {
        filtering: Filtering::AddressDependent,
        says: |relay, _| (relay == peer(2)).then_some(ProbeAnswer::Sent),
        ..OPEN_NET
    };
    assert_eq!(run(&relays, &net).0, Filtering::Unknown);
    // The other one alone can't: its own other port tells enough.
    let net = Net {
        filtering: Filtering::AddressDependent,
        says: |relay, _| (relay == peer(1)).then_some(ProbeAnswer::Sent),
        ..OPEN_NET
    };
    assert_eq!(run(&relays, &net).0, Filtering::AddressDependent);
}

#[test]
fn one_lost_datagram_changes_nothing() {
    let losses: [fn(usize) -> bool; 3] = [|nth| nth == 0, |nth| nth == 1, |nth| nth < 2];
    for loses in losses {
        let net = Net { loses, ..OPEN_NET };
        let (found, took, _) = run(&[relay(1), relay(2)], &net);
        assert_eq!(found, Filtering::EndpointIndependent);
        assert!(took < LIMIT, "{took:?}");
    }
}

#[test]
fn without_an_answer_over_stun_nothing_is_asked() {
    let net = Net {
        loses: |_| true,
        ..OPEN_NET
    };
    let (found, took, asked) = run(&[relay(1), relay(2)], &net);
    assert_eq!((found, took, asked), (Filtering::Unknown, OPEN, vec![]));
}

#[test]
fn a_relay_that_does_not_answer_ends_in_time() {
    let plan = Plan::new(&[relay(1)], &answers(&[relay(1)])).unwrap();
    let mut lane = Lane::new(plan, [7; 12], NONCES, Duration::ZERO);
    lane.step = Step::Ready(at(MAPPED));
    assert!(matches!(
        lane.poll_output(Duration::ZERO),
        Output::Ask { .. }
    ));
    assert_eq!(lane.poll_output(Duration::ZERO), Output::Wait(LIMIT));
    assert_eq!(lane.poll_output(LIMIT), Output::Done(Filtering::Unknown));
}

#[test]
fn nothing_but_the_nonce_from_where_it_is_expected_counts() {
    let relays = [relay(1), relay(2)];
    let plan = Plan::new(&relays, &answers(&relays)).unwrap();
    let mut lane = Lane::new(plan, [7; 12], NONCES, Duration::ZERO);
    lane.step = Step::Ready(at(MAPPED));
    assert!(matches!(
        lane.poll_output(Duration::ZERO),
        Output::Ask { .. }
    ));
    let before = format!("{lane:?}");
    for (from, bytes) in [
        (at("11.0.0.2:3478"), [9; 16].to_vec()),
        (at("11.0.0.2:3479"), NONCES[0].to_vec()),
        (at("11.0.0.1:3478"), NONCES[0].to_vec()),
        (at("11.0.0.2:3478"), NONCES[0][..15].to_vec()),
        (at("11.0.0.2:3478"), NONCES[1].to_vec()),
        (at("11.0.0.2:3478"), Vec::new()),
    ] {
        lane.handle_input(from, &bytes);
        assert_eq!(format!("{lane:?}"), before, "{from} {bytes:?}");
    }
    lane.handle_input(at("[::ffff:11.0.0.2]:3478"), &NONCES[0]);
    assert_eq!(
        lane.poll_output(Duration::ZERO),
        Output::Done(Filtering::EndpointIndependent)
    );
}

#[test]
fn only_relays_that_answered_are_asked() {
    let foreign = Server {
        relay: None,
        ..relay(9)
    };
    let all = [foreign, relay(1), relay(2)];
    assert_eq!(Plan::new(&all, &answers(&[foreign])), None);
    let plan = Plan::new(&all, &answers(&[foreign, relay(2)])).unwrap();
    assert_eq!((plan.stun, plan.stranger), (relay(2).primary, None));
}

#[test]
fn two_lanes_must_agree() {
    use Filtering::{
        AddressAndPortDependent as Port, AddressDependent as Address, EndpointIndependent as All,
        Unknown,
    };
    for (lanes, expected) in [
        ([All, All], (All, true)),
        ([All, Port], (Port, false)),
        ([Address, All], (Address, false)),
        ([Unknown, All], (All, true)),
        ([Unknown, Unknown], (Unknown, true)),
    ] {
        assert_eq!(combine(lanes), expected, "{lanes:?}");
        let [a, b] = lanes;
        assert_eq!(combine([b, a]), expected, "{lanes:?}");
    }
}

proptest! {
    /// Whatever comes when, a lane ends in time and never says more than arrived.
    #[test]
    fn a_lane_ends_whatever_comes(
        steps in proptest::collection::vec((0u8..4, 0u64..400, any::<bool>()), 0..60),
    ) {
        let relays = [relay(1), relay(2)];
        let plan = Plan::new(&relays, &answers(&relays)).unwrap();
        let mut lane = Lane::new(plan, [7; 12], NONCES, Duration::ZERO);
        let mut now = Duration::ZERO;
        for (kind, pause, flag) in steps {
            now += Duration::from_millis(pause);
            for _ in 0..9 {
                if matches!(lane.poll_output(now), Output::Wait(_) | Output::Done(_)) {
                    break;
                }
            }
            match kind {
                0 => lane.handle_input(at("11.0.0.2:3478"), &[3; 16]),
                1 => lane.handle_answer(now, flag.then_some(ProbeAnswer::Sent)),
                2 => lane.handle_answer(now, Some(ProbeAnswer::Limited)),
                _ => lane.handle_input(at("11.0.0.1:3479"), &NONCES[0]),
            }
        }
        let done = lane.poll_output(now.max(LIMIT));
        let Output::Done(found) = done else { panic!("{done:?}") };
        prop_assert!(matches!(found, Filtering::Unknown | Filtering::AddressAndPortDependent));
    }
}
