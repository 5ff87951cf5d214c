//! The relays of a network, as its spec asks for them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, Toleration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Resources, schema};

/// The relays of a network.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Relay {
    /// Relays that the operator runs.
    pub managed: ManagedRelay,
}

/// Relays that the operator runs as a StatefulSet in the network's namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedRelay {
    /// How many relays.
    #[schemars(range(min = 1, max = 9))]
    pub replicas: u8,
    /// The Service of each relay.
    pub service: RelayService,
    /// Addresses under which a relay is reached from outside the cluster, where the operator cannot find them itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["ordinal"]))]
    pub advertise_addresses: Vec<AdvertisedAddresses>,
    /// Most peers that hold a place at one relay.
    #[schemars(range(min = 1, max = 65536))]
    pub max_reservations: u32,
    /// Most connections through one relay at a time.
    #[schemars(range(min = 1, max = 65536))]
    pub max_circuits: u32,
    /// How long one relayed connection may last.
    #[schemars(range(min = 60, max = 31_536_000))]
    pub circuit_timeout_seconds: u32,
    /// Most bytes over one relayed connection, both ways together; 0 is without limit.
    #[schemars(range(min = 0, max = 1_125_899_906_842_624_i64))]
    pub circuit_data_limit: u64,
    /// Resources of a relay's container.
    pub resources: Resources,
    /// What else the relays' pods carry.
    pub pod_template: PodTemplate,
}

impl Default for ManagedRelay {
    fn default() -> Self {
        Self {
            replicas: 1,
            service: RelayService::default(),
            advertise_addresses: Vec::new(),
            max_reservations: 1024,
            max_circuits: 1024,
            circuit_timeout_seconds: 86_400,
            circuit_data_limit: 0,
            resources: Resources::modest("50m", "64Mi", "512Mi"),
            pod_template: PodTemplate::default(),
        }
    }
}

/// The Service of each relay.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RelayService {
    /// `ClusterIP` for pods only; `NodePort` or `LoadBalancer` for machines outside the cluster too.
    #[serde(rename = "type")]
    pub type_: ServiceType,
    /// Port at which peers find a relay, TCP and UDP; not one of STUN's.
    #[schemars(schema_with = "schema::relay_port")]
    pub port: u16,
    /// Annotations of the Service, for example for a cloud's load balancer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,
    /// Class of the load balancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
}

impl Default for RelayService {
    fn default() -> Self {
        Self {
            type_: ServiceType::default(),
            port: 4001,
            annotations: BTreeMap::new(),
            load_balancer_class: None,
        }
    }
}

/// How a Service is offered.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum ServiceType {
    /// Inside the cluster.
    #[default]
    ClusterIP,
    /// At a port of every node.
    NodePort,
    /// At an address from outside.
    LoadBalancer,
}

/// Outside addresses of one relay.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdvertisedAddresses {
    /// Which relay, from 0.
    #[schemars(range(min = 0, max = 8))]
    pub ordinal: u8,
    /// Multiaddrs such as `/dns4/relay.example.com/tcp/4001`.
    #[schemars(length(min = 1, max = 8))]
    pub addresses: Vec<String>,
}

/// What the relays' pods carry beside what the operator decides.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplate {
    /// Labels of the pods; those that the operator sets win.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods bear.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Affinity of the pods; without it they spread over nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Priority class of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Secrets with which the relay's image is pulled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
}
