//! One full measurement with everything it rests on: one JSON for `peerup netcheck` and for the sidecar's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use jiff::Timestamp;
use peerup_protocol::grade::{
    Confidence, Evidence, Filtering, Grade, IpVersion, Mapping, NatType, Scope,
};
use peerup_reachability::prober::{Answer, Seen};
use peerup_reachability::{Assessment, Facts, Link, Transport};
use serde::{Deserialize, Serialize};

use crate::status::Trigger;

pub mod text;

/// A measurement and its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Netcheck {
    /// When it ended.
    pub time: Timestamp,
    /// What it was made for.
    pub trigger: Trigger,
    /// How long it took.
    pub milliseconds: u64,
    /// Addresses of the interfaces, loopback left out.
    pub interfaces: Vec<IpAddr>,
    /// The address from which the default route starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<IpAddr>,
    /// What the default gateway says of its own outside address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_outside: Option<Ipv4Addr>,
    /// Connections to relays.
    pub relay_connections: Vec<RelayConnection>,
    /// What STUN servers answered, by IP version; a version that was not asked about is left out.
    pub stun: Vec<Stun>,
    /// What follows from all that.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A connection to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelayConnection {
    /// Over which IP version.
    pub ip_version: IpVersion,
    /// Over which transport.
    pub transport: Carrier,
}

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Carrier {
    /// TCP.
    #[serde(rename = "TCP")]
    Tcp,
    /// QUIC over UDP.
    #[serde(rename = "QUIC")]
    Quic,
}

impl Carrier {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Quic => "QUIC",
        }
    }
}

/// Questions and answers over one IP version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stun {
    /// The IP version.
    pub ip_version: IpVersion,
    /// Port of the socket that asked.
    pub local_port: u16,
    /// The answers of each round.
    pub rounds: Vec<Vec<Mapped>>,
    /// Which packets come in.
    pub filtering: Filtering,
}

/// One server's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mapped {
    /// Who answered.
    pub server: SocketAddr,
    /// This peer's address as it saw it.
    pub mapped: SocketAddr,
}

/// The grade and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The grade.
    pub grade: Grade,
    /// One sentence for people.
    pub grade_reason: String,
    /// In which world it is graded.
    pub scope: Scope,
    /// The NAT in one word.
    pub nat_type: NatType,
    /// Measured mapping.
    pub mapping: Mapping,
    /// Measured filtering.
    pub filtering: Filtering,
    /// How much stands behind the grade.
    pub confidence: Confidence,
    /// Why, the decisive one first.
    pub evidence: Vec<Evidence>,
    /// Addresses in scope at which the outside sees this peer.
    pub public_addresses: Vec<IpAddr>,
}

impl Netcheck {
    pub(crate) fn new(
        facts: &Facts,
        assessment: &Assessment,
        trigger: Trigger,
        time: Timestamp,
        milliseconds: u64,
    ) -> Self {
        let stun = [IpVersion::V4, IpVersion::V6]
            .into_iter()
            .filter_map(|version| Stun::of(version, facts.measurement.of(version)));
        Self {
            time,
            trigger,
            milliseconds,
            interfaces: facts.interfaces.clone(),
            default_route: facts.route,
            gateway_outside: facts.gateway_outside,
            relay_connections: facts.links.iter().map(RelayConnection::of).collect(),
            stun: stun.collect(),
            verdict: Verdict::of(assessment),
        }
    }
}

impl RelayConnection {
    const fn of(link: &Link) -> Self {
        Self {
            ip_version: link.version,
            transport: match link.transport {
                Transport::Tcp => Carrier::Tcp,
                Transport::Quic => Carrier::Quic,
            },
        }
    }
}

impl Stun {
    fn of(ip_version: IpVersion, seen: &Seen) -> Option<Self> {
        let mapped = |answer: &Answer| Mapped {
            server: answer.server,
            mapped: answer.mapped,
        };
        let rounds = seen.rounds.iter();
        Some(Self {
            ip_version,
            local_port: seen.local_port?,
            rounds: rounds
                .map(|round| round.iter().map(mapped).collect())
                .collect(),
            filtering: seen.filtering,
        })
    }
}

impl Verdict {
    fn of(assessment: &Assessment) -> Self {
        Self {
            grade: assessment.grade,
            grade_reason: assessment.reason.clone(),
            scope: assessment.scope,
            nat_type: assessment.nat_type,
            mapping: assessment.mapping,
            filtering: assessment.filtering,
            confidence: assessment.confidence,
            evidence: assessment.evidence.clone(),
            public_addresses: assessment.public_addresses.clone(),
        }
    }
}
