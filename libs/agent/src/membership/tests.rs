//! A small network: key, records, lists, document.

use std::collections::BTreeSet;

use peerup_protocol::SigningKey;
use peerup_protocol::id::{PeerName, peer_id};
use peerup_protocol::record::{Flags, Method, Relay};

use super::*;

const NOW: UnixTime = 1_000;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn peer(seed: u8) -> PeerId {
    peer_id(&key(seed).verifying_key())
}

fn net() -> NetworkId {
    NetworkId::of(&key(9).verifying_key())
}

fn record(seed: u8, issued: UnixTime, signer: u8) -> Signed {
    let record = MemberRecord {
        net: net(),
        serial: Serial(seed.into()),
        peer: peer(seed),
        name: PeerName::parse("p").unwrap(),
        subject: String::new(),
        method: Method::Code,
        issued,
        not_after: issued + 900,
    };
    Signed::sign(&key(signer), record.encode())
}

fn revocations(epoch: u64, serials: &[u64], signer: u8) -> Signed {
    let serials: BTreeSet<Serial> = serials.iter().map(|&serial| Serial(serial)).collect();
    Signed::sign(
        &key(signer),
        Revocations {
            net: net(),
            epoch,
            issued: NOW,
            serials,
        }
        .encode(),
    )
}

fn document(epoch: u64, relays: &[u8], signer: u8) -> Signed {
    let relays = relays
        .iter()
        .map(|&seed| Relay {
            peer: peer(seed),
            addresses: Vec::new(),
        })
        .collect();
    let document = NetworkDocument {
        net: net(),
        epoch,
        issued: NOW,
        namespace: DhtNamespace::parse("crew").unwrap(),
        cluster: "local".to_owned(),
        flags: Flags::default(),
        relays,
        access: Vec::new(),
    };
    Signed::sign(&key(signer), document.encode())
}

fn membership() -> Membership {
    let relays = vec![Responder {
        peer: peer(20),
        addresses: Vec::new(),
    }];
    let namespace = DhtNamespace::parse("crew").unwrap();
    Membership::new(
        peer(1),
        key(9).verifying_key(),
        namespace,
        record(1, NOW, 9),
        relays,
        NOW,
    )
    .unwrap()
}

#[test]
fn another_peers_record_makes_no_membership() {
    let namespace = DhtNamespace::parse("crew").unwrap();
    let network = key(9).verifying_key();
    let refused = Membership::new(
        peer(1),
        network,
        namespace,
        record(2, NOW, 9),
        Vec::new(),
        NOW,
    );
    assert_eq!(refused.unwrap_err(), Refusal::OtherPeer);
}

#[test]
fn members_are_checked_against_the_newest_list() {
    let mut own = membership();
    let Standing::Member(admitted) = own.check(&peer(2), record(2, NOW, 9), NOW).unwrap() else {
        panic!()
    };
    let standing = Standing::Member(admitted);
    assert!(own.stands(&peer(2), &standing, NOW));
    assert!(!own.stands(&peer(2), &standing, NOW + 900));
    assert_eq!(own.take_revocations(revocations(2, &[2], 9), NOW), Ok(true));
    assert!(!own.stands(&peer(2), &standing, NOW));
    assert_eq!(
        own.check(&peer(2), record(2, NOW, 9), NOW),
        Err(Refusal::Revoked)
    );
    assert_eq!(
        own.check(&peer(3), record(3, NOW, 8), NOW),
        Err(Refusal::BadSignature)
    );
}

#[test]
fn older_and_forged_lists_change_nothing() {
    let mut own = membership();
    assert_eq!(own.take_revocations(revocations(3, &[2], 9), NOW), Ok(true));
    assert_eq!(own.take_revocations(revocations(2, &[], 9), NOW), Ok(false));
    assert_eq!(
        own.take_revocations(revocations(4, &[], 8), NOW),
        Err(Refusal::BadSignature)
    );
    assert!(own.is_revoked(Serial(2)));
    assert_eq!(
        own.take_document(document(4, &[21], 8), NOW),
        Err(Refusal::BadSignature)
    );
    assert!(own.is_relay(&peer(20)));
}

#[test]
fn the_newest_document_says_who_is_a_relay() {
    let mut own = membership();
    assert_eq!(own.my_relays()[0].peer, peer(20));
    assert_eq!(
        own.check(&peer(21), document(2, &[21], 9), NOW),
        Ok(Standing::Relay)
    );
    assert!(!own.stands(&peer(20), &Standing::Relay, NOW));
    assert_eq!(
        own.check(&peer(20), document(1, &[20], 9), NOW),
        Err(Refusal::OtherPeer)
    );
    assert_eq!(
        own.check(&peer(3), document(2, &[21], 9), NOW),
        Err(Refusal::OtherPeer)
    );
}

#[test]
fn of_three_relays_two_are_mine() {
    let mut own = membership();
    own.take_document(document(2, &[21, 22, 23], 9), NOW)
        .unwrap();
    assert_eq!(own.all_relays().len(), 3);
    let mine = own.my_relays();
    assert_eq!(mine.len(), 2);
    for relay in mine {
        assert_eq!(own.all_relays()[relay.ordinal].peer, relay.peer);
    }
}

#[test]
fn a_list_is_no_credential() {
    let mut own = membership();
    let refused = own.check(&peer(2), revocations(9, &[], 9), NOW);
    assert!(matches!(refused, Err(Refusal::Decode(_))), "{refused:?}");
    assert!(own.revocations().is_none());
}

#[test]
fn a_renewal_must_be_newer_and_mine() {
    let mut own = membership();
    assert_eq!(own.renew(record(1, NOW, 9), NOW), Ok(false));
    assert_eq!(
        own.renew(record(2, NOW + 1, 9), NOW),
        Err(Refusal::OtherPeer)
    );
    assert_eq!(own.renew(record(1, NOW + 1, 9), NOW), Ok(true));
    assert_eq!(own.record().issued, NOW + 1);
    assert!(own.holds(NOW + 900) && !own.holds(NOW + 901));
}

#[test]
fn what_is_stored_comes_back_also_when_expired() {
    let mut own = membership();
    own.take_revocations(revocations(2, &[5], 9), NOW).unwrap();
    own.take_document(document(2, &[21], 9), NOW).unwrap();
    let text = serde_json::to_string(&Stored::of(&own)).unwrap();
    let stored: Stored = serde_json::from_str(&text).unwrap();
    assert_eq!(stored.net().unwrap(), net());
    let restored = stored.clone().restore(peer(1), NOW + 5_000).unwrap();
    assert_eq!(restored, own);
    assert!(!restored.holds(NOW + 5_000));
    let early = stored.clone().restore(peer(1), 0).unwrap();
    assert_eq!(early, own, "a clock that is behind");
    assert!(matches!(
        stored.restore(peer(2), NOW),
        Err(StoredError::Refused(Refusal::OtherPeer))
    ));
}
