//! Compute resources of a container that Peerup adds.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Requests and limits, as in a container.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// The most that the container may use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::quantities")]
    pub limits: BTreeMap<String, Quantity>,
    /// What the scheduler keeps free for the container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::quantities")]
    pub requests: BTreeMap<String, Quantity>,
}

impl Resources {
    /// Resources of a container with a CPU request, a memory request and a memory limit.
    pub(crate) fn modest(cpu: &str, memory: &str, memory_limit: &str) -> Self {
        let quantity = |text: &str| Quantity(text.to_owned());
        Self {
            limits: BTreeMap::from([("memory".to_owned(), quantity(memory_limit))]),
            requests: BTreeMap::from([
                ("cpu".to_owned(), quantity(cpu)),
                ("memory".to_owned(), quantity(memory)),
            ]),
        }
    }
}

impl From<&Resources> for ResourceRequirements {
    fn from(resources: &Resources) -> Self {
        let given = |map: &BTreeMap<String, Quantity>| (!map.is_empty()).then(|| map.clone());
        Self {
            claims: None,
            limits: given(&resources.limits),
            requests: given(&resources.requests),
        }
    }
}
