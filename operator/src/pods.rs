//! What the store keeps of pods, and what it says of them. Pure.

use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodSpec, PodStatus};
use kube::ResourceExt as _;
use peerup_crds::names::{annotations, sidecar};

/// Stands in the store for container and volume of a sidecar, which would take more room than all the rest. No
/// annotation of this name passes [`trim`]: only it sets it.
const SIDECAR: &str = "sidecar";

/// Keeps what decisions need: there may be ten thousands of pods.
pub fn trim(pod: &mut Pod) {
    let sidecar = names_sidecar(pod);
    pod.metadata.managed_fields = None;
    let annotations = pod.annotations_mut();
    annotations.retain(|key, _| {
        key.starts_with(annotations::PREFIX) || key == "kubernetes.io/config.mirror"
    });
    if sidecar {
        annotations.insert(SIDECAR.to_owned(), String::new());
    }
    if let Some(spec) = pod.spec.take() {
        pod.spec = Some(PodSpec {
            node_name: spec.node_name,
            service_account_name: spec.service_account_name,
            host_network: spec.host_network,
            os: spec.os,
            ..Default::default()
        });
    }
    if let Some(status) = pod.status.take() {
        pod.status = Some(PodStatus {
            phase: status.phase,
            host_ips: status.host_ips,
            pod_ip: status.pod_ip,
            conditions: status
                .conditions
                .map(|list| list.into_iter().filter(is_used).collect()),
            ..Default::default()
        });
    }
}

/// Our container with its token volume; labels are output and prove nothing.
fn names_sidecar(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let is_ours = |container: &Container| container.name == sidecar::CONTAINER;
    let mut containers = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    let mut volumes = spec.volumes.iter().flatten();
    containers.any(is_ours) && volumes.any(|volume| volume.name == sidecar::TOKEN_VOLUME)
}

fn is_used(condition: &PodCondition) -> bool {
    condition.type_ == "Ready" || condition.type_.starts_with(annotations::PREFIX)
}

/// Whether a pod of the store has a sidecar.
#[must_use]
pub fn has_sidecar(pod: &Pod) -> bool {
    pod.annotations().contains_key(SIDECAR)
}

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

    #[test]
    fn a_pod_keeps_what_decisions_need() {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web-0", "annotations": {"peerup.dev/name": "web", "other": "dropped", "sidecar": "said by itself"}},
            "spec": {
                "nodeName": "n1", "serviceAccountName": "web", "hostNetwork": true,
                "containers": [{"name": "app", "image": "x", "env": [{"name": "SECRET", "value": "y"}]}],
                "initContainers": [{"name": "setup"}, {"name": "peerup", "image": "z"}],
                "volumes": [{"name": "data", "emptyDir": {}}, {"name": "peerup-token", "emptyDir": {}}],
            },
            "status": {"phase": "Running", "hostIPs": [{"ip": "10.0.0.1"}], "conditions": [
                {"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"},
                {"type": "peerup.dev/Joined", "status": "True"}]},
        }))
        .unwrap();
        trim(&mut pod);
        assert_eq!(
            serde_json::to_value(&pod).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "web-0", "annotations": {"peerup.dev/name": "web", "sidecar": ""}},
                "spec": {
                    "nodeName": "n1", "serviceAccountName": "web", "hostNetwork": true,
                    "containers": [],
                },
                "status": {"phase": "Running", "hostIPs": [{"ip": "10.0.0.1"}], "conditions": [
                    {"type": "Ready", "status": "True"}, {"type": "peerup.dev/Joined", "status": "True"}]},
            })
        );
    }

    #[test]
    fn only_a_container_with_its_volume_is_a_sidecar() {
        let has = |spec: Value| {
            let annotations = json!({"sidecar": "true"});
            let pod = json!({"metadata": {"annotations": annotations}, "spec": spec});
            let mut pod: Pod = serde_json::from_value(pod).unwrap();
            trim(&mut pod);
            has_sidecar(&pod)
        };
        let (app, ours) = (json!([{"name": "app"}]), json!([{"name": "peerup"}]));
        let (other, volume) = (json!([{"name": "x"}]), json!([{"name": "peerup-token"}]));
        for (containers, init, volumes, expected) in [
            (&app, &ours, &volume, true),
            (&ours, &app, &volume, true),
            (&app, &ours, &other, false),
            (&app, &app, &volume, false),
        ] {
            let spec =
                json!({"containers": containers, "initContainers": init, "volumes": volumes});
            assert_eq!(has(spec.clone()), expected, "{spec}");
        }
    }
}
