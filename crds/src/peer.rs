//! Peer: a member of a network, written by the operator.
#![expect(
    unreachable_pub,
    reason = "KubeSchema declares a copy of each struct inside a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use peerup_protocol::grade::{Confidence, Grade, NatType, Path, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Who a peer is. Only `state` can change.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "peerup.dev",
    version = "v1alpha1",
    kind = "Peer",
    namespaced,
    status = "PeerStatus",
    derive = "PartialEq",
    doc = "A member of a PeerNetwork. The operator writes it; set `spec.state: Revoked` or delete it to expel the member.",
    category = "peerup",
    selectable = ".status.grade",
    selectable = ".spec.networkRef.name",
    printcolumn(name = "Network", type_ = "string", json_path = ".spec.networkRef.name"),
    printcolumn(name = "Grade", type_ = "string", json_path = ".status.grade"),
    printcolumn(name = "Path", type_ = "string", json_path = ".status.path"),
    printcolumn(name = "Verified", type_ = "string", json_path = ".status.conditions[?(@.type==\"Verified\")].status"),
    printcolumn(name = "Pod", type_ = "string", json_path = ".spec.podRef.name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.gradeReason", priority = 1),
    printcolumn(name = "PeerID", type_ = "string", json_path = ".spec.peerID", priority = 1),
    validation = Rule::new("self.metadata.name == self.spec.networkRef.name + '.' + self.spec.displayName")
        .message("metadata.name must be <network>.<displayName>")
)]
#[x_kube(
    validation = Rule::new("self.networkRef == oldSelf.networkRef && self.peerID == oldSelf.peerID && self.serial == oldSelf.serial && self.displayName == oldSelf.displayName")
        .message("networkRef, peerID, serial and displayName must not change"),
    validation = Rule::new("self.type == oldSelf.type && self.method == oldSelf.method && has(self.subject) == has(oldSelf.subject) && (!has(self.subject) || self.subject == oldSelf.subject)")
        .message("type, method and subject must not change"),
    validation = Rule::new("has(self.podRef) == has(oldSelf.podRef) && (!has(self.podRef) || self.podRef == oldSelf.podRef)")
        .message("podRef must not change"),
    validation = Rule::new("has(self.pairingCodeRef) == has(oldSelf.pairingCodeRef) && (!has(self.pairingCodeRef) || self.pairingCodeRef == oldSelf.pairingCodeRef)")
        .message("pairingCodeRef must not change"),
    validation = Rule::new("(self.type == 'Pod') == has(self.podRef)")
        .message("podRef must be set with type Pod, and only then"),
    validation = Rule::new("(self.method == 'Code') == has(self.pairingCodeRef)")
        .message("pairingCodeRef must be set with method Code, and only then"),
)]
pub struct PeerSpec {
    /// The network, in the same namespace.
    pub network_ref: NetworkRef,
    /// Identity: the PeerId of its key.
    #[serde(rename = "peerID")]
    #[schemars(
        length(max = 64),
        regex(pattern = "^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$")
    )]
    pub peer_id: String,
    /// Serial of its records, in hex; renewals keep it.
    #[schemars(length(max = 16), regex(pattern = "^[0-9a-f]{16}$"))]
    pub serial: String,
    /// `<cluster>/<namespace>/<service account>/<pod>` of a pod; nothing for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub subject: Option<String>,
    /// Whether it is a pod.
    #[serde(rename = "type")]
    pub type_: PeerType,
    /// How it joined.
    pub method: PeerMethod,
    /// The pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_ref: Option<PodRef>,
    /// The code that it joined with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairing_code_ref: Option<PairingCodeRef>,
    /// Its name in the network.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub display_name: String,
    /// `Revoked` expels it, for good.
    #[serde(default)]
    #[x_kube(validation = Rule::new("oldSelf != 'Revoked' || self == 'Revoked'").message("state must stay Revoked"))]
    pub state: PeerState,
}

/// A PeerNetwork in the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkRef {
    /// Its name.
    #[schemars(
        length(min = 1, max = 40),
        regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// Whether a peer is a pod.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum PeerType {
    /// A pod with a sidecar.
    Pod,
    /// A machine outside the cluster.
    External,
}

/// How a peer joined.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum PeerMethod {
    /// With a code of a PairingCode.
    Code,
    /// The API server vouched for its pod.
    Attested,
}

/// A pod.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodRef {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its UID.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// The node it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub node_name: Option<String>,
    /// Its service account.
    #[schemars(length(min = 1, max = 253))]
    pub service_account: String,
}

/// A code of a PairingCode in the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PairingCodeRef {
    /// The PairingCode.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The code's number in it.
    #[schemars(range(min = 0, max = 99))]
    pub slot: u16,
}

/// Whether a peer may be in the network.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum PeerState {
    /// It may.
    #[default]
    Active,
    /// No longer.
    Revoked,
}

/// What is known of a peer. Nothing in it changes at every measurement.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// `Joined`, `Verified`, `Reachable`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// How well it can be reached, A to F.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::grade")]
    pub grade: Option<Grade>,
    /// Why, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub grade_reason: Option<String>,
    /// Which addresses counted as public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::scope")]
    pub scope: Option<Scope>,
    /// What kind of NAT it is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::nat_type")]
    pub nat_type: Option<NatType>,
    /// How sure the grade is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::confidence")]
    pub confidence: Option<Confidence>,
    /// What the grade rests on, as short codes such as `mapping-differs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "evidence")]
    pub evidence: Vec<String>,
    /// Addresses that others see it under.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "addresses")]
    pub public_addresses: Vec<String>,
    /// How it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::path")]
    pub path: Option<Path>,
    /// The relays that it holds a place at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "relays")]
    pub relays: Vec<String>,
    /// When it got its first record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined_time: Option<Time>,
    /// When its grade last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grade_changed_time: Option<Time>,
    /// When its newest record was signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_issued_time: Option<Time>,
    /// When that record ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_expiration_time: Option<Time>,
    /// Version of its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
}

fn evidence(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schema::texts(32, 64)
}

fn addresses(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schema::texts(16, 128)
}

fn relays(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schema::texts(9, 64)
}
