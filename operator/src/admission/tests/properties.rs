//! What holds for every pod: injecting is idempotent, and the author's fields win.

use std::{collections::BTreeMap, sync::Arc};

use peerup_crds::{ContainerMode, Hold, PeerNetwork, Switch};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{inject::Decision, select::Reason},
    decide, enabled, network, patched, pod,
};

/// Labels or annotations of others.
fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-z]{1,8}(/[a-z]{1,8})?", "[a-z0-9]{0,8}", 0..3)
}

/// Annotations, some of ours among them, good and bad.
fn annotations() -> impl Strategy<Value = Value> {
    let keys =
        "hold image log-level cpu-request memory-limit container-mode name expose forward status";
    let values = "joined container native debug 1 4Gi registry.example/peerup-sidecar:2 http=80 80=http@web ?? {}";
    let words = |text: &'static str| prop::sample::select(text.split(' ').collect::<Vec<_>>());
    let ours = words(keys).prop_map(|key| format!("peerup.dev/{key}"));
    let ours = prop::collection::btree_map(ours, words(values).prop_map(str::to_owned), 0..4);
    let scrape = prop::sample::subsequence(vec!["scrape", "port", "path"], 0..2);
    (texts(), ours, scrape).prop_map(|(mut all, ours, scrape)| {
        all.extend(ours);
        all.extend(
            scrape
                .iter()
                .map(|key| (format!("prometheus.io/{key}"), "x".to_owned())),
        );
        json!(all)
    })
}

/// Containers of our name as authors declare them.
fn declared() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"name": "peerup", "resources": {}, "imagePullPolicy": "Always"})),
        Just(json!({
            "name": "peerup", "image": "auto", "resources": {"limits": {"cpu": "1"}},
            "env": [{"name": "PEERUP_LOG", "value": "trace"}],
        })),
        Just(json!({
            "name": "peerup", "image": "mine:1", "env": null, "securityContext": {"runAsUser": 7},
            "volumeMounts": [
                {"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
                {"name": "own", "mountPath": "/own"},
            ],
        })),
    ]
}

/// A list of containers, perhaps one of our name in it.
fn containers() -> impl Strategy<Value = Value> {
    let other = "[a-z]{1,6}".prop_map(|name| json!({"name": name, "image": "x"}));
    let others = prop::collection::vec(other, 0..3);
    let place = any::<prop::sample::Index>();
    (others, prop::option::of(declared()), place).prop_map(|(mut list, ours, at)| {
        if let Some(ours) = ours {
            list.insert(at.index(list.len() + 1), ours);
        }
        Value::Array(list)
    })
}

fn volumes() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec!["data", "peerup-token", "peerup-state"]);
    let volume = names.prop_map(|name| json!({"name": name, "emptyDir": {}}));
    prop::collection::vec(volume, 0..3).prop_map(Value::Array)
}

/// Pods as the API server may send them, with parts of ours in all stages.
fn pods() -> impl Strategy<Value = Value> {
    let maybe = |value: BoxedStrategy<Value>| prop_oneof![Just(Value::Null), value];
    let labels = maybe(texts().prop_map(|map| json!(map)).boxed());
    let annotations = maybe(annotations().boxed());
    let spec = (
        maybe(containers().boxed()),
        containers(),
        maybe(volumes().boxed()),
    );
    (labels, annotations, spec).prop_map(|(labels, annotations, (init, containers, volumes))| {
        let mut metadata = json!({"name": "p", "labels": labels, "annotations": annotations});
        let fields = metadata.as_object_mut().unwrap();
        fields.retain(|_, value| !value.is_null());
        let spec = json!({"initContainers": init, "containers": containers, "volumes": volumes});
        pod(metadata, spec)
    })
}

fn networks() -> impl Strategy<Value = Arc<PeerNetwork>> {
    let modes = prop::sample::select(vec![ContainerMode::Native, ContainerMode::Container]);
    let holds = prop::sample::select(vec![Hold::None, Hold::Started, Hold::Joined]);
    (modes, holds, any::<bool>()).prop_map(|(mode, hold, gate)| {
        let mut network = (*network("shop", "main", json!({}))).clone();
        network.spec.injection.container_mode = mode;
        network.spec.injection.hold = hold;
        network.spec.injection.readiness_gate = if gate {
            Switch::Enabled
        } else {
            Switch::Disabled
        };
        Arc::new(network)
    })
}

fn ours(pod: &Value) -> Vec<&Value> {
    let lists = [&pod["spec"]["initContainers"], &pod["spec"]["containers"]];
    lists
        .into_iter()
        .flat_map(|list| list.as_array().into_iter().flatten())
        .filter(|container| container["name"] == "peerup")
        .collect()
}

proptest! {
    #[test]
    fn injecting_twice_is_injecting_once(pod in pods(), network in networks()) {
        let networks = [network];
        let first = decide(&pod, &enabled(), &networks);
        let Decision::Patch(operations) = first.decision else { return Ok(()) };
        let once = patched(&pod, &operations);
        let again = decide(&once, &enabled(), &networks);
        prop_assert_eq!(again.decision, Decision::Skip(Reason::AlreadyInjected));
        prop_assert_eq!(again.warnings, first.warnings);
    }

    #[test]
    fn the_authors_fields_win_and_ours_are_complete(pod in pods(), network in networks()) {
        let Decision::Patch(operations) = decide(&pod, &enabled(), &[network]).decision else { return Ok(()) };
        let after = patched(&pod, &operations);
        let (before, after) = (ours(&pod), ours(&after));
        prop_assert!(after.len() == before.len().max(1));
        let mounts: Vec<_> = after[0]["volumeMounts"].as_array().unwrap().iter().map(|mount| &mount["mountPath"]).collect();
        for path in ["/var/run/peerup/state", "/var/run/peerup/token", "/var/run/peerup/ca", "/var/run/secrets/kubernetes.io/serviceaccount"] {
            prop_assert_eq!(mounts.iter().filter(|mount| **mount == path).count(), 1, "{}", path);
        }
        prop_assert!(after[0]["image"] != "auto" && after[0]["image"].is_string());
        if let Some(declared) = before.first() {
            for field in ["resources", "restartPolicy", "livenessProbe"] {
                let kept = declared.get(field).is_none_or(|value| *value == json!({}) || *value == after[0][field]);
                prop_assert!(kept, "{}", field);
            }
            for variable in declared["env"].as_array().into_iter().flatten() {
                prop_assert!(after[0]["env"].as_array().unwrap().contains(variable));
            }
        }
    }

    #[test]
    fn any_json_at_all_gives_a_verdict(text in "[\\[\\]{}\",:a-z0-9]{0,40}") {
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            decide(&value, &enabled(), &[network("shop", "main", json!({}))]);
        }
    }
}
