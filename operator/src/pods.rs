//! What a pod's status says, told once for all who ask. Pure.

use k8s_openapi::api::core::v1::Pod;

/// Whether a pod serves: its containers are ready and nobody deletes it.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let mut conditions = status
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten();
    let ready = conditions.any(|one| one.type_ == "Ready" && one.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_pod_is_ready_until_somebody_deletes_it() {
        let ready = json!({"conditions": [
            {"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}]});
        let not_yet = json!({"conditions": [{"type": "Ready", "status": "False"}]});
        let going = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        for (metadata, status, expected) in [
            (json!({}), ready.clone(), true),
            (going, ready, false),
            (json!({}), not_yet, false),
            (json!({}), json!({}), false),
            (json!({}), Value::Null, false),
        ] {
            let text = format!("{metadata} {status}");
            let pod = serde_json::from_value(json!({"metadata": metadata, "status": status}));
            assert_eq!(is_ready(&pod.unwrap()), expected, "{text}");
        }
    }
}
