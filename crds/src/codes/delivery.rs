//! Where the codes of a PairingCode are: in a Secret that the operator writes, or with whoever made them.
#![expect(
    unreachable_pub,
    reason = "KubeSchema declares a copy of each struct inside a function"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A time as RFC 3339 writes it, to the nanosecond.
const TIME: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$";

/// Where the codes are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'Hashes') == has(self.hashes)")
        .message("hashes must be given with type: Hashes, and only then"),
    validation = Rule::new("self.type == 'Secret' || !has(self.secret)")
        .message("secret must be given with type: Secret only"),
)]
pub struct Delivery {
    /// `Secret`: the operator makes them and puts them into a Secret. `Hashes`: they were made elsewhere, as
    /// `kubectl peerup pair create` does, and the operator never sees them.
    #[serde(rename = "type", default)]
    pub type_: DeliveryType,
    /// The Secret, with `type: Secret`; one of the PairingCode's name if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretDelivery>,
    /// What stands for codes that were made elsewhere, with `type: Hashes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hashes: Option<HashesDelivery>,
}

/// Who makes the codes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum DeliveryType {
    /// The operator.
    #[default]
    Secret,
    /// Whoever made the PairingCode.
    Hashes,
}

/// The Secret that the codes are put into.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretDelivery {
    /// Its name; the PairingCode's if not given. It must not exist yet.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// What stands for codes that were made elsewhere.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.values.all(v, v.slot < size(self.values))")
    .message("values must have the slots 0 to count - 1"))]
pub struct HashesDelivery {
    /// Id of the group of codes, 8 random bytes in hex. It must be new to the network.
    #[schemars(length(max = 16), regex(pattern = "^[0-9a-f]{16}$"))]
    pub group: String,
    /// When the codes end, as they themselves say; `ttlSeconds` does not count.
    // The format alone lets times through that no program can read: offsets of 99 hours, or the end of the year 9999.
    #[schemars(extend("maxLength" = 35, "pattern" = TIME))]
    #[x_kube(validation = Rule::new("self < timestamp('2106-02-07T06:28:16Z')")
        .message("notAfterTime must be before 2106-02-07T06:28:16Z: codes have 32 bits for it"))]
    pub not_after_time: Time,
    /// One for each code.
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["slot"]))]
    pub values: Vec<CodeHash>,
}

/// What stands for one code.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodeHash {
    /// Its number in the group.
    #[schemars(range(min = 0, max = 99))]
    pub slot: u16,
    /// SHA-256 of the code, in hex.
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub hash: String,
    /// Public key derived from the code, in hex.
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub public_key: String,
}
