//! From what servers saw to the NAT's behaviour (RFC 4787, RFC 5780).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use peerup_protocol::grade::{Evidence, Filtering, Mapping, NatType};

use crate::prober::{Answer, Seen};

/// The NAT of one IP version, as far as two rounds of questions tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nat {
    /// Which outside address a socket gets.
    pub mapping: Mapping,
    /// One of the outside addresses; nothing if nobody answered.
    pub mapped: Option<SocketAddr>,
    /// What was observed beside: the mapping's code first.
    pub evidence: Vec<Evidence>,
}

/// Reads both rounds. `interfaces` are the machine's own addresses.
#[must_use]
pub fn classify(seen: &Seen, interfaces: &[IpAddr]) -> Nat {
    let local = |mapped: &SocketAddr| {
        Some(mapped.port()) == seen.local_port && interfaces.contains(&mapped.ip())
    };
    let [first, second] = seen.rounds.each_ref().map(|round| mapping_of(round, local));
    let (mapping, agree) = both(first, second);
    let mapped = seen
        .rounds
        .iter()
        .flatten()
        .next()
        .map(|answer| answer.mapped);
    let mut evidence = Vec::new();
    evidence.extend(mapped.map(|_| mapping_evidence(mapping)));
    if !agree || seen.filtering_differs {
        evidence.push(Evidence::Unstable);
    }
    if mapping != Mapping::None
        && mapped.is_some_and(|mapped| Some(mapped.port()) == seen.local_port)
    {
        evidence.push(Evidence::PortPreserved);
    }
    let is_coarse = matches!(
        mapping,
        Mapping::EndpointIndependent | Mapping::AddressAndPortDependent
    ) || seen.filtering == Filtering::AddressDependent;
    if is_coarse && is_one_server(seen) {
        evidence.push(Evidence::OneRelay);
    }
    if seen.rewritten {
        evidence.push(Evidence::OriginDiffers);
    }
    if seen.hairpin && mapping != Mapping::None {
        evidence.push(Evidence::Hairpin);
    }
    Nat {
        mapping,
        mapped,
        evidence,
    }
}

/// The NAT in one word.
#[must_use]
pub fn nat_type(mapping: Mapping, filtering: Filtering) -> NatType {
    match (mapping, filtering) {
        (Mapping::None, _) => NatType::None,
        (Mapping::Unknown, _) => NatType::Unknown,
        (Mapping::AddressDependent | Mapping::AddressAndPortDependent, _) => NatType::Symmetric,
        (Mapping::EndpointIndependent, Filtering::EndpointIndependent) => NatType::FullCone,
        (Mapping::EndpointIndependent, Filtering::AddressDependent) => NatType::AddressRestricted,
        (Mapping::EndpointIndependent, Filtering::AddressAndPortDependent) => {
            NatType::PortRestricted
        }
        (Mapping::EndpointIndependent, Filtering::Unknown) => NatType::EndpointIndependent,
    }
}

/// One round's verdict; nothing without an answer.
fn mapping_of(answers: &[Answer], local: impl Fn(&SocketAddr) -> bool) -> Option<Mapping> {
    let first = answers.first()?.mapped;
    Some(if answers.iter().any(|answer| answer.mapped != first) {
        dependent(answers)
    } else if local(&first) {
        Mapping::None
    } else if answers.len() > 1 {
        Mapping::EndpointIndependent
    } else {
        Mapping::Unknown
    })
}

/// Answers differ. Address-dependent only if that was seen: ports of one address
/// agree, addresses do not. Another port of one address is port-dependent.
fn dependent(answers: &[Answer]) -> Mapping {
    let mut by_address: BTreeMap<IpAddr, Vec<SocketAddr>> = BTreeMap::new();
    for answer in answers {
        by_address
            .entry(answer.server.ip())
            .or_default()
            .push(answer.mapped);
    }
    let agrees = |ports: &Vec<SocketAddr>| ports.windows(2).all(|pair| pair[0] == pair[1]);
    let tested = by_address.values().any(|ports| ports.len() > 1);
    if tested && by_address.values().all(agrees) {
        Mapping::AddressDependent
    } else {
        Mapping::AddressAndPortDependent
    }
}

/// Two rounds must agree; when they do not, the worse one counts. A round without
/// an answer, or with too few, says nothing against the other.
fn both(first: Option<Mapping>, second: Option<Mapping>) -> (Mapping, bool) {
    let measured =
        |mapping: Option<Mapping>| mapping.filter(|mapping| *mapping != Mapping::Unknown);
    match (measured(first), measured(second)) {
        (Some(a), Some(b)) if badness(a) >= badness(b) => (a, a == b),
        (Some(_), Some(b)) => (b, false),
        (Some(a), None) | (None, Some(a)) => (a, true),
        (None, None) => (Mapping::Unknown, true),
    }
}

fn badness(mapping: Mapping) -> u8 {
    match mapping {
        Mapping::Unknown => 0,
        Mapping::None => 1,
        Mapping::EndpointIndependent => 2,
        Mapping::AddressDependent => 3,
        Mapping::AddressAndPortDependent => 4,
    }
}

fn mapping_evidence(mapping: Mapping) -> Evidence {
    match mapping {
        Mapping::None => Evidence::NoNat,
        Mapping::EndpointIndependent => Evidence::MappingSame,
        Mapping::AddressDependent | Mapping::AddressAndPortDependent => Evidence::MappingDiffers,
        Mapping::Unknown => Evidence::MappingUnknown,
    }
}

fn is_one_server(seen: &Seen) -> bool {
    let mut servers = seen
        .rounds
        .iter()
        .flatten()
        .map(|answer| answer.server.ip());
    let first = servers.next();
    servers.all(|server| Some(server) == first)
}
