//! Injection: golden files, and which pods get a sidecar of which network.

mod places;
mod properties;

use std::{fs, path::PathBuf, sync::Arc};

use json_patch::PatchOperation;
use peerup_crds::PeerNetwork;
use serde_json::{Value, json};

use super::{
    inject::{self, Decision, Settings, Verdict},
    select::{Home, Places, Reason},
};

const CA: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

fn settings() -> Settings {
    Settings {
        version: "0.0.0".to_owned(),
        places: Places {
            operator_namespace: "peerup-system".to_owned(),
            ..Places::default()
        },
        operator_url: "https://operator.peerup-system.svc:9444".to_owned(),
        image: "peerup-sidecar:0.0.0".to_owned(),
        image_pull_policy: "IfNotPresent",
        allowed_images: vec!["registry.example/peerup-sidecar:*".to_owned()],
        scrape_annotations: true,
    }
}

fn network(namespace: &str, name: &str, spec: Value) -> Arc<PeerNetwork> {
    let uid = format!("0123abcd-0000-4000-8000-{:012x}", name.len());
    let object = json!({
        "apiVersion": "peerup.dev/v1alpha1",
        "kind": "PeerNetwork",
        "metadata": {"name": name, "namespace": namespace, "uid": uid},
        "spec": spec,
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn home(labels: Value) -> Home {
    Home {
        name: "shop".to_owned(),
        labels: serde_json::from_value(labels).unwrap(),
        annotations: Default::default(),
    }
}

fn enabled() -> Home {
    home(json!({"peerup.dev/inject": "enabled"}))
}

fn decide(pod: &Value, home: &Home, networks: &[Arc<PeerNetwork>]) -> Verdict {
    inject::decide(pod, home, networks, &settings(), CA)
}

fn patched(pod: &Value, operations: &[PatchOperation]) -> Value {
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, operations).unwrap();
    pod
}

fn pod(metadata: Value, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

fn plain() -> Value {
    pod(
        json!({"name": "web", "namespace": "shop"}),
        json!({"containers": [{"name": "app", "image": "app:1"}]}),
    )
}

/// `NAME.json` holds `{pod, namespaceLabels?, network?}`; `NAME.golden.json` what comes of it. With
/// `UPDATE_GOLDEN` in the environment the latter are written anew.
#[test]
fn golden_files() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/injection");
    let mut seen = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(stem) = name
            .strip_suffix(".json")
            .filter(|stem| !stem.ends_with(".golden"))
        else {
            continue;
        };
        let case: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let labels = case
            .get("namespaceLabels")
            .cloned()
            .unwrap_or(json!({"peerup.dev/inject": "enabled"}));
        let spec = case.get("network").cloned().unwrap_or(json!({}));
        let verdict = decide(
            &case["pod"],
            &home(labels),
            &[network("shop", "main", spec)],
        );
        let outcome = match &verdict.decision {
            Decision::Patch(operations) => {
                json!({"patch": operations, "warnings": verdict.warnings})
            }
            Decision::Skip(reason) => {
                json!({"skipped": reason.as_str(), "warnings": verdict.warnings})
            }
        };
        let golden = folder.join(format!("{stem}.golden.json"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(
                &golden,
                serde_json::to_string_pretty(&outcome).unwrap() + "\n",
            )
            .unwrap();
        }
        let expected: Value =
            serde_json::from_slice(&fs::read(&golden).unwrap_or_default()).unwrap_or_default();
        assert_eq!(outcome, expected, "{stem}");
        seen += 1;
    }
    assert!(seen >= 8, "only {seen} cases in {}", folder.display());
}

#[test]
fn a_large_pod_costs_a_small_patch() {
    let env: Vec<Value> = (0..600)
        .map(|n| json!({"name": format!("SETTING_{n}"), "value": "x".repeat(80)}))
        .collect();
    let pod = pod(
        json!({"name": "large"}),
        json!({"containers": [{"name": "app", "image": "app:1", "env": env}]}),
    );
    assert!(pod.to_string().len() > 64 * 1024);
    let Decision::Patch(operations) =
        decide(&pod, &enabled(), &[network("shop", "main", json!({}))]).decision
    else {
        panic!("skipped")
    };
    assert!(serde_json::to_string(&operations).unwrap().len() < 8 * 1024);
    assert_eq!(
        patched(&pod, &operations)["spec"]["containers"],
        pod["spec"]["containers"]
    );
}

#[test]
fn fields_that_nobody_here_knows_survive() {
    let strange = json!({"containers": [{"name": "app", "image": "app:1", "fieldOfTheFuture": {"deep": [1, 2.5, null]}}], "anotherOne": 10_000_000_000_000_u64});
    let pod = pod(json!({"name": "strange"}), strange);
    let Decision::Patch(operations) =
        decide(&pod, &enabled(), &[network("shop", "main", json!({}))]).decision
    else {
        panic!("skipped")
    };
    let after = patched(&pod, &operations);
    assert_eq!(after["spec"]["containers"], pod["spec"]["containers"]);
    assert_eq!(after["spec"]["anotherOne"], pod["spec"]["anotherOne"]);
}

fn reason(pod: &Value, home: &Home, networks: &[Arc<PeerNetwork>]) -> Option<Reason> {
    match decide(pod, home, networks).decision {
        Decision::Skip(reason) => Some(reason),
        Decision::Patch(_) => None,
    }
}

fn annotated(network: &str) -> Value {
    let mut pod = plain();
    pod["metadata"]["annotations"] = json!({"peerup.dev/network": network});
    pod
}

#[test]
fn pods_opt_in_and_out() {
    let networks = [network("shop", "main", json!({}))];
    let mut pod = plain();
    assert_eq!(
        reason(&pod, &home(json!({})), &networks),
        Some(Reason::NotOptedIn)
    );
    assert_eq!(reason(&pod, &enabled(), &networks), None);
    assert_eq!(
        reason(&pod, &home(json!({"peerup.dev/inject": "on"})), &networks),
        Some(Reason::BadInjectLabel)
    );
    pod["metadata"]["labels"] = json!({"peerup.dev/inject": "disabled"});
    assert_eq!(
        reason(&pod, &enabled(), &networks),
        Some(Reason::NotOptedIn)
    );
    pod["metadata"]["labels"] = json!({"peerup.dev/inject": "enabled"});
    assert_eq!(reason(&pod, &home(json!({})), &networks), None);
    pod["metadata"]["labels"] = json!({"peerup.dev/injected": "true"});
    assert_eq!(
        reason(&pod, &home(json!({})), &networks),
        Some(Reason::NotOptedIn),
        "our own label is output only"
    );
}

#[test]
fn some_pods_are_left_alone() {
    let networks = [network("shop", "main", json!({}))];
    let with = |path: &str, value: Value| {
        let mut pod = plain();
        *pod.pointer_mut(path).unwrap() = value;
        pod
    };
    let spec = |more: Value| {
        let mut spec = plain()["spec"].clone();
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        with("/spec", spec)
    };
    let mirror = with(
        "/metadata",
        json!({"annotations": {"kubernetes.io/config.mirror": "x"}}),
    );
    assert_eq!(
        reason(&mirror, &enabled(), &networks),
        Some(Reason::MirrorPod)
    );
    assert_eq!(
        reason(&spec(json!({"hostNetwork": true})), &enabled(), &networks),
        Some(Reason::HostNetwork)
    );
    assert_eq!(
        reason(
            &spec(json!({"os": {"name": "windows"}})),
            &enabled(),
            &networks
        ),
        Some(Reason::UnsupportedOS)
    );
    for namespace in ["kube-system", "peerup-system"] {
        let home = Home {
            name: namespace.to_owned(),
            ..enabled()
        };
        assert_eq!(
            reason(&plain(), &home, &networks),
            Some(Reason::SystemNamespace)
        );
    }
}

#[test]
fn a_pod_that_is_none_is_left_alone() {
    let networks = [network("shop", "main", json!({}))];
    for broken in [
        json!(null),
        json!([]),
        json!({"metadata": {}}),
        json!({"metadata": {"labels": 7}, "spec": {}}),
        json!({"metadata": {}, "spec": {"volumes": 7}}),
    ] {
        assert_eq!(
            reason(&broken, &enabled(), &networks),
            Some(Reason::MalformedPod),
            "{broken}"
        );
    }
}

#[test]
fn networks_are_found_by_name_and_only_where_they_admit() {
    let main = network("shop", "main", json!({}));
    let other = network("shop", "other", json!({}));
    let closed = network("infra", "closed", json!({}));
    let open = network(
        "infra",
        "open",
        json!({"allowedNamespaces": {"from": "All"}}),
    );
    let selector = json!({"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}});
    let some = network("infra", "some", json!({"allowedNamespaces": selector}));
    let one = [main.clone(), closed.clone(), open.clone()];
    let all = [main, other, closed, open, some];

    assert_eq!(reason(&plain(), &enabled(), &one), None);
    assert_eq!(reason(&plain(), &enabled(), &[]), Some(Reason::NoNetwork));
    assert_eq!(
        reason(&plain(), &enabled(), &one[1..]),
        Some(Reason::NoNetwork),
        "never another namespace's by default"
    );
    assert_eq!(
        reason(&plain(), &enabled(), &all),
        Some(Reason::NetworkAmbiguous)
    );
    for (name, expected) in [
        ("main", None),
        ("shop/other", None),
        ("infra/open", None),
        ("infra/closed", Some(Reason::NamespaceNotAdmitted)),
        ("infra/some", Some(Reason::NamespaceNotAdmitted)),
        ("open", Some(Reason::NetworkNotFound)),
        ("infra/missing", Some(Reason::NetworkNotFound)),
        ("", Some(Reason::BadNetworkName)),
        ("a/b/c", Some(Reason::BadNetworkName)),
        ("Main", Some(Reason::BadNetworkName)),
    ] {
        assert_eq!(
            reason(&annotated(name), &enabled(), &all),
            expected,
            "{name}"
        );
    }
    let team = home(json!({"peerup.dev/inject": "enabled", "team": "shop"}));
    assert_eq!(reason(&annotated("infra/some"), &team, &all), None);
    let named = Home {
        annotations: [("peerup.dev/network".to_owned(), "infra/open".to_owned())].into(),
        ..enabled()
    };
    assert_eq!(
        reason(&plain(), &named, &all),
        None,
        "the namespace may name one"
    );
    assert_eq!(
        reason(&annotated("infra/closed"), &named, &all),
        Some(Reason::NamespaceNotAdmitted),
        "the pod's own name wins"
    );
}

#[test]
fn a_network_may_refuse() {
    let one = |spec: Value| [network("shop", "main", spec)];
    assert_eq!(
        reason(
            &plain(),
            &enabled(),
            &one(json!({"injection": {"policy": "Disabled"}}))
        ),
        Some(Reason::InjectionDisabled)
    );
    let selector = one(
        json!({"injection": {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["web"]}]}}}),
    );
    assert_eq!(
        reason(&plain(), &enabled(), &selector),
        Some(Reason::NotSelected)
    );
    let mut pod = plain();
    pod["metadata"]["labels"] = json!({"tier": "web"});
    assert_eq!(reason(&pod, &enabled(), &selector), None);
    let mut going = (*network("shop", "main", json!({}))).clone();
    going.metadata.deletion_timestamp = Some(crate::clock::time(1));
    assert_eq!(
        reason(&annotated("main"), &enabled(), &[Arc::new(going)]),
        Some(Reason::NetworkTerminating)
    );
}

#[test]
fn every_reason_for_the_author_comes_as_a_warning() {
    let verdict = decide(
        &annotated("shop/typo"),
        &enabled(),
        &[network("shop", "main", json!({}))],
    );
    assert_eq!(
        verdict.warnings,
        [
            "no sidecar (NetworkNotFound): the PeerNetwork named by annotation peerup.dev/network does not exist"
        ]
    );
    assert_eq!(
        decide(&plain(), &home(json!({})), &[]).warnings,
        Vec::<String>::new()
    );
}

#[test]
fn the_template_hash_follows_the_template_and_not_the_certificates() {
    let base = network("shop", "main", json!({}));
    let hash = inject::template_hash(&base, &settings());
    assert_eq!(hash.len(), 16);
    assert_ne!(
        hash,
        inject::template_hash(
            &network("shop", "main", json!({"injection": {"logLevel": "Debug"}})),
            &settings()
        )
    );
    assert_ne!(
        hash,
        inject::template_hash(
            &base,
            &Settings {
                image: "peerup-sidecar:0.0.1".to_owned(),
                ..settings()
            }
        )
    );
    let Decision::Patch(operations) =
        decide(&plain(), &enabled(), std::slice::from_ref(&base)).decision
    else {
        panic!("skipped")
    };
    let status =
        patched(&plain(), &operations)["metadata"]["annotations"]["peerup.dev/status"].clone();
    let status: Value = serde_json::from_str(status.as_str().unwrap()).unwrap();
    assert_eq!(status, json!({"version": "0.0.0", "template": hash}));
    let rotated = inject::decide(
        &patched(&plain(), &operations),
        &enabled(),
        &[base],
        &settings(),
        "another CA",
    );
    assert_eq!(rotated.decision, Decision::Skip(Reason::AlreadyInjected));
}

/// The annotations of a pod once it is injected, but for our own.
fn annotations_of(pod: &Value, settings: &Settings) -> Value {
    let networks = [network("shop", "main", json!({}))];
    let Decision::Patch(operations) =
        inject::decide(pod, &enabled(), &networks, settings, CA).decision
    else {
        panic!("skipped")
    };
    let mut annotations = patched(pod, &operations)["metadata"]["annotations"].take();
    annotations
        .as_object_mut()
        .unwrap()
        .remove("peerup.dev/status");
    annotations
}

#[test]
fn a_pod_that_says_nothing_of_scraping_is_scraped_at_the_sidecar() {
    let ours = json!({
        "prometheus.io/scrape": "true", "prometheus.io/port": "9465", "prometheus.io/path": "/metrics",
    });
    assert_eq!(annotations_of(&plain(), &settings()), ours);
    let port = peerup_crds::names::ports::HTTP.to_string();
    assert_eq!(
        ours["prometheus.io/port"], port,
        "where the sidecar listens"
    );
    for (key, value) in [
        ("prometheus.io/scrape", "false"),
        ("prometheus.io/port", "8080"),
        ("prometheus.io/path", "/"),
    ] {
        let mut pod = plain();
        pod["metadata"]["annotations"] = json!({key: value});
        assert_eq!(
            annotations_of(&pod, &settings()),
            json!({key: value}),
            "the application's stay as they are"
        );
    }
    let off = Settings {
        scrape_annotations: false,
        ..settings()
    };
    assert_eq!(annotations_of(&plain(), &off), json!({}));
}
