//! What the API server refuses, and what only looks like the operator's.

use super::*;

fn refused(step: &str, elsewhere: bool) -> Refused {
    Refused {
        step: step.to_owned(),
        elsewhere,
        words: "the API server says 422: no".to_owned(),
    }
}

#[test]
fn a_refused_object_is_said_and_everything_else_goes_on() {
    let mut seen = observed(network(|_| {}));
    seen.pods = BTreeMap::from([(0, relay_pod()), (1, relay_pod())]);
    let fine = kept(&seen);
    seen.refused = vec![refused("apply StatefulSet shop/main-relay", false)];
    let keep = kept(&seen);
    let ready = condition(&keep, "Ready");
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("False", "ObjectRefused")
    );
    let said = "apply StatefulSet shop/main-relay: the API server says 422: no; correct spec.relay";
    assert!(ready.message.starts_with(said), "{}", ready.message);
    assert_eq!(condition(&keep, "RelayAvailable").reason, "InsideOnly");
    assert_eq!(keep.publish, fine.publish);
    assert_eq!(keep.apply, fine.apply);
    assert_eq!(keep.status.as_ref().unwrap().observed_generation, Some(3));
    let event = &keep.events[0];
    assert_eq!(
        (keep.events.len(), event.warning, event.reason.as_str()),
        (1, true, "ObjectRefused")
    );
    let mut again = after(&seen, keep);
    assert_eq!((kept(&again).status, kept(&again).events), (None, vec![]));
    again.refused.clear();
    assert_eq!(condition(&kept(&again), "Ready").reason, "Running");
}

#[test]
fn what_others_can_cause_elsewhere_leaves_the_network_ready() {
    let mut seen = observed(network(|_| {}));
    seen.pods = BTreeMap::from([(0, relay_pod()), (1, relay_pod())]);
    seen.refused = vec![refused("apply ConfigMap apps/peerup-0a1b2c3d", true)];
    let keep = kept(&seen);
    assert_eq!(condition(&keep, "Ready").reason, "Running");
    let injection = condition(&keep, "InjectionReady");
    assert_eq!(injection.reason, "ObjectRefused");
    assert!(injection.message.contains("apps/peerup-0a1b2c3d"));
    let reasons: Vec<_> = keep.events.iter().map(|event| &event.reason).collect();
    assert_eq!(reasons, ["Running", "ObjectRefused"]);
    let again = kept(&after(&seen, keep));
    assert_eq!((again.status, again.events), (None, vec![]));
}

#[test]
fn only_some_of_many_refused_objects_are_named() {
    let mut seen = observed(network(|_| {}));
    let all = (0..9).map(|n| refused(&format!("apply Service shop/main-relay-{n}"), false));
    seen.refused = all.collect();
    let keep = kept(&seen);
    let message = &condition(&keep, "Ready").message;
    assert!(
        message.contains("relay-2: ") && !message.contains("relay-3"),
        "{message}"
    );
    assert!(message.contains("(and 6 more)"), "{message}");
}

#[test]
fn labels_alone_make_nothing_the_operators() {
    let child = |kind, namespace: &str, name: &str| ChildKey {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let foreign = [
        child(Kind::Service, "shop", "my-lb"),
        child(Kind::Service, "apps", "main-relay-8"),
        child(Kind::ConfigMap, "apps", "notes"),
        child(Kind::StatefulSet, "shop", "other-relay"),
        child(Kind::ServiceAccount, "apps", "main-relay"),
    ];
    let ours = [
        child(Kind::ConfigMap, "apps", "peerup-0a1b2c3d"),
        child(Kind::Service, "shop", "main-relay-8"),
    ];
    let mut seen = observed(network(|_| {}));
    seen.children = foreign.iter().chain(&ours).cloned().collect();
    assert_eq!(kept(&seen).delete, ours);

    seen.network = network(|network| {
        network["metadata"]["deletionTimestamp"] = json!("2026-11-24T00:00:00Z");
    });
    let Decision::Remove(remove) = decide(&seen) else {
        panic!("it goes")
    };
    assert_eq!(remove.children, ours[..1], "an owner takes the rest along");
}
