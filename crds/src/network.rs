//! PeerNetwork: a private network, its relays, who may be in it and how it is kept.
#![expect(
    unreachable_pub,
    reason = "KubeSchema declares a copy of each struct inside a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use peerup_protocol::grade::{Grade, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

mod injection;
mod relay;
mod status;

pub use injection::{ContainerMode, Hold, ImagePullPolicy, Injection, LogLevel, Switch};
pub use relay::{AdvertisedAddresses, ManagedRelay, PodTemplate, Relay, RelayService, ServiceType};
pub use status::{
    GradeCounts, InjectionCounts, PeerCounts, PeerNetworkStatus, RelayState, RelayStatus,
    Revocation, UsedGroup,
};

/// What a PeerNetwork asks for.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "peerup.dev",
    version = "v1alpha1",
    kind = "PeerNetwork",
    namespaced,
    status = "PeerNetworkStatus",
    derive = "PartialEq",
    doc = "A private peer-to-peer network: pods, laptops and other machines that prove who they are to each other.",
    shortname = "pnet",
    category = "peerup",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Network", type_ = "string", json_path = ".status.dhtNamespace"),
    printcolumn(name = "Peers", type_ = "integer", json_path = ".status.peers.total"),
    printcolumn(name = "Below", type_ = "integer", json_path = ".status.peers.belowMinimum"),
    printcolumn(name = "F", type_ = "integer", json_path = ".status.peers.grades.f"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 40 characters that begins with a letter"),
    validation = Rule::new("!has(oldSelf.status) || has(self.status)").message("status must not be removed")
)]
#[x_kube(
    validation = Rule::new("has(self.dhtNamespace) == has(oldSelf.dhtNamespace)")
        .message("dhtNamespace must not be added or removed: the operator has chosen one if none was given")
        .field_path(".dhtNamespace"),
)]
pub struct PeerNetworkSpec {
    /// Name of the network on the wire, by which all its protocols are called. The operator chooses one if none is
    /// given. It cannot change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    )]
    #[x_kube(validation = Rule::new("self == oldSelf").message("dhtNamespace must not change"))]
    pub dht_namespace: Option<String>,
    /// The relays over which peers meet and, where no direct way exists, talk.
    #[serde(default)]
    pub relay: Relay,
    /// The namespaces whose pods may be in the network.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,
    /// How pods get their sidecar.
    #[serde(default)]
    pub injection: Injection,
    /// What counts as reachable and how it is measured.
    #[serde(default)]
    pub reachability: Reachability,
    /// Limits of pairing codes.
    #[serde(default)]
    pub pairing: Pairing,
    /// Limits and lifetimes of peers.
    #[serde(default)]
    pub peers: Peers,
    /// No new codes, joins or records; members stay until their records end.
    #[serde(default)]
    pub suspend: bool,
    /// What happens to the network's key when the PeerNetwork is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// The namespaces whose pods may be in a network.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)")
    .message("selector must be given with from: Selector, and only then"))]
pub struct AllowedNamespaces {
    /// `Same` for the network's own namespace, `All`, or `Selector`.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// Labels of the namespaces, with `from: Selector`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Where namespaces may come from.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum NamespacesFrom {
    /// The network's own namespace.
    #[default]
    Same,
    /// Every namespace.
    All,
    /// Those with certain labels.
    Selector,
}

/// What counts as reachable and how it is measured.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.offlineAfterSeconds > self.reportPeriodSeconds")
    .message("offlineAfterSeconds must be greater than reportPeriodSeconds")
    .field_path(".offlineAfterSeconds"))]
pub struct Reachability {
    /// `Internal`: addresses within `internalCIDRs` count as public; `Internet`: only globally routable ones do.
    #[serde(default = "internal")]
    #[schemars(schema_with = "schema::scope")]
    pub scope: Scope,
    /// The organisation's own address ranges.
    #[serde(rename = "internalCIDRs", default = "private_ranges")]
    #[schemars(schema_with = "schema::cidrs")]
    pub internal_cidrs: Vec<String>,
    /// How often a peer measures.
    #[serde(default = "seconds::<60>")]
    #[schemars(range(min = 5, max = 3600))]
    pub probe_period_seconds: u32,
    /// How often a peer reports.
    #[serde(default = "seconds::<30>")]
    #[schemars(range(min = 5, max = 3600))]
    pub report_period_seconds: u32,
    /// How long a peer may be silent before its grade is unknown; after twice that it is F.
    #[serde(default = "seconds::<90>")]
    #[schemars(range(min = 10, max = 86400))]
    pub offline_after_seconds: u32,
    /// How long a worse grade must last before it is shown.
    #[serde(default = "seconds::<60>")]
    #[schemars(range(min = 5, max = 3600))]
    pub stabilization_seconds: u32,
    /// STUN servers of others, `host:port`, that pods ask in scope Internet beside relays with globally routable
    /// addresses. Two with different addresses tell whether the NAT keeps one mapping; what comes in they can't test.
    #[serde(default)]
    #[schemars(schema_with = "schema::stun_servers")]
    pub stun_servers: Vec<String>,
    /// The worst grade that is no reason to alert.
    #[serde(default = "grade_d")]
    #[schemars(schema_with = "schema::minimum_grade")]
    pub minimum_grade: Grade,
}

impl Default for Reachability {
    fn default() -> Self {
        Self {
            scope: Scope::Internal,
            internal_cidrs: private_ranges(),
            probe_period_seconds: 60,
            report_period_seconds: 30,
            offline_after_seconds: 90,
            stabilization_seconds: 60,
            stun_servers: Vec::new(),
            minimum_grade: Grade::D,
        }
    }
}

const fn seconds<const N: u32>() -> u32 {
    N
}

const fn internal() -> Scope {
    Scope::Internal
}

const fn grade_d() -> Grade {
    Grade::D
}

fn private_ranges() -> Vec<String> {
    [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "fc00::/7",
    ]
    .map(str::to_owned)
    .into()
}

/// Limits of pairing codes.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Pairing {
    /// Most codes that can be used at a time, of all PairingCodes together.
    #[schemars(range(min = 0, max = 10000))]
    pub max_active_codes: u32,
    /// Longest life of a code.
    #[serde(rename = "maxTTLSeconds")]
    #[schemars(range(min = 60, max = 604_800))]
    pub max_ttl_seconds: u32,
    /// Failed attempts that close a PairingCode, where it does not say itself.
    #[schemars(range(min = 1, max = 10))]
    pub max_failed_attempts: u32,
    /// Most strangers that may be pairing at one relay.
    #[schemars(range(min = 1, max = 256))]
    pub max_probationary_peers: u32,
    /// How long a stranger may take.
    #[schemars(range(min = 5, max = 60))]
    pub probation_timeout_seconds: u32,
    /// Whether members may invite guests, who meet their host and nobody else.
    pub guests: Switch,
}

impl Default for Pairing {
    fn default() -> Self {
        Self {
            max_active_codes: 100,
            max_ttl_seconds: 86_400,
            max_failed_attempts: 3,
            max_probationary_peers: 10,
            probation_timeout_seconds: 15,
            guests: Switch::Disabled,
        }
    }
}

/// Limits and lifetimes of peers.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Peers {
    /// Most peers.
    #[schemars(range(min = 1, max = 20000))]
    pub max_peers: u32,
    /// Life of a record got with a code; it is renewed at two thirds.
    #[serde(rename = "credentialTTLSeconds")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub credential_ttl_seconds: u32,
    /// Life of a pod's record; it is renewed at two thirds.
    #[serde(rename = "attestedTTLSeconds")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub attested_ttl_seconds: u32,
    /// How long a peer from outside is kept after its record has ended.
    #[schemars(range(min = 60, max = 31_536_000))]
    pub retain_after_offline_seconds: u32,
    /// `Required`: services only with peers that somebody vouches for, by attestation or by comparing keys.
    pub verification: Verification,
    /// `Refuse`: no new services at a peer that has not heard of revocations for 15 minutes; `Warn`: its status and
    /// metrics tell.
    pub stale_revocations: StaleRevocations,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            max_peers: 500,
            credential_ttl_seconds: 86_400,
            attested_ttl_seconds: 7_200,
            retain_after_offline_seconds: 2_592_000,
            verification: Verification::Preferred,
            stale_revocations: StaleRevocations::Warn,
        }
    }
}

/// What a peer does that has not heard of revocations for long.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum StaleRevocations {
    /// It tells.
    #[default]
    Warn,
    /// It takes part in no new services.
    Refuse,
}

/// Whether services need peers that somebody vouches for.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Verification {
    /// It is shown who is not.
    #[default]
    Preferred,
    /// They do.
    Required,
}

/// What happens to the network's key when the PeerNetwork is deleted.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum DeletionPolicy {
    /// It is deleted too.
    #[default]
    Delete,
    /// It stays in the operator's namespace.
    Retain,
}
