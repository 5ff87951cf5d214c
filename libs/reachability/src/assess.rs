//! The grade, with its evidence.
//!
//! | grade | rule |
//! |---|---|
//! | A | IPv6 without NAT, in scope, strangers' packets arrive |
//! | B | strangers' packets arrive, or one mapping and packets of known addresses arrive |
//! | C | one mapping (or no NAT) and filtering by port or unknown; IPv6 that nobody confirmed; nobody outside to ask |
//! | D | a mapping per destination; carrier-grade NAT; UDP blocked while a relay is reachable over TCP; mapping not known |
//! | F | no usable address, or neither relay nor STUN answers |
//!
//! IPv4 and IPv6 are graded apart; the better one counts.

#[cfg(test)]
mod tests;
mod words;

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use peerup_protocol::grade::{
    Confidence, Evidence, Filtering, Grade, IpVersion, Mapping, NatType, Path, Scope,
};
use peerup_protocol::report::Report;
use peerup_protocol::{PeerId, UnixTime};

use crate::address::{World, is_carrier_grade, is_usable};
use crate::nat::{classify, nat_type};
use crate::prober::{Measurement, Seen};

/// Most addresses in an assessment.
const MAX_ADDRESSES: usize = 8;

/// Everything a grade rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The world in which the peer is graded.
    pub world: World,
    /// Whether the peer is in an injected pod: there 100.64.0.0/10 may be the pods' range.
    pub in_pod: bool,
    /// Addresses of all interfaces, as the system lists them.
    pub interfaces: Vec<IpAddr>,
    /// The address from which the default route starts, if known.
    pub route: Option<IpAddr>,
    /// What the default gateway says of its own outside address (NAT-PMP), if it was asked and says so.
    pub gateway_outside: Option<Ipv4Addr>,
    /// Connections to relays.
    pub links: Vec<Link>,
    /// What STUN servers saw.
    pub measurement: Measurement,
}

/// A connection to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Over which IP version.
    pub version: IpVersion,
    /// Over which transport.
    pub transport: Transport,
}

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// QUIC over UDP.
    Quic,
}

/// How well the peer is reachable, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// The grade.
    pub grade: Grade,
    /// One sentence for people.
    pub reason: String,
    /// In which world.
    pub scope: Scope,
    /// The NAT in one word.
    pub nat_type: NatType,
    /// Measured mapping.
    pub mapping: Mapping,
    /// Measured filtering.
    pub filtering: Filtering,
    /// How much stands behind the grade.
    pub confidence: Confidence,
    /// Why, the decisive code first.
    pub evidence: Vec<Evidence>,
    /// Addresses in scope at which the outside sees the peer.
    pub public_addresses: Vec<IpAddr>,
    /// The IP version that decided; nothing without any address.
    pub version: Option<IpVersion>,
}

impl Assessment {
    /// The report of this assessment.
    #[must_use]
    pub fn report(
        &self,
        path: Path,
        relays: Vec<PeerId>,
        changed_time: UnixTime,
        version: &str,
    ) -> Report {
        Report {
            grade: self.grade,
            grade_reason: self.reason.clone(),
            scope: self.scope,
            nat_type: self.nat_type,
            mapping: self.mapping,
            filtering: self.filtering,
            confidence: self.confidence,
            evidence: self.evidence.clone(),
            public_addresses: self.public_addresses.clone(),
            path,
            relays,
            changed_time,
            version: version.to_owned(),
        }
    }
}

/// The verdict about one IP version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    version: IpVersion,
    grade: Grade,
    nat_type: NatType,
    mapping: Mapping,
    filtering: Filtering,
    confidence: Confidence,
    evidence: Vec<Evidence>,
    addresses: Vec<IpAddr>,
}

/// Grades the facts.
#[must_use]
pub fn assess(facts: &Facts) -> Assessment {
    let verdicts = [IpVersion::V4, IpVersion::V6].map(|version| judge(facts, version));
    let addresses: Vec<IpAddr> = verdicts
        .iter()
        .flatten()
        .flat_map(|verdict| verdict.addresses.clone())
        .collect();
    let best = verdicts
        .into_iter()
        .flatten()
        .min_by_key(|verdict| (Reverse(verdict.grade), verdict.confidence, verdict.version));
    let Some(best) = best else {
        return offline(facts.world.scope);
    };
    Assessment {
        grade: best.grade,
        reason: words::reason(&best.evidence, best.version),
        scope: facts.world.scope,
        nat_type: best.nat_type,
        mapping: best.mapping,
        filtering: best.filtering,
        confidence: best.confidence,
        evidence: best.evidence,
        public_addresses: addresses.into_iter().take(MAX_ADDRESSES).collect(),
        version: Some(best.version),
    }
}

fn offline(scope: Scope) -> Assessment {
    let evidence = vec![Evidence::NoAddress];
    Assessment {
        grade: Grade::F,
        reason: words::reason(&evidence, IpVersion::V4),
        scope,
        nat_type: NatType::Unknown,
        mapping: Mapping::Unknown,
        filtering: Filtering::Unknown,
        confidence: Confidence::Measured,
        evidence,
        public_addresses: Vec::new(),
        version: None,
    }
}

/// One IP version; nothing if no interface has a usable address of it.
fn judge(facts: &Facts, version: IpVersion) -> Option<Verdict> {
    let is_v4 = version == IpVersion::V4;
    let own = facts.interfaces.iter().map(IpAddr::to_canonical);
    let own: Vec<IpAddr> = own
        .filter(|ip| ip.is_ipv4() == is_v4 && is_usable(*ip))
        .collect();
    if own.is_empty() {
        return None;
    }
    let seen = facts.measurement.of(version);
    Some(match (seen.answered(), seen.local_port) {
        (true, _) => measured(facts, version, &own, seen),
        (false, Some(_)) => silent(facts, version),
        (false, None) => unasked(facts, version, &own),
    })
}

/// Somebody outside saw us.
fn measured(facts: &Facts, version: IpVersion, own: &[IpAddr], seen: &Seen) -> Verdict {
    let nat = classify(seen, own);
    let filtering = seen.filtering;
    let addresses: Vec<IpAddr> = nat
        .mapped
        .iter()
        .map(|mapped| mapped.ip())
        .filter(|ip| facts.world.contains(*ip))
        .collect();
    let public_v6 =
        version == IpVersion::V6 && nat.mapping == Mapping::None && !addresses.is_empty();
    // Who is seen at an own address is behind nobody.
    let translated = nat.mapped.filter(|_| nat.mapping != Mapping::None);
    let carrier = carrier(facts, version, translated);
    let (grade, confidence, decisive) = match (nat.mapping, filtering) {
        (Mapping::AddressDependent | Mapping::AddressAndPortDependent, _) => {
            (Grade::D, Confidence::Measured, None)
        }
        _ if carrier.is_some() => (Grade::D, Confidence::Measured, carrier),
        (Mapping::Unknown, _) => (Grade::D, Confidence::Claimed, None),
        (Mapping::None | Mapping::EndpointIndependent, filtering) => {
            by_filtering(filtering, version, public_v6)
        }
    };
    let evidence = decisive.into_iter().chain(nat.evidence).collect();
    let nat_type = nat_type(nat.mapping, filtering);
    Verdict {
        version,
        grade,
        nat_type,
        mapping: nat.mapping,
        filtering,
        confidence,
        evidence,
        addresses,
    }
}

/// One mapping, or none: what comes in decides.
fn by_filtering(
    filtering: Filtering,
    version: IpVersion,
    public_v6: bool,
) -> (Grade, Confidence, Option<Evidence>) {
    let (grade, confidence, evidence) = match (filtering, version) {
        (Filtering::EndpointIndependent, IpVersion::V6) if public_v6 => {
            (Grade::A, Confidence::Verified, Evidence::Ipv6ProbeOk)
        }
        (Filtering::EndpointIndependent, IpVersion::V6) => {
            (Grade::B, Confidence::Verified, Evidence::Ipv6ProbeOk)
        }
        (Filtering::EndpointIndependent, IpVersion::V4) => {
            (Grade::B, Confidence::Verified, Evidence::Ipv4ProbeOk)
        }
        (Filtering::AddressDependent, _) => {
            (Grade::B, Confidence::Measured, Evidence::FilteringAddress)
        }
        (Filtering::AddressAndPortDependent, _) => {
            (Grade::C, Confidence::Measured, Evidence::FilteringPort)
        }
        (Filtering::Unknown, _) => (
            Grade::C,
            Confidence::Measured,
            Evidence::FilteringUntestable,
        ),
    };
    (grade, confidence, Some(evidence))
}

/// Servers were asked and none answered.
fn silent(facts: &Facts, version: IpVersion) -> Verdict {
    let has = |transport| facts.links.contains(&Link { version, transport });
    if has(Transport::Quic) {
        return plain(
            version,
            Grade::D,
            Confidence::Claimed,
            NatType::Unknown,
            Evidence::MappingUnknown,
        );
    }
    if has(Transport::Tcp) {
        return plain(
            version,
            Grade::D,
            Confidence::Measured,
            NatType::UdpBlocked,
            Evidence::UdpBlocked,
        );
    }
    plain(
        version,
        Grade::F,
        Confidence::Measured,
        NatType::Unknown,
        Evidence::NothingAnswers,
    )
}

/// There is no server to ask in this world.
fn unasked(facts: &Facts, version: IpVersion, own: &[IpAddr]) -> Verdict {
    let v4 = facts.measurement.v4.answered();
    let online = !facts.links.is_empty() || v4;
    let public: Vec<IpAddr> = own
        .iter()
        .copied()
        .filter(|ip| facts.world.contains(*ip))
        .collect();
    let linked = facts.links.iter().any(|link| link.version == version);
    if !online || (version == IpVersion::V6 && public.is_empty() && !linked) {
        return plain(
            version,
            Grade::F,
            Confidence::Measured,
            NatType::Unknown,
            Evidence::NothingAnswers,
        );
    }
    if let Some(evidence) = carrier(facts, version, None) {
        return plain(
            version,
            Grade::D,
            Confidence::Measured,
            NatType::Unknown,
            evidence,
        );
    }
    let evidence = match version {
        IpVersion::V4 => Evidence::NoOutsideVantage,
        IpVersion::V6 => Evidence::Ipv6Unconfirmed,
    };
    let mut verdict = plain(
        version,
        Grade::C,
        Confidence::Claimed,
        NatType::Unknown,
        evidence,
    );
    verdict.addresses = public;
    verdict
}

fn plain(
    version: IpVersion,
    grade: Grade,
    confidence: Confidence,
    nat_type: NatType,
    evidence: Evidence,
) -> Verdict {
    Verdict {
        version,
        grade,
        nat_type,
        mapping: Mapping::Unknown,
        filtering: Filtering::Unknown,
        confidence,
        evidence: vec![evidence],
        addresses: Vec::new(),
    }
}

/// Whether somebody else translates beyond this peer's own network: outside of pods, in the Internet's scope, an address
/// of 100.64.0.0/10 at the default route is a carrier's; so is one that the gateway says it has outside, where the
/// Internet sees the peer at another. A gateway with another private address stands behind a second router, which may
/// be at home, too: that says nothing.
fn carrier(facts: &Facts, version: IpVersion, mapped: Option<SocketAddr>) -> Option<Evidence> {
    let looked_for =
        version == IpVersion::V4 && !facts.in_pod && facts.world.scope == Scope::Internet;
    if !looked_for {
        return None;
    }
    if facts.route.is_some_and(is_carrier_grade) {
        return Some(Evidence::CgnatLocalAddress);
    }
    let outside = IpAddr::from(facts.gateway_outside?);
    let differs = mapped?.ip() != outside;
    (is_carrier_grade(outside) && differs).then_some(Evidence::CgnatGatewayAddress)
}
