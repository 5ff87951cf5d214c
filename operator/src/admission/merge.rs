//! Merging a container that the pod's author declared with ours: the author's fields win.

use serde_json::{Map, Value};

use super::sidecar::SERVICE_ACCOUNT_PATH;

/// Written for `image` where a template needs one and the operator's is meant.
const IMAGE_OF_THE_OPERATOR: &str = "auto";
/// Volumes that the API server itself mounts over [`SERVICE_ACCOUNT_PATH`] begin so.
const API_ACCESS_VOLUME: &str = "kube-api-access-";

/// `theirs` with everything that it leaves open taken from `ours`.
pub(super) fn container(theirs: &Value, ours: &Value) -> Value {
    let (Some(theirs), Some(ours)) = (theirs.as_object(), ours.as_object()) else {
        return ours.clone();
    };
    let mut merged = theirs.clone();
    if is_nothing(merged.get("image")) || merged["image"] == IMAGE_OF_THE_OPERATOR {
        // The pull policy was only a default for that image.
        merged.remove("image");
        merged.remove("imagePullPolicy");
    }
    for (field, value) in ours {
        let there = merged.get(field).filter(|value| !is_nothing(Some(value)));
        let all = match (field.as_str(), there) {
            (_, None) => value.clone(),
            ("env" | "ports", Some(list)) => by_key(list, value, "name"),
            ("volumeMounts", Some(list)) => by_key(&without_api_access(list), value, "mountPath"),
            ("securityContext", Some(object)) => objects(object, value),
            (_, Some(kept)) => kept.clone(),
        };
        merged.insert(field.clone(), all);
    }
    Value::Object(merged)
}

/// `theirs`, then each element of `ours` whose `key` does not occur in it.
fn by_key(theirs: &Value, ours: &Value, key: &str) -> Value {
    let mut all = theirs.as_array().cloned().unwrap_or_default();
    for element in ours.as_array().into_iter().flatten() {
        if !all.iter().any(|other| other.get(key) == element.get(key)) {
            all.push(element.clone());
        }
    }
    Value::Array(all)
}

/// The mounts but for the one by which the API server gives every container the pod's token.
fn without_api_access(mounts: &Value) -> Value {
    let keep = |mount: &&Value| {
        mount["mountPath"] != SERVICE_ACCOUNT_PATH
            || !mount["name"]
                .as_str()
                .is_some_and(|name| name.starts_with(API_ACCESS_VOLUME))
    };
    mounts
        .as_array()
        .into_iter()
        .flatten()
        .filter(keep)
        .cloned()
        .collect()
}

fn objects(theirs: &Value, ours: &Value) -> Value {
    let mut all = ours.as_object().cloned().unwrap_or_else(Map::new);
    for (field, value) in theirs.as_object().into_iter().flatten() {
        all.insert(field.clone(), value.clone());
    }
    Value::Object(all)
}

/// Whether a field says nothing: the API server writes out `resources: {}` where nothing was said.
fn is_nothing(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Bool(_) | Value::Number(_)) => false,
    }
}
