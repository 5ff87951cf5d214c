//! Tables of what a PairingCode needs next.

use peerup_protocol::{PeerId, secret::NetworkSeed};

use super::*;

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
        hex(&derive::code_hash(
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
fn every_end_empties_the_secret_and_stays() {
    type Change = fn(&mut Observed);
    let table: [(Change, &str, SlotState); 4] = [
        (
            |seen| (0..3).for_each(|slot| set_slot(seen, slot, SlotState::Used)),
            "Exhausted",
            SlotState::Used,
        ),
        (|seen| seen.now = NOW + 600, "Expired", SlotState::Expired),
        (
            |seen| (0..3).for_each(|slot| set_slot(seen, slot, SlotState::Burned)),
            "Burned",
            SlotState::Burned,
        ),
        (
            |seen| of_code(seen, |code| code.spec.state = CodeState::Revoked),
            "Revoked",
            SlotState::Revoked,
        ),
    ];
    for (change, reason, state) in table {
        let mut seen = settled(observed(|_| {}));
        change(&mut seen);
        let decision = decide(&seen);
        assert_eq!(
            decision.secret,
            SecretStep::Remove {
                name: "team".to_owned()
            },
            "{reason}"
        );
        assert_eq!(decision.burned, reason == "Burned");
        let seen = settled(seen);
        assert_eq!(condition(&seen, "Ready"), pair("False", reason));
        let status = seen.code.status.clone().unwrap();
        assert_eq!(
            (status.remaining, &status.secret_ref),
            (Some(0), &None),
            "{reason}"
        );
        assert!(
            status.codes.iter().all(|slot| slot.state == state),
            "{reason}"
        );
        assert_eq!(
            decide(&seen).again_seconds,
            None,
            "{reason}: nothing left to wait for"
        );
    }
}

#[test]
fn used_codes_survive_the_end_of_the_others() {
    let mut seen = settled(observed(|_| {}));
    set_slot(&mut seen, 0, SlotState::Used);
    seen.now = NOW + 600;
    let seen = settled(seen);
    let states: Vec<_> = seen
        .code
        .status
        .as_ref()
        .unwrap()
        .codes
        .iter()
        .map(|slot| slot.state)
        .collect();
    assert_eq!(
        states,
        [SlotState::Used, SlotState::Expired, SlotState::Expired]
    );
    assert_eq!(condition(&seen, "Expired").0, "True");
    assert_eq!(condition(&seen, "Exhausted").0, "False");
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
