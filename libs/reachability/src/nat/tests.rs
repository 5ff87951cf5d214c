//! The tables of mappings and of NAT classes.

use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Answers as `server=mapped`; the socket's port is 5000, the machine is 10.0.0.9.
fn seen(rounds: [&[&str]; 2]) -> Seen {
    let answer = |text: &&str| {
        let (server, mapped) = text.split_once('=').unwrap();
        Answer {
            server: at(server),
            mapped: at(mapped),
        }
    };
    let rounds = rounds.map(|round| round.iter().map(answer).collect());
    Seen {
        local_port: Some(5000),
        rounds,
        ..Seen::default()
    }
}

fn of(rounds: [&[&str]; 2]) -> (Mapping, Vec<Evidence>) {
    let nat = classify(&seen(rounds), &[at("10.0.0.9:1").ip()]);
    (nat.mapping, nat.evidence)
}

fn twice(round: &[&str]) -> (Mapping, Vec<Evidence>) {
    of([round, round])
}

/// Asserts mapping and evidence of two equal rounds.
#[track_caller]
fn row(round: &[&str], mapping: Mapping, evidence: &[Evidence]) {
    assert_eq!(twice(round), (mapping, evidence.to_vec()));
}

use Evidence::{MappingDiffers, MappingSame, MappingUnknown, NoNat, OneRelay, PortPreserved};

/// Two ports of one relay can tell port-dependent or not.
#[test]
fn one_relay() {
    let local = ["1.0.0.1:3478=10.0.0.9:5000", "1.0.0.1:3479=10.0.0.9:5000"];
    row(&local, Mapping::None, &[NoNat]);
    row(&local[..1], Mapping::None, &[NoNat]);
    let kept = ["1.0.0.1:3478=9.9.9.9:5000", "1.0.0.1:3479=9.9.9.9:5000"];
    row(
        &kept,
        Mapping::EndpointIndependent,
        &[MappingSame, PortPreserved, OneRelay],
    );
    let moved = ["1.0.0.1:3478=9.9.9.9:777", "1.0.0.1:3479=9.9.9.9:777"];
    row(
        &moved,
        Mapping::EndpointIndependent,
        &[MappingSame, OneRelay],
    );
    let by_port = ["1.0.0.1:3478=9.9.9.9:777", "1.0.0.1:3479=9.9.9.9:778"];
    row(
        &by_port,
        Mapping::AddressAndPortDependent,
        &[MappingDiffers, OneRelay],
    );
    row(&moved[..1], Mapping::Unknown, &[MappingUnknown]);
    row(&[], Mapping::Unknown, &[]);
}

/// Whether complete strangers' packets come in nobody could try.
#[test]
fn one_relay_is_said_where_it_limits_filtering() {
    let local: &[&str] = &["1.0.0.1:3478=10.0.0.9:5000", "1.0.0.1:3479=10.0.0.9:5000"];
    let said = |filtering| {
        let seen = Seen {
            filtering,
            ..seen([local; 2])
        };
        classify(&seen, &[at("10.0.0.9:1").ip()]).evidence
    };
    assert_eq!(said(Filtering::AddressDependent), [NoNat, OneRelay]);
    assert_eq!(said(Filtering::AddressAndPortDependent), [NoNat]);
}

#[test]
fn two_relays() {
    let first = "1.0.0.1:3478=9.9.9.9:777";
    let same = [
        first,
        "1.0.0.2:3478=9.9.9.9:777",
        "1.0.0.2:3479=9.9.9.9:777",
    ];
    row(&same, Mapping::EndpointIndependent, &[MappingSame]);
    let by_address = [
        first,
        "1.0.0.2:3478=9.9.9.9:778",
        "1.0.0.2:3479=9.9.9.9:778",
    ];
    row(&by_address, Mapping::AddressDependent, &[MappingDiffers]);
    let by_both = [
        first,
        "1.0.0.2:3478=9.9.9.9:778",
        "1.0.0.2:3479=9.9.9.9:779",
    ];
    row(
        &by_both,
        Mapping::AddressAndPortDependent,
        &[MappingDiffers],
    );
    // Ports were not compared: the worse is assumed.
    row(
        &by_address[..2],
        Mapping::AddressAndPortDependent,
        &[MappingDiffers],
    );
}

#[test]
fn another_port_of_the_same_address_is_another_mapping() {
    let pool = ["1.0.0.1:3478=9.9.9.9:777", "1.0.0.2:3478=9.9.9.9:778"];
    assert_eq!(twice(&pool).1[0], Evidence::MappingDiffers);
}

#[test]
fn a_foreign_address_or_port_is_not_local() {
    let foreign_address = ["1.0.0.1:3478=10.0.0.8:5000", "1.0.0.1:3479=10.0.0.8:5000"];
    let foreign_port = ["1.0.0.1:3478=10.0.0.9:5001", "1.0.0.1:3479=10.0.0.9:5001"];
    for answers in [foreign_address, foreign_port] {
        assert_eq!(twice(&answers).0, Mapping::EndpointIndependent);
    }
}

#[test]
fn rounds_must_agree_or_the_worse_counts() {
    let same: &[&str] = &["1.0.0.1:3478=9.9.9.9:777", "1.0.0.1:3479=9.9.9.9:777"];
    let differs: &[&str] = &["1.0.0.1:3478=9.9.9.9:777", "1.0.0.1:3479=9.9.9.9:778"];
    for rounds in [[same, differs], [differs, same]] {
        let (mapping, evidence) = of(rounds);
        assert_eq!(mapping, Mapping::AddressAndPortDependent);
        assert!(evidence.contains(&Evidence::Unstable));
    }
    for rounds in [[same, &[]], [&[], same], [same, &same[..1]]] {
        let (mapping, evidence) = of(rounds);
        assert_eq!(mapping, Mapping::EndpointIndependent);
        assert!(
            !evidence.contains(&Evidence::Unstable),
            "a round without enough answers says nothing"
        );
    }
}

#[test]
fn one_word_for_each_nat() {
    for (mapping, filtering, word) in [
        (Mapping::None, Filtering::Unknown, NatType::None),
        (
            Mapping::EndpointIndependent,
            Filtering::EndpointIndependent,
            NatType::FullCone,
        ),
        (
            Mapping::EndpointIndependent,
            Filtering::AddressDependent,
            NatType::AddressRestricted,
        ),
        (
            Mapping::EndpointIndependent,
            Filtering::AddressAndPortDependent,
            NatType::PortRestricted,
        ),
        (
            Mapping::EndpointIndependent,
            Filtering::Unknown,
            NatType::EndpointIndependent,
        ),
        (
            Mapping::AddressDependent,
            Filtering::EndpointIndependent,
            NatType::Symmetric,
        ),
        (
            Mapping::AddressAndPortDependent,
            Filtering::Unknown,
            NatType::Symmetric,
        ),
        (Mapping::Unknown, Filtering::Unknown, NatType::Unknown),
    ] {
        assert_eq!(nat_type(mapping, filtering), word);
    }
}
