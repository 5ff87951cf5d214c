//! What pods bring to the operator: reviews of the admission webhook, annotations, quantities.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use peerup_crds::PeerNetwork;
use peerup_operator::admission::inject::{self, Decision, Settings, Verdict};
use peerup_operator::admission::review::{Answer, Request};
use peerup_operator::admission::select::{Home, Places, Reason};
use peerup_operator::admission::{options, quantity};
use serde_json::{Value, json};

use crate::property::bounded;

const CA: &str = "the authority's certificate";

/// A network of the namespace `shop`.
static NETWORK: LazyLock<[Box<PeerNetwork>; 1]> = LazyLock::new(|| {
    let network = json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork",
        "metadata": {"name": "main", "namespace": "shop", "uid": "0123abcd-0000-4000-8000-000000000000"},
        "spec": {},
    });
    [serde_json::from_value(network).expect("a PeerNetwork")]
});

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings {
    version: "0.0.0".to_owned(),
    places: Places {
        operator_namespace: "peerup-system".to_owned(),
        ..Places::default()
    },
    operator_url: "https://operator".to_owned(),
    image: "peerup-sidecar:0".to_owned(),
    image_pull_policy: "IfNotPresent",
    allowed_images: vec!["registry.example/*:1".to_owned()],
    scrape_annotations: true,
});

fn decide(pod: &Value) -> Verdict {
    let home = Home {
        name: "shop".to_owned(),
        labels: BTreeMap::from([("peerup.dev/inject".to_owned(), "enabled".to_owned())]),
        annotations: BTreeMap::new(),
    };
    inject::decide(pod, &home, NETWORK.as_slice(), &SETTINGS, CA)
}

/// A review of the webhook. Its pod may be anything: a patch fits it, and changes nothing the second time.
pub(crate) fn review(data: &[u8]) -> bool {
    let request = match bounded(data.len(), 512, || Request::read(data)) {
        Ok(request) => request,
        Err(error) => {
            let _ = error.to_string();
            return false;
        }
    };
    let Verdict { decision, warnings } = decide(&request.object);
    assert!(warnings.iter().all(|warning| is_plain(warning)));
    let answer = match decision {
        Decision::Skip(_) => Answer::unchanged(request.uid, warnings),
        Decision::Patch(operations) => {
            let mut pod = request.object;
            json_patch::patch(&mut pod, &operations).expect("a patch fits its pod");
            let again = decide(&pod);
            assert_eq!(again.decision, Decision::Skip(Reason::AlreadyInjected));
            assert_eq!(again.warnings, warnings);
            Answer::patched(request.uid, warnings, &operations).expect("a patch is JSON")
        }
    };
    serde_json::to_vec(&answer).expect("an answer is JSON");
    true
}

/// Annotations of a pod; accepted when nothing is wrong with any of ours.
pub(crate) fn annotations(data: &[u8]) -> bool {
    let Ok(given) = serde_json::from_slice::<BTreeMap<String, String>>(data) else {
        return false;
    };
    let allowed = &SETTINGS.allowed_images;
    let (read, warnings) = bounded(data.len(), 64, || options::read(&given, allowed));
    assert!(warnings.len() <= given.len());
    assert!(warnings.iter().all(|warning| is_plain(warning)));
    for (resource, amount) in read.resources.requests.iter().chain(&read.resources.limits) {
        assert!(quantity::milli(&amount.0).is_some(), "{resource}");
    }
    warnings.is_empty()
}

/// An amount of CPU or memory; it is the same amount when it is written in thousandths.
pub(crate) fn quantity(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let Some(amount) = bounded(data.len(), 8, || quantity::milli(text)) else {
        return false;
    };
    if amount < 10u128.pow(18) {
        assert_eq!(quantity::milli(&format!("{amount}m")), Some(amount));
    }
    true
}

/// Whether a terminal obeys nothing in it.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}
