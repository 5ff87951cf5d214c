//! What is kept of pods, and what it says of them: there may be ten thousands. Pure.

use std::borrow::Cow;

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Pod as Whole, PodCondition},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use peerup_crds::names::{annotations, sidecar};
use serde::Deserialize;

/// A pod of the API server, read without what no decision needs.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "Read")]
pub struct Pod {
    /// Without managers, and of the annotations only those that say something here.
    pub metadata: ObjectMeta,
    /// The node that it was given to.
    pub node_name: Option<String>,
    /// The service account that it runs as.
    pub service_account: Option<String>,
    /// It has the node's network.
    pub host_network: bool,
    /// It runs on Windows.
    pub windows: bool,
    /// It has our container and its token's volume. Labels are output and prove nothing.
    pub has_sidecar: bool,
    /// Hash of the template that its sidecar was made from.
    pub template: Option<String>,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: Option<String>,
    /// Addresses of its node.
    pub host_ips: Vec<String>,
    /// Its own address.
    pub ip: Option<String>,
    /// `Ready`, and ours.
    pub conditions: Vec<PodCondition>,
}

impl Pod {
    /// Whether it serves: its containers are ready and nobody deletes it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let mut conditions = self.conditions.iter();
        let ready = conditions.any(|one| one.type_ == "Ready" && one.status == "True");
        ready && self.metadata.deletion_timestamp.is_none()
    }

    /// Whether its containers have ended for good.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Whether it is over or will be: such a pod needs nothing any more.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.metadata.deletion_timestamp.is_some() || self.is_over()
    }
}

impl Resource for Pod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        <Whole as Resource>::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        <Whole as Resource>::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        <Whole as Resource>::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        <Whole as Resource>::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The fields of a `v1.Pod` that are looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    #[serde(default)]
    metadata: ObjectMeta,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    service_account_name: Option<String>,
    host_network: Option<bool>,
    os: Option<Named>,
    containers: Option<Vec<Named>>,
    init_containers: Option<Vec<Named>>,
    volumes: Option<Vec<Named>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: Option<String>,
    #[serde(rename = "hostIPs")]
    host_ips: Option<Vec<HostIp>>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    conditions: Option<Vec<PodCondition>>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct HostIp {
    ip: Option<String>,
}

impl From<Read> for Pod {
    fn from(read: Read) -> Self {
        let (spec, status) = (
            read.spec.unwrap_or_default(),
            read.status.unwrap_or_default(),
        );
        let template = template(&read.metadata);
        let mut conditions = status.conditions.unwrap_or_default();
        conditions.retain(is_used);
        conditions.shrink_to_fit();
        let host_ips = status.host_ips.into_iter().flatten();
        Self {
            metadata: trimmed(read.metadata),
            host_network: spec.host_network == Some(true),
            windows: spec.os.as_ref().is_some_and(|os| os.name == "windows"),
            has_sidecar: names_sidecar(&spec),
            node_name: spec.node_name,
            service_account: spec.service_account_name,
            template,
            phase: status.phase,
            host_ips: host_ips.filter_map(|one| one.ip).collect(),
            ip: status.pod_ip,
            conditions,
        }
    }
}

/// From what the webhook wrote into an annotation.
fn template(metadata: &ObjectMeta) -> Option<String> {
    #[derive(Deserialize)]
    struct Status {
        template: String,
    }
    let status = metadata.annotations.as_ref()?.get(annotations::STATUS)?;
    let status: Status = serde_json::from_str(status).ok()?;
    Some(status.template)
}

fn trimmed(mut metadata: ObjectMeta) -> ObjectMeta {
    metadata.managed_fields = None;
    let says_something = |key: &str| {
        let ours = key.starts_with(annotations::PREFIX) && key != annotations::STATUS;
        ours || key == "kubernetes.io/config.mirror"
    };
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|key, _| says_something(key));
    }
    metadata
}

/// Our container with its token volume.
fn names_sidecar(spec: &Spec) -> bool {
    let has = |list: &Option<Vec<Named>>, name: &str| {
        list.iter().flatten().any(|named| named.name == name)
    };
    let container =
        has(&spec.containers, sidecar::CONTAINER) || has(&spec.init_containers, sidecar::CONTAINER);
    container && has(&spec.volumes, sidecar::TOKEN_VOLUME)
}

fn is_used(condition: &PodCondition) -> bool {
    condition.type_ == "Ready" || condition.type_.starts_with(annotations::PREFIX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(pod: Value) -> Pod {
        serde_json::from_value(pod).unwrap()
    }

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
            let pod = read(json!({"metadata": metadata, "status": status}));
            assert_eq!(pod.is_ready(), expected, "{text}");
        }
    }

    #[test]
    fn a_pod_keeps_what_decisions_need() {
        let pod = read(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "web-0",
                "annotations": {
                    "peerup.dev/name": "web", "peerup.dev/status": r#"{"version":"0.1.0","template":"abcd"}"#,
                    "other": "dropped",
                },
                "managedFields": [{"manager": "kubelet"}],
            },
            "spec": {
                "nodeName": "n1", "serviceAccountName": "web", "hostNetwork": true, "os": {"name": "windows"},
                "containers": [{"name": "app", "image": "x", "env": [{"name": "SECRET", "value": "y"}]}],
                "initContainers": [{"name": "setup"}, {"name": "peerup", "image": "z"}],
                "volumes": [{"name": "data", "emptyDir": {}}, {"name": "peerup-token", "emptyDir": {}}],
            },
            "status": {"phase": "Running", "hostIPs": [{"ip": "10.0.0.1"}], "podIP": "10.244.0.7", "conditions": [
                {"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"},
                {"type": "peerup.dev/Joined", "status": "True"}]},
        }));
        let condition = |type_: &str| PodCondition {
            type_: type_.to_owned(),
            status: "True".to_owned(),
            ..PodCondition::default()
        };
        let annotations = [("peerup.dev/name".to_owned(), "web".to_owned())];
        let expected = Pod {
            metadata: ObjectMeta {
                name: Some("web-0".to_owned()),
                annotations: Some(annotations.into()),
                ..ObjectMeta::default()
            },
            node_name: Some("n1".to_owned()),
            service_account: Some("web".to_owned()),
            host_network: true,
            windows: true,
            has_sidecar: true,
            template: Some("abcd".to_owned()),
            phase: Some("Running".to_owned()),
            host_ips: vec!["10.0.0.1".to_owned()],
            ip: Some("10.244.0.7".to_owned()),
            conditions: vec![condition("Ready"), condition("peerup.dev/Joined")],
        };
        assert_eq!(pod, expected);
    }

    #[test]
    fn only_a_container_with_its_volume_is_a_sidecar() {
        let (app, ours) = (json!([{"name": "app"}]), json!([{"name": "peerup"}]));
        let (other, volume) = (json!([{"name": "x"}]), json!([{"name": "peerup-token"}]));
        for (containers, init, volumes, expected) in [
            (&app, &ours, &volume, true),
            (&ours, &app, &volume, true),
            (&ours, &Value::Null, &volume, true),
            (&app, &ours, &other, false),
            (&app, &ours, &Value::Null, false),
            (&app, &app, &volume, false),
        ] {
            let spec =
                json!({"containers": containers, "initContainers": init, "volumes": volumes});
            let pod = read(json!({"metadata": {}, "spec": spec.clone()}));
            assert_eq!(pod.has_sidecar, expected, "{spec}");
        }
    }
}
