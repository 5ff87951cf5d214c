//! Bodies of the local API. What a peer says of its services is [`crate::ServiceList`], of itself [`crate::Status`].

use peerup_protocol::grade::Path;
use peerup_protocol::id::PeerName;
use peerup_protocol::service::{Expose, Forward};
use serde::{Deserialize, Serialize};

use crate::status::Badge;

/// Asks about another peer: `POST` to ping, trace, comparisons and digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    /// Its name.
    pub(super) peer: PeerName,
}

/// A peer's answer to a ping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pong {
    /// Its name.
    pub peer: PeerName,
    /// Its identity.
    #[serde(rename = "peerID")]
    pub peer_id: String,
    /// Time there and back.
    pub milliseconds: f64,
    /// Direct or relayed.
    pub path: Path,
    /// Its address as this side sees it.
    pub address: String,
    /// Whether a person here has compared with it.
    pub badge: Badge,
}

/// What lies on the way to a peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hop {
    /// True of a relay.
    pub relay: bool,
    /// The peer's name; `relay-<ordinal>` of a relay.
    pub name: String,
    /// Its identity.
    #[serde(rename = "peerID")]
    pub peer_id: String,
    /// Time there and back; nothing when it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<f64>,
    /// Its address as this side sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// This side's address as it sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// Whether a person here has compared with it; nothing of a relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub badge: Option<Badge>,
}

/// What two people compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// What the decision is sent for; of no meaning to people.
    pub id: String,
    /// The other peer's name.
    pub peer: PeerName,
    /// The other peer's identity.
    #[serde(rename = "peerID")]
    pub peer_id: String,
    /// Four pictures, in order.
    pub emoji: Vec<Emoji>,
    /// Six digits, `500-305`.
    pub digits: String,
    /// What is stored when both say yes, `sha256:…`.
    pub fingerprint: String,
    /// How long the two have to say it.
    pub seconds_left: u64,
}

/// One of the pictures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emoji {
    /// The picture.
    pub glyph: String,
    /// Its name.
    pub name: String,
}

/// What the person here says: `POST` to a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decision {
    /// Both sides show the same.
    pub(super) same: bool,
}

/// How a comparison ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Both people have said that it is the same: the peer is verified.
    Same,
    /// The person here has said no.
    RefusedHere,
    /// The other person has said no.
    RefusedThere,
    /// The other person has said nothing in time.
    Unanswered,
}

/// [`Outcome`] in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Decided {
    pub(super) outcome: Outcome,
}

/// Sixty digits, the same at both peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digits {
    pub(super) digits: String,
}

/// What the other person reads out: `PUT` to digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadOut {
    pub(super) peer: PeerName,
    pub(super) digits: String,
}

/// Whether they were the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Compared {
    pub(super) same: bool,
}

/// `POST` to exposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Offering {
    pub(super) service: Expose,
}

/// `POST` to forwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Forwarding {
    pub(super) forward: Forward,
}
