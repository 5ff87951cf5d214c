//! Every row of the table of grades.

use std::net::SocketAddr;

use super::*;
use crate::prober::Answer;

const V4: &str = "10.0.0.9";
const V6: &str = "2a00::9";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn world(scope: Scope) -> World {
    let internal = ["10.0.0.0/8", "100.64.0.0/10", "fc00::/7"];
    World {
        scope,
        internal: internal.map(|range| range.parse().unwrap()).to_vec(),
    }
}

/// A machine with these addresses in scope Internal, connected to nothing.
fn facts(interfaces: &[&str]) -> Facts {
    Facts {
        world: world(Scope::Internal),
        in_pod: true,
        interfaces: interfaces.iter().map(|text| ip(text)).collect(),
        route: None,
        gateway_outside: None,
        links: Vec::new(),
        measurement: Measurement::default(),
    }
}

fn link(version: IpVersion, transport: Transport) -> Vec<Link> {
    vec![Link { version, transport }]
}

/// Two ports of one relay saw these addresses, twice; the socket's port is 5000.
fn seen(server: &str, mapped: [&str; 2], filtering: Filtering) -> Seen {
    let ports = [3478, 3479].map(|port| SocketAddr::new(ip(server), port));
    let answer = |at: usize| Answer {
        server: ports[at],
        mapped: mapped[at].parse().unwrap(),
    };
    let round = vec![answer(0), answer(1)];
    Seen {
        local_port: Some(5000),
        rounds: [round.clone(), round],
        filtering,
        ..Seen::default()
    }
}

fn v4(mapped: [&str; 2], filtering: Filtering) -> Facts {
    let measurement = Measurement {
        v4: seen("10.0.0.1", mapped, filtering),
        v6: Seen::default(),
    };
    Facts {
        measurement,
        ..facts(&[V4])
    }
}

fn v6(mapped: [&str; 2], filtering: Filtering) -> Facts {
    let measurement = Measurement {
        v4: Seen::default(),
        v6: seen("2a00::1", mapped, filtering),
    };
    Facts {
        measurement,
        ..facts(&[V6])
    }
}

fn silent_v4(links: Vec<Link>) -> Facts {
    let asked = Seen {
        local_port: Some(5000),
        ..Seen::default()
    };
    let measurement = Measurement {
        v4: asked,
        v6: Seen::default(),
    };
    Facts {
        measurement,
        links,
        ..facts(&[V4])
    }
}

const NO_NAT: [&str; 2] = ["10.0.0.9:5000", "10.0.0.9:5000"];
const NO_NAT_V6: [&str; 2] = ["[2a00::9]:5000", "[2a00::9]:5000"];
const NAT66: [&str; 2] = ["[2a00::77]:5000", "[2a00::77]:5000"];
const SAME: [&str; 2] = ["10.7.7.7:777", "10.7.7.7:777"];
const DIFFERS: [&str; 2] = ["10.7.7.7:777", "10.7.7.7:778"];

/// Asserts grade, confidence and decisive evidence, and that people get a sentence.
#[track_caller]
fn row(facts: &Facts, expected: &str) {
    let assessment = assess(facts);
    let Assessment {
        grade,
        confidence,
        reason,
        evidence,
        scope,
        ..
    } = assessment;
    assert_eq!(format!("{grade} {confidence} {}", evidence[0]), expected);
    assert_eq!(scope, facts.world.scope);
    assert!(reason.ends_with('.') && reason.len() < 128, "{reason}");
}

fn linked(interfaces: &[&str], version: IpVersion, transport: Transport) -> Facts {
    Facts {
        links: link(version, transport),
        ..facts(interfaces)
    }
}

fn in_internet(facts: Facts) -> Facts {
    Facts {
        world: world(Scope::Internet),
        ..facts
    }
}

fn behind_carrier(facts: Facts) -> Facts {
    Facts {
        in_pod: false,
        route: Some(ip("100.64.0.2")),
        ..in_internet(facts)
    }
}

use Filtering::{AddressAndPortDependent, AddressDependent, EndpointIndependent, Unknown};

#[test]
fn rows_a_and_b() {
    row(
        &v6(NO_NAT_V6, EndpointIndependent),
        "A Verified ipv6-probe-ok",
    );
    row(&v6(NAT66, EndpointIndependent), "B Verified ipv6-probe-ok");
    row(&v4(NO_NAT, EndpointIndependent), "B Verified ipv4-probe-ok");
    row(&v4(SAME, EndpointIndependent), "B Verified ipv4-probe-ok");
    row(
        &v4(SAME, AddressDependent),
        "B Measured filtering-address-dependent",
    );
}

#[test]
fn rows_c() {
    // Port-restricted; a public address behind a firewall.
    row(
        &v4(SAME, AddressAndPortDependent),
        "C Measured filtering-port-dependent",
    );
    row(
        &v4(NO_NAT, AddressAndPortDependent),
        "C Measured filtering-port-dependent",
    );
    row(
        &v6(NO_NAT_V6, AddressAndPortDependent),
        "C Measured filtering-port-dependent",
    );
    // Filtering that nobody could test is never claimed to be better.
    row(&v4(SAME, Unknown), "C Measured filtering-untestable");
    row(&v4(NO_NAT, Unknown), "C Measured filtering-untestable");
    row(&v6(NO_NAT_V6, Unknown), "C Measured filtering-untestable");
    // An address that nobody confirmed; nobody outside.
    row(
        &linked(&[V6], IpVersion::V4, Transport::Tcp),
        "C Claimed ipv6-unconfirmed",
    );
    let nobody = in_internet(linked(&[V4], IpVersion::V4, Transport::Tcp));
    row(&nobody, "C Claimed no-outside-vantage");
}

#[test]
fn rows_d() {
    row(&v4(DIFFERS, Unknown), "D Measured mapping-differs");
    row(
        &v4(DIFFERS, EndpointIndependent),
        "D Measured mapping-differs",
    );
    row(
        &behind_carrier(v4(SAME, EndpointIndependent)),
        "D Measured cgnat-local-address",
    );
    let nobody = linked(&[V4], IpVersion::V4, Transport::Tcp);
    row(&behind_carrier(nobody), "D Measured cgnat-local-address");
    row(
        &silent_v4(link(IpVersion::V4, Transport::Tcp)),
        "D Measured udp-blocked",
    );
    // STUN is silent and UDP is not blocked: the mapping is not known.
    row(
        &silent_v4(link(IpVersion::V4, Transport::Quic)),
        "D Claimed mapping-unknown",
    );
}

#[test]
fn a_gateway_that_is_itself_translated_is_behind_a_carrier() {
    let told = |outside: &str, facts: Facts| Facts {
        in_pod: false,
        gateway_outside: Some(outside.parse().unwrap()),
        ..in_internet(facts)
    };
    let plain = || v4(SAME, AddressAndPortDependent);
    let seen = SAME[0].split(':').next().unwrap();
    for outside in ["100.64.7.2", "100.127.255.254"] {
        row(&told(outside, plain()), "D Measured cgnat-gateway-address");
    }
    // what the Internet sees, another address of its own, that of a second router at home, none
    for outside in [seen, "9.9.9.9", "192.168.178.2", "10.9.0.1", "0.0.0.0"] {
        row(
            &told(outside, plain()),
            "C Measured filtering-port-dependent",
        );
    }
    row(
        &told("100.64.7.2", v4(DIFFERS, Unknown)),
        "D Measured mapping-differs",
    );
    let untranslated = v4(NO_NAT, AddressAndPortDependent);
    row(
        &told("100.64.7.2", untranslated),
        "C Measured filtering-port-dependent",
    );
    let nobody = linked(&[V4], IpVersion::V4, Transport::Tcp);
    row(&told("100.64.7.2", nobody), "C Claimed no-outside-vantage");
    let pod = Facts {
        in_pod: true,
        ..told("100.64.7.2", plain())
    };
    row(&pod, "C Measured filtering-port-dependent");
    let inside = Facts {
        world: world(Scope::Internal),
        ..told("100.64.7.2", plain())
    };
    row(&inside, "C Measured filtering-port-dependent");
}

#[test]
fn rows_f() {
    row(&silent_v4(Vec::new()), "F Measured nothing-answers");
    row(&facts(&[V4]), "F Measured nothing-answers");
    row(&facts(&[V6]), "F Measured nothing-answers");
    row(&facts(&[]), "F Measured no-address");
    row(
        &facts(&["127.0.0.1", "::1", "fe80::1", "169.254.0.1"]),
        "F Measured no-address",
    );
}

#[test]
fn a_single_answer_claims_no_mapping() {
    let mut facts = v4(SAME, Filtering::Unknown);
    for round in &mut facts.measurement.v4.rounds {
        round.truncate(1);
    }
    let assessment = assess(&facts);
    assert_eq!(
        (assessment.grade, assessment.confidence),
        (Grade::D, Confidence::Claimed)
    );
    assert_eq!(assessment.evidence[0], Evidence::MappingUnknown);
}

#[test]
fn the_better_version_counts_and_the_surer_of_equals() {
    let both = |four: Seen, six: Seen| Facts {
        measurement: Measurement { v4: four, v6: six },
        ..facts(&[V4, V6])
    };
    let four = |filtering| seen("10.0.0.1", SAME, filtering);
    let six = |filtering| seen("2a00::1", NO_NAT_V6, filtering);
    let best = |facts: &Facts| {
        let assessment = assess(facts);
        (assessment.grade, assessment.version.unwrap())
    };
    let a = both(
        four(Filtering::EndpointIndependent),
        six(Filtering::EndpointIndependent),
    );
    assert_eq!(best(&a), (Grade::A, IpVersion::V6));
    let b = both(
        four(Filtering::EndpointIndependent),
        six(Filtering::Unknown),
    );
    assert_eq!(best(&b), (Grade::B, IpVersion::V4));
    let c = both(four(Filtering::Unknown), Seen::default());
    assert_eq!(
        best(&c),
        (Grade::C, IpVersion::V4),
        "measured before claimed"
    );
    let blocked = Facts {
        links: link(IpVersion::V4, Transport::Tcp),
        ..both(
            silent_v4(Vec::new()).measurement.v4,
            six(Filtering::Unknown),
        )
    };
    assert_eq!(best(&blocked), (Grade::C, IpVersion::V6));
}

#[test]
fn pods_in_the_carriers_range_are_no_evidence() {
    let pod = Facts {
        route: Some(ip("100.64.3.4")),
        ..v4(SAME, Filtering::Unknown)
    };
    assert_eq!(assess(&pod).grade, Grade::C);
    let internet = Facts {
        world: world(Scope::Internet),
        ..pod.clone()
    };
    assert_eq!(assess(&internet).grade, Grade::C, "in a pod never");
    let laptop_inside = Facts {
        in_pod: false,
        ..pod
    };
    assert_eq!(
        assess(&laptop_inside).grade,
        Grade::C,
        "in scope Internal it is an address like others"
    );
}

#[test]
fn a_link_of_the_other_version_is_none_of_this_one() {
    let over_v6 = Facts {
        links: link(IpVersion::V6, Transport::Tcp),
        ..silent_v4(Vec::new())
    };
    assert_eq!(assess(&over_v6).grade, Grade::F);
}

#[test]
fn public_addresses_are_those_in_scope() {
    assert_eq!(
        assess(&v4(SAME, Filtering::Unknown)).public_addresses,
        [ip("10.7.7.7")]
    );
    let internet = Facts {
        world: world(Scope::Internet),
        ..v4(SAME, Filtering::Unknown)
    };
    assert!(assess(&internet).public_addresses.is_empty());
    let both = Facts {
        measurement: Measurement {
            v4: seen("10.0.0.1", SAME, Filtering::Unknown),
            v6: seen("2a00::1", NO_NAT_V6, Filtering::Unknown),
        },
        ..facts(&[V4, V6])
    };
    assert_eq!(assess(&both).public_addresses, [ip("10.7.7.7"), ip(V6)]);
}

#[test]
fn one_relay_and_the_ports_are_said() {
    let assessment = assess(&v4(SAME, Filtering::Unknown));
    let expected = [
        Evidence::FilteringUntestable,
        Evidence::MappingSame,
        Evidence::OneRelay,
    ];
    assert_eq!(assessment.evidence, expected);
    let assessment = assess(&v4(NO_NAT, Filtering::Unknown));
    assert_eq!(
        assessment.evidence,
        [Evidence::FilteringUntestable, Evidence::NoNat]
    );
    assert_eq!(
        assessment.reason,
        "There is no NAT; which packets come in could not be tested."
    );
}

#[test]
fn a_load_balancer_in_the_way_is_said() {
    let mut facts = v4(NO_NAT, Filtering::Unknown);
    facts.measurement.v4.rewritten = true;
    row(&facts, "C Measured filtering-untestable");
    assert_eq!(
        assess(&facts).reason,
        "There is no NAT; something on the way to the relay rewrites addresses, so no test was possible."
    );
}

#[test]
fn an_assessment_is_a_report() {
    let assessment = assess(&v4(SAME, Filtering::Unknown));
    let report = assessment.report(Path::Relayed, Vec::new(), 1_790_000_000, "0.1.0");
    let json = report.to_json().unwrap();
    assert_eq!(Report::from_json(json.as_bytes()).unwrap(), report);
    assert_eq!(
        (report.grade, report.nat_type),
        (Grade::C, NatType::EndpointIndependent)
    );
}
