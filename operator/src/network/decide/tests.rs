//! Tables of what a network needs next.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use peerup_protocol::{
    id::Serial,
    record::{NetworkDocument, Revocations},
    secret::NetworkSeed,
};
use serde_json::{Value, json};

use super::*;

mod documents;
mod refusals;
mod relays;

const NOW: UnixTime = 1_800_000_000;

fn network(change: impl FnOnce(&mut Value)) -> Arc<PeerNetwork> {
    let mut network = json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork",
        "metadata": {
            "name": "main", "namespace": "shop", "uid": "0a1b2c3d-0000-4000-8000-000000000000", "generation": 3,
            "creationTimestamp": "2026-11-01T00:00:00Z", "finalizers": ["peerup.dev/network-cleanup"],
        },
        "spec": {"relay": {"managed": {"replicas": 2}}},
    });
    change(&mut network);
    Arc::new(serde_json::from_value(network).unwrap())
}

fn key() -> Arc<NetworkKey> {
    Arc::new(NetworkKey::new(NetworkSeed::new([7; 32])))
}

fn observed(network: Arc<PeerNetwork>) -> Observed {
    Observed {
        now: NOW,
        network,
        key: Ok(key()),
        rivals: Vec::new(),
        ca: Some("PEM".to_owned()),
        cluster: "local".to_owned(),
        relay: RelaySettings {
            image: "peerup-relay:1".to_owned(),
            pull_policy: "IfNotPresent",
            operator_url: "https://operator:9444".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            log_format: "text",
        },
        services: BTreeMap::new(),
        pods: BTreeMap::new(),
        children: Vec::new(),
        refused: Vec::new(),
        pod_namespaces: BTreeSet::new(),
        published: None,
        census: Census::default(),
        active_codes: 0,
        injection: InjectionCounts::default(),
        peers: Vec::new(),
        codes: Vec::new(),
    }
}

fn kept(seen: &Observed) -> Keep {
    match decide(seen) {
        Decision::Keep(keep) => *keep,
        Decision::Remove(remove) => panic!("expected to keep, got {remove:?}"),
    }
}

fn condition<'a>(keep: &'a Keep, type_: &str) -> &'a Condition {
    let status = keep.status.as_ref().expect("a new status");
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
        .expect("the condition")
}

/// What the network controller would see after it has written and published.
fn after(seen: &Observed, keep: Keep) -> Observed {
    let mut network = PeerNetwork::clone(&seen.network);
    network.status = keep.status.or(network.status);
    let published = keep
        .publish
        .map(Arc::new)
        .or_else(|| seen.published.clone());
    let children = keep.apply.iter().map(|object| object.key.clone()).collect();
    Observed {
        network: Arc::new(network),
        published,
        children,
        ..seen.clone()
    }
}

fn relay_pod() -> Arc<Pod> {
    let pod = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}], "hostIPs": [{"ip": "10.0.0.5"}]}});
    Arc::new(serde_json::from_value(pod).unwrap())
}

#[test]
fn a_new_network_gets_finalizer_then_key_then_everything() {
    let bare = network(|network| network["metadata"]["finalizers"] = json!([]));
    let keep = kept(&Observed {
        key: Err(KeyError::NotMade),
        ..observed(bare)
    });
    assert!(keep.add_finalizer && !keep.make_key && keep.status.is_none() && keep.apply.is_empty());

    let keep = kept(&Observed {
        key: Err(KeyError::NotMade),
        ..observed(network(|_| {}))
    });
    assert!(keep.make_key && keep.apply.is_empty() && keep.status.is_none());

    let keep = kept(&observed(network(|_| {})));
    let names: Vec<_> = keep
        .apply
        .iter()
        .map(|object| (object.key.kind, object.key.name.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            (Kind::ConfigMap, "peerup-0a1b2c3d"),
            (Kind::ServiceAccount, "main-relay"),
            (Kind::Service, "main-relays"),
            (Kind::Service, "main-relay-0"),
            (Kind::Service, "main-relay-1"),
            (Kind::NetworkPolicy, "main-relay"),
            (Kind::PodDisruptionBudget, "main-relay"),
            (Kind::StatefulSet, "main-relay"),
        ]
    );
    assert_eq!(keep.relay_keys.as_ref().unwrap().seeds.len(), 9);
    assert_eq!(condition(&keep, "Ready").reason, "NoRelayReady");
    assert!(keep.publish.is_some());
    let status = keep.status.unwrap();
    assert_eq!(status.dht_namespace.as_deref(), Some("main-0a1b2c3d"));
    assert_eq!(status.network_id, Some(key().id.to_string()));
    assert_eq!(
        (status.epoch, status.observed_generation),
        (Some(1), Some(3))
    );
}

#[test]
fn what_stands_in_the_way_is_said_and_nothing_is_made() {
    let table: [(Change, &str); 4] = [
        (
            |seen| {
                seen.key = Err(KeyError::Lost {
                    secret: "s".to_owned(),
                })
            },
            "NetworkKeyLost",
        ),
        (
            |seen| {
                seen.key = Err(KeyError::Malformed {
                    secret: "s".to_owned(),
                })
            },
            "NetworkKeyLost",
        ),
        (|seen| seen.ca = None, "CertificateNotReady"),
        (
            |seen| {
                seen.rivals.push(Rival {
                    title: "other/old".to_owned(),
                    dht_namespace: "main-0a1b2c3d".to_owned(),
                    seniority: (1, String::new()),
                });
            },
            "NamespaceTaken",
        ),
    ];
    for (change, reason) in table {
        let mut seen = observed(network(|_| {}));
        change(&mut seen);
        let keep = kept(&seen);
        assert_eq!(condition(&keep, "Ready").reason, reason);
        assert!(
            keep.apply.is_empty()
                && keep.publish.is_none()
                && keep.relay_keys.is_none()
                && !keep.make_key,
            "{reason}"
        );
        assert!(keep.events.iter().all(|event| event.warning), "{reason}");
        assert_eq!(keep.events.len(), 1, "{reason}");
    }
}

#[test]
fn the_older_of_two_networks_keeps_the_name() {
    let mut seen = observed(network(|network| {
        network["spec"]["dhtNamespace"] = json!("shared")
    }));
    let rival = |seniority| Rival {
        title: "other/one".to_owned(),
        dht_namespace: "shared".to_owned(),
        seniority,
    };
    seen.rivals = vec![rival((UnixTime::MAX, String::new()))];
    assert_eq!(condition(&kept(&seen), "Ready").reason, "NoRelayReady");
    let twin = super::super::observe::seniority(&seen.network).0;
    seen.rivals = vec![rival((twin, "0".to_owned()))];
    let keep = kept(&seen);
    assert_eq!(condition(&keep, "Ready").reason, "NamespaceTaken");
    assert!(condition(&keep, "Ready").message.contains("other/one"));
}

#[test]
fn a_settled_network_is_left_alone_until_it_is_time_to_sign() {
    let mut seen = observed(network(|_| {}));
    seen.pods = BTreeMap::from([(0, relay_pod()), (1, relay_pod())]);
    let first = kept(&seen);
    assert_eq!(condition(&first, "Ready").reason, "Running");
    let mut seen = after(&seen, first);
    seen.now += RESIGN_SECONDS - 1;
    let idle = kept(&seen);
    assert_eq!(
        (&idle.status, &idle.publish, &idle.events),
        (&None, &None, &Vec::new())
    );
    seen.now += 1;
    let again = kept(&seen);
    let published = again.publish.unwrap();
    assert_eq!(
        (again.status, published.epoch, published.issued),
        (None, 1, seen.now)
    );
}

#[test]
fn numbers_grow_with_content_and_with_leaders() {
    let seen = observed(network(|_| {}));
    let mut seen = after(&seen, kept(&seen));

    // Somebody revoked: number and entry are written already.
    let mut network = PeerNetwork::clone(&seen.network);
    let status = network.status.as_mut().unwrap();
    status.epoch = Some(2);
    status.revocations = serde_json::from_value(
        json!([{"serial": "00000000000000ff", "untilTime": crate::clock::time(NOW + 100)}]),
    )
    .unwrap();
    seen.network = Arc::new(network);
    let keep = kept(&seen);
    let published = keep.publish.clone().unwrap();
    assert_eq!((published.epoch, keep.status.is_none()), (2, true));
    let list = Revocations::decode(&published.revocations.bytes).unwrap();
    assert_eq!(
        (list.epoch, list.serials.into_iter().collect::<Vec<_>>()),
        (2, vec![Serial(255)])
    );
    assert!(
        published.revocations.verify(&key().public()).is_ok()
            && published.document.verify(&key().public()).is_ok()
    );

    // The entry's time is over.
    let mut seen = after(&seen, keep);
    seen.now += 100;
    let keep = kept(&seen);
    assert_eq!(
        (
            keep.status.as_ref().unwrap().epoch,
            keep.status.as_ref().unwrap().revocations.len()
        ),
        (Some(3), 0)
    );

    // Another leader knows nothing of what was published.
    let mut seen = after(&seen, keep);
    seen.published = None;
    assert_eq!(kept(&seen).publish.unwrap().epoch, 4);
}

type Change = fn(&mut Observed);

fn hold(type_: &str, table: &[(Change, (&str, &str))]) {
    for (change, expected) in table {
        let mut seen = observed(network(|_| {}));
        seen.pods = BTreeMap::from([(0, relay_pod()), (1, relay_pod())]);
        change(&mut seen);
        let keep = kept(&seen);
        let condition = condition(&keep, type_);
        assert_eq!(
            (condition.status.as_str(), condition.reason.as_str()),
            *expected
        );
    }
}

#[test]
fn relay_available_says_what_relays_lack() {
    hold(
        "RelayAvailable",
        &[
            (|_| {}, ("True", "InsideOnly")),
            (|seen| seen.pods.clear(), ("False", "NoRelayReady")),
            (
                |seen| spec(seen, |spec| spec.peers.max_peers = 5000),
                ("True", "TooFewReservations"),
            ),
        ],
    );
}

#[test]
fn injection_ready_says_what_pods_lack() {
    let disabled: Change = |seen| {
        spec(seen, |spec| {
            spec.injection.policy = peerup_crds::Switch::Disabled
        })
    };
    hold(
        "InjectionReady",
        &[
            (|seen| seen.injection.pods = 1, ("True", "Injecting")),
            (
                |seen| seen.injection.not_injected = 1,
                ("False", "NotInjected"),
            ),
            (|seen| seen.injection.outdated = 1, ("True", "Outdated")),
            (disabled, ("False", "InjectionDisabled")),
        ],
    );
}

#[test]
fn peers_and_suspension_are_said() {
    hold(
        "PeersReachable",
        &[
            (
                |seen| seen.census.counts.total = 2,
                ("True", "AllReachable"),
            ),
            (
                |seen| seen.census.counts.below_minimum = 1,
                ("False", "BelowMinimumGrade"),
            ),
            (
                |seen| seen.census.counts.unknown = 1,
                ("Unknown", "ReportsMissing"),
            ),
        ],
    );
    hold(
        "Suspended",
        &[
            (|_| {}, ("False", "Active")),
            (
                |seen| spec(seen, |spec| spec.suspend = true),
                ("True", "Suspended"),
            ),
        ],
    );
}

fn spec(seen: &mut Observed, change: impl FnOnce(&mut peerup_crds::PeerNetworkSpec)) {
    let mut network = PeerNetwork::clone(&seen.network);
    change(&mut network.spec);
    seen.network = Arc::new(network);
}

#[test]
fn what_is_not_needed_any_more_is_deleted() {
    let mut seen = observed(network(|_| {}));
    seen.pod_namespaces.insert("apps".to_owned());
    let mut seen = after(&seen, kept(&seen));
    assert!(kept(&seen).delete.is_empty());
    seen.pod_namespaces.clear();
    spec(&mut seen, |spec| spec.relay.managed.replicas = 1);
    let gone: Vec<_> = kept(&seen)
        .delete
        .into_iter()
        .map(|key| (key.kind, key.namespace, key.name))
        .collect();
    let expected = [
        (Kind::ConfigMap, "apps", "peerup-0a1b2c3d"),
        (Kind::Service, "shop", "main-relay-1"),
    ];
    assert_eq!(
        gone,
        expected.map(|(kind, namespace, name)| (kind, namespace.to_owned(), name.to_owned()))
    );
}

#[test]
fn a_network_that_goes_takes_everything_with_it_and_the_key_last() {
    let going = |policy: &str| {
        network(|network| {
            network["metadata"]["deletionTimestamp"] = json!("2026-11-24T00:00:00Z");
            network["spec"]["deletionPolicy"] = json!(policy);
        })
    };
    let mut seen = observed(going("Delete"));
    let foreign = ChildKey {
        kind: Kind::ConfigMap,
        namespace: "apps".to_owned(),
        name: "peerup-0a1b2c3d".to_owned(),
    };
    let own = ChildKey {
        namespace: "shop".to_owned(),
        ..foreign.clone()
    };
    seen.children = vec![foreign.clone(), own];
    seen.peers = vec!["main.web-0".to_owned()];
    seen.codes = vec!["team".to_owned()];
    let first = Remove {
        peers: seen.peers.clone(),
        codes: seen.codes.clone(),
        children: vec![foreign.clone()],
        ..Remove::default()
    };
    assert_eq!(decide(&seen), Decision::Remove(first));
    seen.peers.clear();
    seen.codes.clear();
    let key = Some("peerup-network-0a1b2c3d-0000-4000-8000-000000000000".to_owned());
    let last = Remove {
        children: vec![foreign],
        key,
        finished: true,
        ..Remove::default()
    };
    assert_eq!(decide(&seen), Decision::Remove(last.clone()));
    seen.network = going("Retain");
    assert_eq!(
        decide(&seen),
        Decision::Remove(Remove { key: None, ..last })
    );
}
