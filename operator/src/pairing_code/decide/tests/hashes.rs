//! Codes that were made elsewhere: hashes and public keys are taken as they are, a group only once.

use peerup_crds::PeerNetworkStatus;
use peerup_protocol::SigningKey;

use super::*;

const GROUP: &str = "0123456789abcdef";

fn public_key(slot: u8) -> String {
    let key = SigningKey::from_bytes(&[slot + 1; 32]).verifying_key();
    data_encoding::HEXLOWER.encode(key.as_bytes())
}

/// Of two codes that live for ten minutes.
fn given() -> Observed {
    observed(|code| {
        let value = |slot: u8| json!({"slot": slot, "hash": format!("{slot:064x}"), "publicKey": public_key(slot)});
        code["spec"]["count"] = json!(2);
        code["spec"]["delivery"] = json!({"type": "Hashes", "hashes": {
            "group": GROUP, "notAfterTime": clock::time(NOW + 600), "values": [value(1), value(0)],
        }});
    })
}

fn of_hashes(seen: &mut Observed, change: impl FnOnce(&mut peerup_crds::HashesDelivery)) {
    of_code(seen, |code| {
        let delivery = code.spec.delivery.as_mut().unwrap();
        change(delivery.hashes.as_mut().unwrap());
    });
}

fn used(group: &str, until: UnixTime, uid: &str) -> UsedGroup {
    UsedGroup {
        group: group.to_owned(),
        until_time: clock::time(until),
        pairing_code_uid: uid.to_owned(),
    }
}

fn of_used(seen: &mut Observed, groups: Vec<UsedGroup>) {
    of_network(seen, |network| {
        network.status.as_mut().unwrap().used_groups = groups;
    });
}

#[test]
fn they_are_issued_as_they_are_and_put_nowhere() {
    let seen = given();
    let first = decide(&seen);
    assert_eq!(first.reserve, Some(used(GROUP, NOW + 600, "c1")));
    let seen = after(&seen, &first);
    let status = seen.code.status.clone().unwrap();
    let codes: Vec<_> = status
        .codes
        .iter()
        .map(|code| {
            (
                code.slot,
                code.hash.clone(),
                code.public_key.clone(),
                code.state,
            )
        })
        .collect();
    let code = |slot: u8| {
        let hash = format!("{slot:064x}");
        (slot.into(), hash, public_key(slot), SlotState::Available)
    };
    assert_eq!(codes, [code(0), code(1)]);
    assert_eq!(
        (
            status.group.as_deref(),
            status.expiration_time,
            status.secret_ref
        ),
        (Some(GROUP), Some(clock::time(NOW + 600)), None)
    );
    assert_eq!(condition(&seen, "Ready"), pair("True", "Issued"));
    assert_eq!(condition(&seen, "Delivered"), pair("True", "MadeElsewhere"));
    let settled = decide(&seen);
    assert_eq!(
        (settled.secret, settled.status, settled.reserve),
        (SecretStep::Leave, None, None)
    );
}

#[test]
fn no_address_and_no_secret_are_needed() {
    let seen = settled(Observed {
        responders: Vec::new(),
        secret_rival: Some("other".to_owned()),
        ..given()
    });
    assert_eq!(condition(&seen, "Delivered"), pair("True", "MadeElsewhere"));
    assert_eq!(seen.delivery, Delivery::Unknown);
}

#[test]
fn a_group_is_had_once() {
    type Change = fn(&mut Observed);
    let table: [(Change, &str); 4] = [
        (
            |seen| seen.group_rival = Some("other".to_owned()),
            "GroupTaken",
        ),
        (
            |seen| of_used(seen, vec![used(GROUP, NOW + 1, "other")]),
            "GroupUsed",
        ),
        (|seen| of_used(seen, full(names(1024))), "GroupsFull"),
        (
            |seen| of_hashes(seen, |hashes| hashes.values[0].public_key = "0".repeat(64)),
            "BadPublicKey",
        ),
    ];
    for (change, reason) in table {
        let mut seen = given();
        change(&mut seen);
        assert_eq!(decide(&seen).reserve, None, "{reason}");
        let seen = settled(seen);
        assert_eq!(condition(&seen, "Ready"), pair("False", reason));
        let status = seen.code.status.as_ref().unwrap();
        assert!(
            status.group.is_none() && status.codes.is_empty(),
            "{reason}"
        );
    }
}

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("{number:016x}"))
}

fn full(groups: impl Iterator<Item = String>) -> Vec<UsedGroup> {
    groups.map(|group| used(&group, NOW + 9, "other")).collect()
}

#[test]
fn what_is_its_own_or_over_does_not_stand_in_the_way() {
    for known in [
        vec![used(GROUP, NOW + 600, "c1")],
        vec![used(GROUP, NOW, "other")],
        full(names(1023)),
    ] {
        let mut seen = given();
        let own = known[0].pairing_code_uid == "c1";
        of_used(&mut seen, known);
        let decision = decide(&seen);
        assert_eq!(decision.reserve.is_none(), own, "marked before a crash");
        assert_eq!(
            condition(&after(&seen, &decision), "Ready"),
            pair("True", "Issued")
        );
    }
}

#[test]
fn their_own_end_is_held_to_the_networks_limit() {
    for (ahead, expected) in [
        (0, Err("Expired")),
        (1, Ok(1)),
        (86_400, Ok(86_400)),
        // A clock may be ahead; the codes end in time all the same.
        (86_460, Ok(86_400)),
        (86_461, Err("TTLTooLong")),
    ] {
        let mut seen = given();
        of_hashes(&mut seen, |hashes| {
            hashes.not_after_time = clock::time(NOW + ahead)
        });
        let seen = settled(seen);
        let end = seen.code.status.as_ref().unwrap().expiration_time.clone();
        match expected {
            Ok(life) => assert_eq!(end, Some(clock::time(NOW + life)), "{ahead}"),
            Err(reason) => {
                assert_eq!(condition(&seen, "Ready"), pair("False", reason), "{ahead}");
                assert_eq!(end, None);
            }
        }
    }
    let mut seen = given();
    of_code(&mut seen, |code| code.spec.ttl_seconds = 604_800);
    let ready = condition(&settled(seen), "Ready");
    assert_eq!(ready, pair("True", "Issued"), "ttlSeconds does not count");
}

#[test]
fn only_what_can_come_is_waited_for() {
    let network = network();
    let mut seen = given();
    assert!(may_come(&seen.code, &network, NOW));
    assert!(!may_come(&seen.code, &network, NOW + 600), "it is over");
    of_used(&mut seen, vec![used(GROUP, NOW + 9, "other")]);
    let network = seen.network.clone().unwrap();
    assert!(!may_come(&seen.code, &network, NOW), "another's group");
    of_code(&mut seen, |code| code.spec.state = CodeState::Revoked);
    assert!(!may_come(&seen.code, &super::network(), NOW));
}

#[test]
fn a_group_is_marked_by_whoever_is_first() {
    let mut status = PeerNetworkStatus {
        used_groups: vec![used("aa", NOW, "over"), used("bb", NOW + 1, "b")],
        ..PeerNetworkStatus::default()
    };
    let mark = |status: &mut PeerNetworkStatus, group: &str, uid: &str| {
        mark_used(status, &used(group, NOW + 60, uid), NOW)
    };
    assert_eq!(mark(&mut status, "aa", "c1"), Ok(true), "its time is over");
    assert_eq!(mark(&mut status, "aa", "c1"), Ok(false), "after a crash");
    assert!(mark(&mut status, "bb", "c1").is_err());
    let expected = [used("bb", NOW + 1, "b"), used("aa", NOW + 60, "c1")];
    assert_eq!(status.used_groups, expected);
    status.used_groups = full(names(1024));
    assert!(mark(&mut status, "cc", "c1").is_err());
}

#[test]
fn their_ends_are_those_of_all_codes() {
    let mut seen = settled(given());
    set_slot(&mut seen, 0, SlotState::Used);
    of_code(&mut seen, |code| code.spec.state = CodeState::Revoked);
    let seen = settled(seen);
    assert_eq!(condition(&seen, "Ready"), pair("False", "Revoked"));
    assert_eq!(condition(&seen, "Delivered"), pair("False", "NothingLeft"));
    assert_eq!(decide(&seen).again_seconds, None);
}
