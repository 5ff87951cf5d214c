//! JSON bodies of the operator API. Bytes are base64 strings, ids as they are
//! shown to people, times Unix seconds.

mod relay_signature;
#[cfg(test)]
mod tests;

pub use relay_signature::{InvalidRelaySignature, RelaySignature};

use std::fmt;

use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};

use crate::code::HandshakeKind;
use crate::grade::{Scope, words};
use crate::id::{GroupId, PeerName, Serial, Slot};
use crate::record::Signed;
use crate::report::Report;
use crate::secret::SecretText;
use crate::{PeerId, UnixTime};

/// Largest body of a request, in bytes.
pub const MAX_BODY: usize = 64 * 1024;
/// Header of relay calls: a [`RelaySignature`].
pub const RELAY_SIGNATURE_HEADER: &str = "Peerup-Relay-Signature";
/// Header of a request that another replica passed on.
pub const HOP_HEADER: &str = "Peerup-Hop";

/// Paths of the API.
pub mod path {
    /// `POST`, sidecar: a code for this pod.
    pub const ATTEST: &str = "/v1/attest";
    /// `POST`, sidecar, or relay for outside peers: a report.
    pub const REPORT: &str = "/v1/report";
    /// `POST`, relay: the salt of a slot.
    pub const LOOKUP: &str = "/v1/relay/lookup";
    /// `POST`, relay: a record for a joiner.
    pub const REDEEM: &str = "/v1/relay/redeem";
    /// `POST`, relay: a failed attempt.
    pub const FAILURE: &str = "/v1/relay/failure";
    /// `POST`, relay: a new record for a member.
    pub const RENEW: &str = "/v1/relay/renew";
    /// `POST`, relay: who is online.
    pub const PRESENCE: &str = "/v1/relay/presence";
    /// `GET`, relay: long poll for roster and lists.
    pub const ROSTER: &str = "/v1/relay/roster";
}

/// `POST /v1/attest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttestRequest {
    /// The sidecar's identity.
    #[serde(rename = "peerID", with = "crate::peer_text")]
    pub peer_id: PeerId,
    /// Its signature over [`crate::message::attest`].
    #[serde(with = "crate::base64")]
    pub signature: [u8; 64],
}

/// Answer of `POST /v1/attest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttestAnswer {
    /// A code that works only for the asking identity.
    pub code: SecretText,
    /// The name to ask for.
    pub name: PeerName,
    /// How to measure and report.
    pub settings: Settings,
}

/// Settings of the network that a sidecar needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Which addresses count as public.
    pub scope: Scope,
    /// Ranges that count as public in scope Internal, as `address/length`.
    #[serde(rename = "internalCIDRs")]
    pub internal_cidrs: Vec<String>,
    /// Between two measurements.
    pub probe_period_seconds: u32,
    /// Between two reports.
    pub report_period_seconds: u32,
    /// How long silence lasts before a peer is offline.
    pub offline_after_seconds: u32,
    /// How long a worse grade must last before it is reported.
    pub stabilization_seconds: u32,
    /// STUN servers of others for scope Internet, each `host:port`.
    #[serde(default)]
    pub stun_servers: Vec<String>,
}

/// `POST /v1/report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ReportRequest {
    /// From a relay, for a peer outside the cluster.
    Outside(OutsideReport),
    /// From a sidecar, about its own pod.
    Pod(PodReport),
}

/// A sidecar's report; the token says whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodReport {
    /// The report.
    pub report: Report,
}

/// An outside peer's report, passed on by a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutsideReport {
    /// Whose.
    #[serde(rename = "peerID", with = "crate::peer_text")]
    pub peer_id: PeerId,
    /// When it was made.
    pub time: UnixTime,
    /// The report's JSON, the exact text that is signed.
    pub report: String,
    /// The peer's signature over [`crate::message::report`].
    #[serde(with = "crate::base64")]
    pub signature: [u8; 64],
}

/// Answer of `POST /v1/report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportAnswer {
    /// The settings as they are now.
    pub settings: Settings,
}

/// `POST /v1/relay/lookup`; 404 for an unknown group or slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LookupRequest {
    /// Which handshake.
    pub kind: HandshakeKind,
    /// The group of M1.
    pub group: GroupId,
    /// The slot of M1.
    pub slot: Slot,
    /// The joiner.
    #[serde(rename = "peerID", with = "crate::peer_text")]
    pub peer_id: PeerId,
}

/// Answer of `POST /v1/relay/lookup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LookupAnswer {
    /// The handshake's salt.
    #[serde(with = "crate::base64")]
    pub salt: [u8; 32],
    /// An attested join: a pool of its own, neither counted nor limited per source.
    pub attested: bool,
}

/// `POST /v1/relay/redeem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedeemRequest {
    /// Which handshake.
    pub kind: HandshakeKind,
    /// The group of M1.
    pub group: GroupId,
    /// The slot of M1.
    pub slot: Slot,
    /// The joiner, as its connection proves.
    #[serde(rename = "peerID", with = "crate::peer_text")]
    pub peer_id: PeerId,
    /// The name it asks for.
    pub name: PeerName,
    /// The code key's signature over [`crate::message::join`].
    #[serde(with = "crate::base64")]
    pub proof: [u8; 64],
    /// The joiner's signature over [`crate::message::join_identity`].
    #[serde(with = "crate::base64")]
    pub identity: [u8; 64],
}

/// Answer of `POST /v1/relay/redeem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RedeemAnswer {
    /// The joiner is a member.
    Record(IssuedRecord),
    /// It is not; the relay stays silent.
    Refused(Refused),
}

/// A record, and the key that signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedRecord {
    /// The member record's bytes.
    #[serde(with = "crate::base64")]
    pub record: Vec<u8>,
    /// The network key's signature over them.
    #[serde(with = "crate::base64")]
    pub signature: [u8; 64],
    /// The network's key.
    #[serde(with = "crate::base64")]
    pub network_public_key: [u8; 32],
}

/// Why a joiner is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// For the relay's metric; the joiner never learns it.
    pub refused: RefusalReason,
    /// Whether it was counted against the group.
    pub counted: bool,
}

words! {
    /// Why an attempt failed: metric label and event, never told to the joiner.
    RefusalReason {
        /// No such group.
        UnknownGroup = "UnknownGroup",
        /// No such slot in the group.
        UnknownSlot = "UnknownSlot",
        /// The code's time is over.
        Expired = "Expired",
        /// Another peer has used the code.
        Used = "Used",
        /// The peer that used the code was revoked or deleted.
        Closed = "Closed",
        /// The group was burned.
        Burned = "Burned",
        /// The code or the peer was revoked.
        Revoked = "Revoked",
        /// The joiner does not know the secret.
        BadMac = "BadMac",
        /// The MAC was right and a signature was not.
        BadSignature = "BadSignature",
        /// Its source failed a moment ago, or too many asked for groups that nobody knows.
        Limited = "Limited",
        /// Not a message of this protocol.
        Malformed = "Malformed",
        /// The joiner did not go on in time.
        Timeout = "Timeout",
        /// The network has as many peers as it may.
        Full = "Full",
        /// The network is suspended.
        Suspended = "Suspended",
        /// No free name.
        NameTaken = "NameTaken",
        /// The pod behind an attested join is gone.
        PodGone = "PodGone",
        /// The operator could not be asked or could not write.
        Unavailable = "Unavailable",
    }
}

/// `POST /v1/relay/failure`; the answer `{}` comes after the count is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureRequest {
    /// The group of M1.
    pub group: GroupId,
    /// The slot of M1.
    pub slot: Slot,
    /// The joiner.
    #[serde(rename = "peerID", with = "crate::peer_text")]
    pub peer_id: PeerId,
    /// What went wrong.
    pub reason: RefusalReason,
}

/// An answer without content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

/// `POST /v1/relay/renew`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewRequest {
    /// The member, as its connection proves.
    #[serde(rename = "peerID", with = "crate::peer_text")]
    pub peer_id: PeerId,
}

/// Answer of `POST /v1/relay/renew`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewAnswer {
    /// The member record's bytes.
    #[serde(with = "crate::base64")]
    pub record: Vec<u8>,
    /// The network key's signature over them.
    #[serde(with = "crate::base64")]
    pub signature: [u8; 64],
}

/// `POST /v1/relay/presence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceRequest {
    /// Members connected to this relay.
    #[serde(with = "crate::peer_text::list")]
    pub online: Vec<PeerId>,
    /// Reservations it holds.
    pub reservations: u32,
}

/// Answer of `POST /v1/relay/presence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceAnswer {
    /// The relay's outside addresses.
    pub addresses: Vec<Multiaddr>,
    /// Its limits as they are now.
    pub limits: Limits,
}

/// Limits of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Reservations in all.
    pub max_reservations: u32,
    /// Circuits in all.
    pub max_circuits: u32,
    /// How long one circuit may last, in seconds.
    pub circuit_timeout_seconds: u32,
    /// Bytes of one circuit, both directions; 0 is unlimited.
    pub circuit_data_limit: u64,
    /// Strangers in the middle of pairing.
    pub max_probationary_peers: u32,
    /// How long one may take, in seconds.
    pub probation_timeout_seconds: u32,
}

/// Answer of `GET /v1/relay/roster?run=&seq=`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RosterAnswer {
    /// Random, drawn at the leader's election; another run means a full sync.
    pub run: u64,
    /// How far the roster goes.
    pub seq: u64,
    /// Drop what is not in `records`.
    pub full: bool,
    /// Member records, new or changed.
    pub records: Vec<Signed>,
    /// Members that are gone.
    pub gone: Vec<Serial>,
    /// The newest revocations.
    pub revocations: Signed,
    /// The newest network document.
    pub network_document: Signed,
}

/// An error, as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `about:blank` or a URI of the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// What went wrong, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was expected, what came, what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Problem {
    /// The media type of such a body.
    pub const MEDIA_TYPE: &str = "application/problem+json";

    /// One whose title alone tells it apart.
    #[must_use]
    pub fn new(title: &str, status: u16, detail: &impl fmt::Display) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: title.to_owned(),
            status,
            detail: Some(detail.to_string()),
        }
    }
}

impl From<IssuedRecord> for Signed {
    fn from(issued: IssuedRecord) -> Self {
        Self {
            bytes: issued.record,
            signature: issued.signature,
        }
    }
}

impl From<RenewAnswer> for Signed {
    fn from(answer: RenewAnswer) -> Self {
        Self {
            bytes: answer.record,
            signature: answer.signature,
        }
    }
}
