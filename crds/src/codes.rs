//! PairingCode: codes that people and machines join a network with, one each.
#![expect(
    unreachable_pub,
    reason = "KubeSchema declares a copy of each struct inside a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{NetworkRef, Peer, schema};

mod delivery;

pub use delivery::{CodeHash, Delivery, DeliveryType, HashesDelivery, SecretDelivery};

/// What a PairingCode asks for. Only `state` can change.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "peerup.dev",
    version = "v1alpha1",
    kind = "PairingCode",
    namespaced,
    status = "PairingCodeStatus",
    derive = "PartialEq",
    doc = "Codes to join a PeerNetwork with. Each admits one peer; all of them close after a few failed attempts.",
    shortname = "pcode",
    category = "peerup",
    selectable = ".spec.networkRef.name",
    printcolumn(name = "Network", type_ = "string", json_path = ".spec.networkRef.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Remaining", type_ = "integer", json_path = ".status.remaining"),
    printcolumn(name = "Of", type_ = "integer", json_path = ".spec.count"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expirationTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!has(oldSelf.status) || has(self.status)").message("status must not be removed")
)]
#[x_kube(
    validation = Rule::new("has(self.maxFailedAttempts) == has(oldSelf.maxFailedAttempts)")
        .message("maxFailedAttempts must not be added or removed")
        .field_path(".maxFailedAttempts"),
    validation = Rule::new("has(self.delivery) == has(oldSelf.delivery)")
        .message("delivery must not be added or removed")
        .field_path(".delivery"),
    validation = Rule::new("has(self.peer) == has(oldSelf.peer)")
        .message("peer must not be added or removed")
        .field_path(".peer"),
    validation = Rule::new("!has(self.delivery) || !has(self.delivery.hashes) || size(self.delivery.hashes.values) == self.count")
        .message("count must be the number of delivery.hashes.values")
        .field_path(".count"),
)]
pub struct PairingCodeSpec {
    /// The network, in the same namespace.
    #[x_kube(validation = Rule::new("self == oldSelf").message("networkRef must not change"))]
    pub network_ref: NetworkRef,
    /// How many codes.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("count must not change"))]
    pub count: u16,
    /// How long they can be used; with `delivery.type: Hashes` the codes' own `notAfterTime` says it.
    #[serde(default = "hour")]
    #[schemars(range(min = 60, max = 604_800))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("ttlSeconds must not change"))]
    pub ttl_seconds: u32,
    /// Failed attempts that close all unused codes; the network's number if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("maxFailedAttempts must not change"))]
    pub max_failed_attempts: Option<u32>,
    /// Where the codes are; in a Secret if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("delivery must not change"))]
    pub delivery: Option<Delivery>,
    /// What those who join with a code get.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("peer must not change"))]
    pub peer: Option<PeerTemplate>,
    /// `Revoked` closes all unused codes, for good.
    #[serde(default)]
    #[x_kube(validation = Rule::new("oldSelf != 'Revoked' || self == 'Revoked'").message("state must stay Revoked"))]
    pub state: CodeState,
}

const fn one() -> u16 {
    1
}

const fn hour() -> u32 {
    3600
}

/// What those who join with a code get.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerTemplate {
    /// Life of their record; the network's if not given.
    #[serde(
        rename = "credentialTTLSeconds",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub credential_ttl_seconds: Option<u32>,
}

/// Whether the codes can be used.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum CodeState {
    /// Until used, expired or burned.
    #[default]
    Active,
    /// No longer.
    Revoked,
}

/// What the operator has made of a PairingCode. Rules guard it against the operator too.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.group) || (has(self.group) && self.group == oldSelf.group)")
        .message("group must not change"),
    validation = Rule::new("!has(oldSelf.issuedTime) || (has(self.issuedTime) && self.issuedTime == oldSelf.issuedTime)")
        .message("issuedTime must not change"),
    validation = Rule::new("!has(oldSelf.expirationTime) || (has(self.expirationTime) && self.expirationTime <= oldSelf.expirationTime)")
        .message("expirationTime must not become later"),
    validation = Rule::new("!has(oldSelf.failedAttempts) || (has(self.failedAttempts) && self.failedAttempts >= oldSelf.failedAttempts)")
        .message("failedAttempts must not become smaller"),
    validation = Rule::new("!has(oldSelf.codes) || (has(self.codes) && oldSelf.codes.all(o, self.codes.exists(n, n.slot == o.slot)))")
        .message("codes must keep every slot"),
    validation = Rule::new("!has(oldSelf.codes) || !has(self.codes) || oldSelf.codes.all(o, self.codes.all(n, n.slot != o.slot || (n.hash == o.hash && n.publicKey == o.publicKey)))")
        .message("codes must keep hash and publicKey of every slot"),
    validation = Rule::new("!has(oldSelf.codes) || !has(self.codes) || oldSelf.codes.all(o, o.state == 'Available' || self.codes.all(n, n.slot != o.slot || n.state == o.state))")
        .message("codes must keep the state of every slot that is no longer Available"),
)]
pub struct PairingCodeStatus {
    /// The generation of the spec that this was decided from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Delivered`, `Exhausted`, `Expired`, `Burned`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Id of the group of codes, 8 bytes in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^[0-9a-f]{16}$"))]
    pub group: Option<String>,
    /// When the codes were made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_time: Option<Time>,
    /// When those that are left end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
    /// Failed attempts so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_attempts: Option<u32>,
    /// Codes that can still be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u32>,
    /// The Secret that holds the codes, with `delivery.type: Secret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// What is known of each code; never the code itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["slot"]))]
    pub codes: Vec<CodeStatus>,
}

/// A Secret in the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Its name.
    pub name: String,
}

/// One code.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.hash == oldSelf.hash && self.publicKey == oldSelf.publicKey")
        .message("hash and publicKey must not change"),
    validation = Rule::new("oldSelf.state == 'Available' || self.state == oldSelf.state")
        .message("state must not change any more"),
    validation = Rule::new("!has(oldSelf.peerRef) || (has(self.peerRef) && self.peerRef == oldSelf.peerRef)")
        .message("peerRef must not change"),
    validation = Rule::new("self.state == 'Used' ? has(self.peerRef) : !has(self.peerRef)")
        .message("peerRef must be set when the state is Used, and only then"),
)]
pub struct CodeStatus {
    /// Its number in the group.
    #[schemars(range(min = 0, max = 99))]
    pub slot: u16,
    /// SHA-256 of the code, in hex.
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub hash: String,
    /// Public key derived from the code, in hex.
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub public_key: String,
    /// Whether it can be used.
    pub state: SlotState,
    /// When it was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_time: Option<Time>,
    /// The Peer that used it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_ref: Option<PeerRef>,
}

/// A Peer in the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerRef {
    /// Its name.
    #[schemars(length(max = 104))]
    pub name: String,
    /// Its UID: a Peer that was deleted and made anew under the same name is another one.
    #[schemars(length(max = 64))]
    pub uid: String,
}

impl PeerRef {
    /// The reference to a Peer as it is in the cluster.
    #[must_use]
    pub fn of(peer: &Peer) -> Self {
        let metadata = &peer.metadata;
        Self {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
        }
    }
}

impl PairingCode {
    /// The slot that this Peer has used.
    #[must_use]
    pub fn slot_of(&self, peer: &Peer) -> Option<&CodeStatus> {
        let peer = PeerRef::of(peer);
        let mut slots = self.status.as_ref()?.codes.iter();
        slots.find(|slot| slot.peer_ref.as_ref() == Some(&peer))
    }
}

/// Whether a code can be used. All but `Available` are final.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum SlotState {
    /// It can.
    Available,
    /// A peer has used it.
    Used,
    /// Its time is over.
    Expired,
    /// Too many failed attempts closed it.
    Burned,
    /// Somebody revoked it.
    Revoked,
}
