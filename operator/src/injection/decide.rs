//! Whether a pod has the sidecar that it asked for. Pure.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Resource as _, ResourceExt as _};
use peerup_crds::{PeerNetwork, names::labels};

use crate::admission::{
    options,
    select::{Home, Places, Reason, Subject, select},
};
use crate::pods::Pod;

/// What is to be said about a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It did not ask for a sidecar, or is ending.
    Uninvolved,
    /// It has one.
    Injected {
        /// UID of its network.
        network_uid: String,
        /// Hash of the template that it was made from.
        template: Option<String>,
    },
    /// It asked for one and has none.
    Missing(Missing),
}

/// A pod that asked for a sidecar and has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// UID of the network that it should be in, where that can be told.
    pub network_uid: Option<String>,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why and what to do.
    pub message: String,
    /// Whether somebody should do something: it counts and alerts.
    pub counts: bool,
}

/// Judges a pod as the store holds it.
#[must_use]
pub fn judge(pod: &Pod, home: &Home, networks: &[Arc<PeerNetwork>], places: &Places) -> Verdict {
    if pod.is_ending() {
        return Verdict::Uninvolved;
    }
    if pod.has_sidecar {
        let network_uid = pod
            .labels()
            .get(labels::NETWORK_UID)
            .cloned()
            .unwrap_or_default();
        return Verdict::Injected {
            network_uid,
            template: pod.template.clone(),
        };
    }
    match select(&subject(pod), home, networks, places) {
        Ok(network) => Verdict::Missing(Missing {
            network_uid: network.uid(),
            reason: "WebhookMissed",
            message: format!(
                "the pod was made before {} or while the webhook did not answer; restart it",
                crate::controller::title(network)
            ),
            counts: true,
        }),
        Err(reason) => refused(reason),
    }
}

fn refused(reason: Reason) -> Verdict {
    let counts = match reason {
        Reason::NotOptedIn | Reason::MirrorPod | Reason::AlreadyInjected => {
            return Verdict::Uninvolved;
        }
        // The author asked for what cannot be, or the network's owner does not want it: no mistake to be repaired.
        Reason::SystemNamespace
        | Reason::NamespaceNotServed
        | Reason::HostNetwork
        | Reason::UnsupportedOS
        | Reason::InjectionDisabled
        | Reason::NotSelected => false,
        Reason::BadInjectLabel
        | Reason::BadNetworkName
        | Reason::NoNetwork
        | Reason::NetworkAmbiguous
        | Reason::NetworkNotFound
        | Reason::NetworkTerminating
        | Reason::NamespaceNotAdmitted
        | Reason::MalformedPod => true,
    };
    let message = reason.advice().unwrap_or_default().to_owned();
    Verdict::Missing(Missing {
        network_uid: None,
        reason: reason.as_str(),
        message,
        counts,
    })
}

fn subject(pod: &Pod) -> Subject {
    let map = |texts: &BTreeMap<String, String>| texts.clone();
    Subject {
        labels: map(pod.labels()),
        annotations: map(pod.annotations()),
        host_network: pod.host_network,
        windows: pod.windows,
    }
}

/// What is wrong with the wishes of a pod, which has its sidecar without them.
#[must_use]
pub fn complaint(pod: &Pod, allowed_images: &[String]) -> Option<String> {
    let (_, warnings) = options::read(pod.annotations(), allowed_images);
    (!warnings.is_empty()).then(|| warnings.join("; "))
}

/// Whom to tell: the pod's controller, since a ReplicaSet's pods are looked at by nobody; else the pod.
#[must_use]
pub fn responsible(pod: &Pod) -> ObjectReference {
    let Some(owner) = pod
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true))
    else {
        return pod.object_ref(&());
    };
    let OwnerReference {
        api_version,
        kind,
        name,
        uid,
        ..
    } = owner.clone();
    ObjectReference {
        api_version: Some(api_version),
        kind: Some(kind),
        name: Some(name),
        uid: Some(uid),
        namespace: pod.namespace(),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn network() -> Arc<PeerNetwork> {
        let network = json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork",
            "metadata": {"name": "main", "namespace": "shop", "uid": "u1"}, "spec": {},
        });
        Arc::new(serde_json::from_value(network).unwrap())
    }

    fn pod(change: impl FnOnce(&mut Value)) -> Pod {
        let mut pod = json!({
            "metadata": {"name": "web-0", "namespace": "shop", "labels": {"peerup.dev/inject": "enabled"}},
            "spec": {"containers": [{"name": "app"}]},
            "status": {"phase": "Running"},
        });
        change(&mut pod);
        serde_json::from_value(pod).unwrap()
    }

    fn of(pod: &Pod) -> Verdict {
        let home = Home {
            name: pod.metadata.namespace.clone().unwrap(),
            ..Home::default()
        };
        let places = Places {
            operator_namespace: "peerup-system".to_owned(),
            excluded: vec!["batch".to_owned()],
            served: Vec::new(),
        };
        judge(pod, &home, &[network()], &places)
    }

    fn reason(verdict: &Verdict) -> (&'static str, bool) {
        match verdict {
            Verdict::Missing(missing) => (missing.reason, missing.counts),
            Verdict::Uninvolved => ("uninvolved", false),
            Verdict::Injected { .. } => ("injected", false),
        }
    }

    #[test]
    fn pods_without_their_sidecar_are_found_with_the_reason() {
        type Change = fn(&mut Value);
        let table: [(&str, Change, (&str, bool)); 9] = [
            ("missed", |_| {}, ("WebhookMissed", true)),
            (
                "not asked",
                |pod| pod["metadata"]["labels"] = json!({}),
                ("uninvolved", false),
            ),
            (
                "done",
                |pod| pod["status"]["phase"] = json!("Succeeded"),
                ("uninvolved", false),
            ),
            (
                "going",
                |pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
                ("uninvolved", false),
            ),
            (
                "excluded from the webhook",
                |pod| pod["metadata"]["namespace"] = json!("batch"),
                ("SystemNamespace", false),
            ),
            (
                "host",
                |pod| pod["spec"]["hostNetwork"] = json!(true),
                ("HostNetwork", false),
            ),
            (
                "wrong name",
                |pod| pod["metadata"]["annotations"] = json!({"peerup.dev/network": "nowhere"}),
                ("NetworkNotFound", true),
            ),
            (
                "only labelled",
                |pod| pod["metadata"]["labels"]["peerup.dev/injected"] = json!("true"),
                ("WebhookMissed", true),
            ),
            (
                "only a container of our name",
                |pod| pod["spec"]["initContainers"] = json!([{"name": "peerup"}]),
                ("WebhookMissed", true),
            ),
        ];
        for (what, change, expected) in table {
            assert_eq!(reason(&of(&pod(change))), expected, "{what}");
        }
    }

    #[test]
    fn an_injected_pod_names_its_network_and_template() {
        let pod = pod(|pod| {
            pod["metadata"]["labels"]["peerup.dev/network-uid"] = json!("u1");
            pod["metadata"]["annotations"] =
                json!({"peerup.dev/status": r#"{"version":"0.1.0","template":"abcd"}"#});
            pod["spec"]["initContainers"] = json!([{"name": "peerup"}]);
            pod["spec"]["volumes"] = json!([{"name": "peerup-token"}]);
        });
        let expected = Verdict::Injected {
            network_uid: "u1".to_owned(),
            template: Some("abcd".to_owned()),
        };
        assert_eq!(of(&pod), expected);
    }

    #[test]
    fn wishes_that_are_not_understood_are_told() {
        let with = |expose: &str| {
            pod(|pod| {
                pod["metadata"]["annotations"] =
                    json!({"peerup.dev/expose": expose, "peerup.dev/status": "{}", "other": "x"});
            })
        };
        assert_eq!(complaint(&with("http=8080"), &[]), None);
        let text = complaint(&with("http"), &[]).unwrap();
        assert!(
            text.starts_with("annotation peerup.dev/expose=http: ignored: expected service=port"),
            "{text}"
        );
    }

    #[test]
    fn the_controller_of_a_pod_is_told_and_a_lone_pod_itself() {
        let owned = pod(|pod| {
            pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "r", "controller": true}]);
        });
        let told = responsible(&owned);
        assert_eq!(
            (
                told.kind.as_deref(),
                told.name.as_deref(),
                told.namespace.as_deref()
            ),
            (Some("ReplicaSet"), Some("web-1"), Some("shop"))
        );
        assert_eq!(responsible(&pod(|_| {})).kind.as_deref(), Some("Pod"));
    }
}
