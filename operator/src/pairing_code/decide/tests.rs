//! Tables of what a PairingCode needs next.

use peerup_protocol::{PeerId, code::Code, derive, id::Slot, secret::NetworkSeed};
use serde_json::json;

use super::*;
use crate::{clock, conditions};

mod ends;
mod hashes;

const NOW: UnixTime = 1_800_000_000;

fn network() -> PeerNetwork {
    serde_json::from_value(json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork",
        "metadata": {"name": "main", "namespace": "shop", "uid": "n1"}, "spec": {},
        "status": {"networkID": key().id.to_string(), "dhtNamespace": "mesh"},
    }))
    .unwrap()
}

fn key() -> Arc<NetworkKey> {
    Arc::new(NetworkKey::new(NetworkSeed::new([7; 32])))
}

fn responder() -> Responder {
    let peer: PeerId = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
        .parse()
        .unwrap();
    Responder {
        peer,
        addresses: vec!["/ip4/10.0.0.5/tcp/30001".parse().unwrap()],
    }
}

fn observed(change: impl FnOnce(&mut Value)) -> Observed {
    let mut code = json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "PairingCode",
        "metadata": {"name": "team", "namespace": "shop", "uid": "c1", "generation": 1},
        "spec": {"networkRef": {"name": "main"}, "count": 3, "ttlSeconds": 600},
    });
    change(&mut code);
    Observed {
        now: NOW,
        code: Arc::new(serde_json::from_value(code).unwrap()),
        network: Some(Arc::new(network())),
        key: Ok(key()),
        responders: vec![responder()],
        other_codes: 0,
        secret_rival: None,
        group_rival: None,
        delivery: Delivery::Unknown,
    }
}

/// After the decision was carried out.
fn after(seen: &Observed, decision: &Decision) -> Observed {
    let mut code = PairingCode::clone(&seen.code);
    code.status = decision.status.clone().or(code.status);
    let delivery = match &decision.secret {
        SecretStep::Leave => seen.delivery.clone(),
        SecretStep::Write { codes, .. } => Delivery::Written(codes.clone()),
        SecretStep::Remove { .. } => Delivery::Removed,
    };
    Observed {
        code: Arc::new(code),
        delivery,
        ..seen.clone()
    }
}

/// Until nothing is left to do.
fn settled(mut seen: Observed) -> Observed {
    for _ in 0..5 {
        let decision = decide(&seen);
        if decision.status.is_none() && decision.secret == SecretStep::Leave {
            return seen;
        }
        seen = after(&seen, &decision);
    }
    panic!("never settles: {:?}", decide(&seen));
}

fn set_slot(seen: &mut Observed, slot: usize, state: SlotState) {
    let mut code = PairingCode::clone(&seen.code);
    code.status.as_mut().unwrap().codes[slot].state = state;
    seen.code = Arc::new(code);
}

fn condition(seen: &Observed, type_: &str) -> (String, String) {
    let conditions = &seen.code.status.as_ref().unwrap().conditions;
    let condition = conditions::find(conditions, type_).unwrap();
    (condition.status.clone(), condition.reason.clone())
}

fn keys(seen: &Observed) -> Vec<String> {
    match &seen.delivery {
        Delivery::Written(codes) => codes.keys().cloned().collect(),
        Delivery::Unknown | Delivery::Removed | Delivery::Refused(_) => Vec::new(),
    }
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[test]
fn codes_are_issued_and_delivered() {
    let seen = observed(|_| {});
    let first = decide(&seen);
    let status = first.status.clone().unwrap();
    assert_eq!(
        (status.codes.len(), status.remaining, status.failed_attempts),
        (3, Some(3), Some(0))
    );
    assert_eq!(status.expiration_time, Some(clock::time(NOW + 600)));
    assert!(
        matches!(first.secret, SecretStep::Write { .. }),
        "in the same reconcile"
    );

    let seen = settled(seen);
    assert_eq!(condition(&seen, "Ready"), pair("True", "Issued"));
    assert_eq!(condition(&seen, "Delivered"), pair("True", "Written"));
    assert_eq!(keys(&seen), ["code-0", "code-1", "code-2"]);
    let Delivery::Written(codes) = &seen.delivery else {
        panic!("not written")
    };
    let code = Code::parse(codes["code-1"].expose()).unwrap();
    assert_eq!(
        (code.slot, code.not_after, code.namespace.as_str()),
        (Slot(1), (NOW + 600) as u32, "mesh")
    );
    assert_eq!(code.responders, [responder()]);
    let status = &seen.code.status.as_ref().unwrap().codes[1];
    assert_eq!(
        status.hash,
        data_encoding::HEXLOWER.encode(&derive::code_hash(
            &code.net,
            &code.group,
            code.slot,
            &code.secret
        ))
    );
    assert!(
        !format!("{seen:?}").contains(codes["code-1"].expose()),
        "never in a log"
    );
}

#[test]
fn another_leader_writes_the_same_codes() {
    let seen = settled(observed(|_| {}));
    let other = settled(Observed {
        delivery: Delivery::Unknown,
        now: NOW + 100,
        ..seen.clone()
    });
    assert_eq!(other.delivery, seen.delivery);
    assert_eq!(other.code.status, seen.code.status);
}

#[test]
fn what_breaks_a_rule_gets_no_codes_and_is_told_why() {
    type Change = fn(&mut Observed);
    let table: [(Change, &str); 8] = [
        (|seen| seen.network = None, "NetworkNotFound"),
        (|seen| seen.key = Err(KeyError::NotMade), "NetworkNotReady"),
        (
            |seen| of_network(seen, |network| network.status = None),
            "NetworkNotReady",
        ),
        (
            |seen| of_network(seen, |network| network.spec.suspend = true),
            "Suspended",
        ),
        (
            |seen| of_network(seen, |network| network.spec.pairing.max_ttl_seconds = 300),
            "TTLTooLong",
        ),
        (|seen| seen.other_codes = 98, "QuotaExceeded"),
        (
            |seen| seen.secret_rival = Some("older".to_owned()),
            "SecretTaken",
        ),
        (
            |seen| of_code(seen, |code| code.spec.state = CodeState::Revoked),
            "Revoked",
        ),
    ];
    for (change, reason) in table {
        let mut seen = observed(|_| {});
        change(&mut seen);
        let seen = settled(seen);
        assert_eq!(condition(&seen, "Ready"), pair("False", reason));
        assert_eq!(condition(&seen, "Delivered"), pair("False", reason));
        let status = seen.code.status.as_ref().unwrap();
        assert!(
            status.group.is_none() && status.codes.is_empty() && keys(&seen).is_empty(),
            "{reason}"
        );
    }
    let fits = settled(Observed {
        other_codes: 97,
        ..observed(|_| {})
    });
    assert_eq!(condition(&fits, "Ready"), pair("True", "Issued"));
}

fn of_network(seen: &mut Observed, change: impl FnOnce(&mut PeerNetwork)) {
    let mut network = network();
    change(&mut network);
    seen.network = Some(Arc::new(network));
}

fn of_code(seen: &mut Observed, change: impl FnOnce(&mut PairingCode)) {
    let mut code = PairingCode::clone(&seen.code);
    change(&mut code);
    seen.code = Arc::new(code);
}

#[test]
fn codes_wait_for_an_outside_address() {
    let mut seen = settled(Observed {
        responders: Vec::new(),
        ..observed(|_| {})
    });
    assert_eq!(condition(&seen, "Ready"), pair("True", "Issued"));
    assert_eq!(
        condition(&seen, "Delivered"),
        pair("False", "NoOutsideAddress")
    );
    assert!(keys(&seen).is_empty());
    seen.responders = vec![responder()];
    let seen = settled(seen);
    assert_eq!(condition(&seen, "Delivered"), pair("True", "Written"));
}

#[test]
fn a_used_slot_leaves_the_secret_at_once() {
    let mut seen = settled(observed(|_| {}));
    set_slot(&mut seen, 1, SlotState::Used);
    let decision = decide(&seen);
    let SecretStep::Write { codes, .. } = &decision.secret else {
        panic!("not written")
    };
    assert_eq!(codes.keys().collect::<Vec<_>>(), ["code-0", "code-2"]);
    assert_eq!(decision.status.unwrap().remaining, Some(2));
}

#[test]
fn expiry_comes_by_timer() {
    let seen = settled(observed(|_| {}));
    assert_eq!(decide(&seen).again_seconds, Some(AGAIN_SECONDS));
    assert_eq!(
        decide(&Observed {
            now: NOW + 590,
            ..seen.clone()
        })
        .again_seconds,
        Some(10)
    );
}

#[test]
fn a_refused_secret_is_told_and_tried_again() {
    let seen = observed(|_| {});
    let mut seen = after(&seen, &decide(&seen));
    seen.delivery = Delivery::Refused("type is immutable".to_owned());
    let decision = decide(&seen);
    assert!(matches!(decision.secret, SecretStep::Write { .. }));
    let mut seen = after(&seen, &decision);
    assert_eq!(
        condition(&seen, "Delivered"),
        pair("False", "SecretRefused")
    );
    seen.delivery = Delivery::Written(BTreeMap::new());
    assert_eq!(
        condition(&settled(seen), "Delivered"),
        pair("True", "Written")
    );
}
