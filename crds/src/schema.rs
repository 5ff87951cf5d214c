//! Schemas that a derive cannot say, and what is done to all of them before they are published.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use peerup_protocol::grade::{Confidence, Grade, NatType, Path, Scope};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::{PairingCode, Peer, PeerNetwork, names::ports};

/// Length that bounds a text for which no smaller one is said.
const TEXT_MAX: u64 = 253;
/// Bound of lists inside Kubernetes' own types.
const LIST_MAX: u64 = 32;
/// Bound of labels, annotations and other maps.
const MAP_MAX: u64 = 64;

/// The CustomResourceDefinitions, in the order in which they are documented.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 3] {
    [PeerNetwork::crd(), PairingCode::crd(), Peer::crd()].map(publish)
}

fn publish(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|validation| validation.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        if let Ok(mut value) = serde_json::to_value(&*schema) {
            bound(&mut value);
            if let Ok(bounded) = serde_json::from_value(value) {
                *schema = bounded;
            }
        }
    }
    definition
}

/// Bounds every text, list and map; makes `null` mean "not given"; drops formats that the API server does not know.
fn bound(schema: &mut Value) {
    let Value::Object(schema) = schema else {
        return;
    };
    schema.remove("nullable");
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
    if schema.contains_key("x-kubernetes-int-or-string") {
        schema.insert(
            "description".to_owned(),
            json!("A quantity such as 100m or 64Mi."),
        );
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => bound_text(schema),
        Some("integer") => known_format(schema),
        Some("array") => {
            schema.entry("maxItems").or_insert(json!(LIST_MAX));
            schema
                .entry("x-kubernetes-list-type")
                .or_insert(json!("atomic"));
        }
        _ => {}
    }
    if let Some(items) = schema.get_mut("items") {
        bound(items);
    }
    if let Some(values) = schema.get_mut("additionalProperties") {
        bound(values);
        schema.entry("maxProperties").or_insert(json!(MAP_MAX));
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, property) in properties.iter_mut() {
            bound(property);
            if name == "affinity" {
                undescribe(property, true);
            }
        }
    }
}

fn bound_text(schema: &mut Map<String, Value>) {
    if !schema.contains_key("enum") {
        schema.entry("maxLength").or_insert(json!(TEXT_MAX));
    }
}

fn known_format(schema: &mut Map<String, Value>) {
    let known = match schema.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "uint32" | "int32") => "int32",
        Some(_) | None => "int64",
    };
    schema.insert("format".to_owned(), json!(known));
}

/// Kubernetes explains its own types elsewhere; here their text would be most of the file.
fn undescribe(schema: &mut Value, top: bool) {
    match schema {
        Value::Object(map) => {
            if !top && map.get("description").is_some_and(Value::is_string) {
                map.remove("description");
            }
            for value in map.values_mut() {
                undescribe(value, false);
            }
        }
        Value::Array(list) => {
            for value in list {
                undescribe(value, false);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `conditions`, merged by type.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": { "type": "string", "description": "What the condition is about.", "maxLength": 316, "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$" },
                "status": { "type": "string", "description": "Whether it holds.", "enum": ["True", "False", "Unknown"] },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0, "description": "The generation of the object that this was decided from." },
                "lastTransitionTime": { "type": "string", "format": "date-time", "maxLength": 64, "description": "When the status last changed." },
                "reason": { "type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", "description": "Why, in one word." },
                "message": { "type": "string", "maxLength": 32768, "description": "Why, in words." }
            }
        }
    })
}

/// A text that is one of some words.
fn words(words: impl IntoIterator<Item = &'static str>) -> Schema {
    let words: Vec<_> = words.into_iter().collect();
    json_schema!({ "type": "string", "enum": words })
}

/// A grade, A to F.
pub(crate) fn grade(_: &mut SchemaGenerator) -> Schema {
    words(Grade::ALL.map(Grade::as_str))
}

/// A grade that a network may ask for: F would be none.
pub(crate) fn minimum_grade(_: &mut SchemaGenerator) -> Schema {
    words(
        Grade::ALL
            .into_iter()
            .filter(|grade| *grade > Grade::F)
            .map(Grade::as_str),
    )
}

/// Which addresses count as public.
pub(crate) fn scope(_: &mut SchemaGenerator) -> Schema {
    words(Scope::ALL.iter().map(|scope| scope.as_str()))
}

/// How sure a grade is.
pub(crate) fn confidence(_: &mut SchemaGenerator) -> Schema {
    words(Confidence::ALL.iter().map(|confidence| confidence.as_str()))
}

/// The NAT in one word.
pub(crate) fn nat_type(_: &mut SchemaGenerator) -> Schema {
    words(NatType::ALL.iter().map(|nat| nat.as_str()))
}

/// Whether streams need a relay.
pub(crate) fn path(_: &mut SchemaGenerator) -> Schema {
    words(Path::ALL.iter().map(|path| path.as_str()))
}

/// A list of address ranges.
pub(crate) fn cidrs(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "maxLength": 43,
            "x-kubernetes-validations": [{ "rule": "isCIDR(self)", "message": "must be an address range such as 10.0.0.0/8" }]
        }
    })
}

/// STUN servers: a DNS name, an IPv4 address or an IPv6 address in brackets, and a port.
pub(crate) fn stun_servers(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 4,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "maxLength": 259,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^([a-zA-Z0-9]([-.a-zA-Z0-9]*[a-zA-Z0-9])?|\\\\[[0-9a-fA-F:.]+\\\\]):[1-9][0-9]{0,4}$')",
                "message": "must be a host and a port such as stun.example.com:3478 or [2001:db8::1]:3478"
            }]
        }
    })
}

/// A relay's port; STUN has others of the same Service.
pub(crate) fn relay_port(_: &mut SchemaGenerator) -> Schema {
    let [stun, alternate] = [ports::STUN, ports::STUN_ALTERNATE];
    json_schema!({
        "type": "integer",
        "format": "int32",
        "minimum": 1,
        "maximum": 65535,
        "x-kubernetes-validations": [{
            "rule": format!("!(self in [{stun}, {alternate}])"),
            "message": format!("must not be {stun} or {alternate}: the Service has STUN there")
        }]
    })
}

/// Amounts of what a container can be given. One that Kubernetes does not take would be found out with every pod.
pub(crate) fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 3,
        "x-kubernetes-validations": [{
            "rule": "self.all(name, name in ['cpu', 'memory', 'ephemeral-storage'])",
            "message": "must name nothing but cpu, memory and ephemeral-storage"
        }],
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "maxLength": 32,
            "x-kubernetes-validations": [{
                "rule": "type(self) == int ? self >= 0 : isQuantity(self) && !quantity(self).isLessThan(quantity('0'))",
                "message": "must be a quantity such as 100m or 64Mi that is not negative"
            }]
        }
    })
}

/// A list of short texts.
pub(crate) fn texts(max_items: u32, max_length: u32) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": max_items,
        "x-kubernetes-list-type": "atomic",
        "items": { "type": "string", "maxLength": max_length }
    })
}

/// Annotations: their values may be long.
pub(crate) fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAP_MAX,
        "additionalProperties": { "type": "string", "maxLength": 4096 }
    })
}
