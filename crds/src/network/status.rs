//! What the operator has seen of a network.
#![expect(
    unreachable_pub,
    reason = "KubeSchema declares a copy of each struct inside a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{names::USED_GROUPS_MAX, schema};

/// What the operator has seen of a PeerNetwork.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.networkID) || (has(self.networkID) && self.networkID == oldSelf.networkID)")
        .message("networkID must not change"),
    validation = Rule::new("!has(oldSelf.dhtNamespace) || (has(self.dhtNamespace) && self.dhtNamespace == oldSelf.dhtNamespace)")
        .message("dhtNamespace must not change"),
    validation = Rule::new("!has(oldSelf.epoch) || (has(self.epoch) && self.epoch >= oldSelf.epoch)")
        .message("epoch must not become smaller"),
)]
pub struct PeerNetworkStatus {
    /// The generation of the spec that this was decided from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `RelayAvailable`, `InjectionReady`, `PeersReachable`, `Suspended`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Name of the network on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub dht_namespace: Option<String>,
    /// First 16 bytes of the SHA-256 of the network's public key, in hex.
    #[serde(rename = "networkID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = "^[0-9a-f]{32}$"))]
    pub network_id: Option<String>,
    /// Number of the newest list of revocations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Records that are no longer good though their time is not over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["serial"]))]
    pub revocations: Vec<Revocation>,
    /// Groups of codes that were made elsewhere and whose time is not over: none may come back, whatever happens to
    /// its PairingCode.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = USED_GROUPS_MAX), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["group"]))]
    pub used_groups: Vec<UsedGroup>,
    /// Name of the network's DHT protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub protocol: Option<String>,
    /// The relays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub relays: Vec<RelayStatus>,
    /// How many peers there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<PeerCounts>,
    /// How many pods have their sidecar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub injection: Option<InjectionCounts>,
    /// Codes that can be used now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_codes: Option<u32>,
}

/// A record that is no longer good.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// The record's serial, in hex.
    #[schemars(length(max = 16), regex(pattern = "^[0-9a-f]{16}$"))]
    pub serial: String,
    /// When the record would have ended, and with it the entry.
    pub until_time: Time,
}

/// A group of codes that was made elsewhere.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsedGroup {
    /// Its id, in hex.
    #[schemars(length(max = 16), regex(pattern = "^[0-9a-f]{16}$"))]
    pub group: String,
    /// When its codes end, and with them the entry.
    pub until_time: Time,
    /// UID of the PairingCode that has it.
    #[serde(rename = "pairingCodeUID")]
    #[schemars(length(max = 64))]
    pub pairing_code_uid: String,
}

/// One relay.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RelayStatus {
    /// Its pod.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Its PeerId.
    #[serde(rename = "peerID")]
    #[schemars(length(max = 64))]
    pub peer_id: String,
    /// Where it is reached, inside and outside the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub addresses: Vec<String>,
    /// Whether it serves.
    pub state: RelayState,
}

/// Whether a relay serves.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum RelayState {
    /// It does.
    Ready,
    /// It does not.
    NotReady,
}

/// How many peers a network has.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerCounts {
    /// All that are not revoked.
    pub total: u32,
    /// Those that hold a record.
    pub joined: u32,
    /// Those that somebody vouches for.
    pub verified: u32,
    /// Those that are reached through a relay only.
    pub relayed: u32,
    /// Those below `minimumGrade`.
    pub below_minimum: u32,
    /// Those without a recent report.
    pub unknown: u32,
    /// How many have each grade.
    pub grades: GradeCounts,
}

/// How many peers have each grade.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GradeCounts {
    /// Public IPv6.
    pub a: u32,
    /// Public IPv4, or a NAT that can be punched.
    pub b: u32,
    /// A port-restricted NAT.
    pub c: u32,
    /// A symmetric NAT.
    pub d: u32,
    /// Offline.
    pub f: u32,
}

/// How many pods have their sidecar.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InjectionCounts {
    /// Namespaces with such pods.
    pub namespaces: u32,
    /// Pods with a sidecar.
    pub pods: u32,
    /// Pods that asked for one and have none.
    pub not_injected: u32,
    /// Pods with the sidecar of a former template.
    pub outdated: u32,
}
