//! What is refused before anything is sent.

use std::os::unix::fs::PermissionsExt;

use peerup_pairing::invite::Invited;
use peerup_protocol::code::{CodeError, CodeKind, Responder};
use peerup_protocol::id::{DhtNamespace, GroupId, NetworkId, Serial, Slot, peer_id};
use peerup_protocol::record::{GuestGrant, MemberRecord, Method, Signed};
use peerup_protocol::{PeerId, SigningKey};

use super::*;
use crate::scratch::Scratch;

fn network(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn peer(seed: u8) -> PeerId {
    peer_id(&network(seed).verifying_key())
}

fn code(net: u8, not_after: u32, kind: CodeKind) -> SecretText {
    let address = match kind {
        CodeKind::Group => "/ip4/127.0.0.1/tcp/4001".to_owned(),
        CodeKind::Invite => format!("/ip4/127.0.0.1/tcp/4001/p2p/{}/p2p-circuit", peer(3)),
    };
    let code = Code {
        kind,
        net: NetworkId::of(&network(net).verifying_key()),
        group: GroupId([1; 8]),
        slot: Slot(0),
        secret: Secret::new([2; 16]),
        namespace: DhtNamespace::parse("crew").unwrap(),
        not_after,
        responders: vec![Responder {
            peer: peer(4),
            addresses: vec![address.parse().unwrap()],
        }],
    };
    code.to_text()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn refused(dir: &Scratch, code: Option<&SecretText>) -> Failure {
    prepare(code, Some("laptop"), dir.path(), at(1000)).unwrap_err()
}

/// A membership of network 9 that lasts until 2000, for the directory's key.
fn store_membership(dir: &Scratch) {
    let store = Store::open(dir.path(), Access::Refuse).unwrap();
    let me = own_id(&store.identity(Secret::new([7; 32])).unwrap());
    let record = MemberRecord {
        net: NetworkId::of(&network(9).verifying_key()),
        serial: Serial(1),
        peer: me,
        name: PeerName::parse("laptop").unwrap(),
        subject: String::new(),
        method: Method::Code,
        issued: 1000,
        not_after: 2000,
    };
    let record = Signed::sign(&network(9), record.encode());
    let namespace = DhtNamespace::parse("crew").unwrap();
    let membership = Membership::new(
        me,
        network(9).verifying_key(),
        namespace,
        record,
        Vec::new(),
        1000,
    )
    .unwrap();
    store.save_membership(&Stored::of(&membership)).unwrap();
}

#[test]
fn a_good_code_is_to_be_redeemed() {
    let dir = Scratch::new("good");
    let prepared = prepare(
        Some(&code(9, 1001, CodeKind::Group)),
        Some("laptop"),
        dir.path(),
        at(1000),
    )
    .unwrap();
    assert!(prepared.stored.is_none());
    let Source::Code(code, name) = prepared.source else {
        panic!()
    };
    assert_eq!((code.slot, name.as_str()), (Slot(0), "laptop"));
    assert!(dir.path().join("identity.key").exists());
}

#[test]
fn a_typo_is_no_code_and_leaves_nothing() {
    let dir = Scratch::new("typo");
    let text = code(9, 1001, CodeKind::Group);
    let other = if text.expose().as_bytes()[20] == b'a' {
        "b"
    } else {
        "a"
    };
    let typo = SecretText::from(format!(
        "{}{other}{}",
        &text.expose()[..20],
        &text.expose()[21..]
    ));
    let failure = refused(&dir, Some(&typo));
    assert!(
        matches!(failure, Failure::NotACode(CodeError::Checksum)),
        "{failure}"
    );
    assert_eq!(failure.number(), 3);
    assert!(!failure.to_string().contains(&text.expose()[20..30]));
    assert_eq!(
        refused(&dir, Some(&SecretText::from("hello".to_owned()))).number(),
        3
    );
    assert!(!dir.path().exists());
}

#[test]
fn an_invite_is_to_be_redeemed() {
    let dir = Scratch::new("invite");
    let text = code(9, 1001, CodeKind::Invite);
    let prepared = prepare(Some(&text), Some("laptop"), dir.path(), at(1000)).unwrap();
    assert!(matches!(prepared.source, Source::Code(code, _) if code.kind == CodeKind::Invite));
    let failure = refused(
        &Scratch::new("late"),
        Some(&code(9, 1000, CodeKind::Invite)),
    );
    assert_eq!(failure.number(), 4);
}

/// A grant of the peer with key 3, that lasts until 2000, for the directory's key.
fn store_grant(dir: &Scratch) {
    let store = Store::open(dir.path(), Access::Refuse).unwrap();
    let me = own_id(&store.identity(Secret::new([7; 32])).unwrap());
    let grant = GuestGrant {
        net: NetworkId::of(&network(9).verifying_key()),
        serial: Serial(1),
        sponsor: peer(3),
        guest: me,
        name: PeerName::parse("laptop").unwrap(),
        issued: 1000,
        not_after: 2000,
    };
    let invited = Invited {
        inviter: PeerName::parse("home").unwrap(),
        signed: Signed::sign(&network(3), grant.encode()),
        grant,
    };
    let code = Code::parse(code(9, 1001, CodeKind::Invite).expose()).unwrap();
    let membership = Membership::guest(me, &code, invited);
    store.save_membership(&Stored::of(&membership)).unwrap();
}

#[test]
fn a_guest_comes_back_by_its_grant_and_becomes_something_else_by_a_code() {
    let dir = Scratch::new("guest");
    store_grant(&dir);
    let prepared = prepare(None, None, dir.path(), at(1500)).unwrap();
    let stored = prepared.stored.as_ref().unwrap();
    assert_eq!(stored.hosted().unwrap().sponsor.as_str(), "home");
    assert!(stored.holds(1999) && !stored.holds(2000));
    drop(prepared);
    for kind in [CodeKind::Group, CodeKind::Invite] {
        let text = code(9, 3000, kind);
        let prepared = prepare(Some(&text), Some("laptop"), dir.path(), at(1500)).unwrap();
        assert!(matches!(prepared.source, Source::Code(..)), "{kind:?}");
    }
    let failure = refused(&dir, Some(&code(8, 3000, CodeKind::Invite)));
    assert!(matches!(failure, Failure::OtherNetwork { .. }), "{failure}");
}

#[test]
fn an_expired_code_leaves_no_key() {
    let dir = Scratch::new("expired");
    let failure = refused(&dir, Some(&code(9, 1000, CodeKind::Group)));
    assert_eq!(failure.number(), 4);
    assert!(
        failure.to_string().contains("1970-01-01T00:16:40Z"),
        "{failure}"
    );
    assert!(!dir.path().join("identity.key").exists());
}

#[test]
fn without_code_and_membership_nothing_can_be_done() {
    let dir = Scratch::new("none");
    assert_eq!(refused(&dir, None).number(), 2);
    assert!(!dir.path().join("identity.key").exists());
}

#[test]
fn a_bad_name_is_wrong_usage() {
    let dir = Scratch::new("name");
    for name in ["Laptop", "", "a.b", "-a", &"a".repeat(60)] {
        let failure = prepare(
            Some(&code(9, 1001, CodeKind::Group)),
            Some(name),
            dir.path(),
            at(1000),
        )
        .unwrap_err();
        assert_eq!(failure.number(), 2, "{name}");
    }
}

#[test]
fn a_machines_name_becomes_a_label() {
    for (machine, name) in [
        ("Annas-MacBook.local\n", "annas-macbook"),
        ("web_01", "web-01"),
        ("-x-", "x"),
        ("", ""),
    ] {
        assert_eq!(label(machine), name);
    }
    assert_eq!(label(&"a".repeat(70)).len(), 59);
}

#[test]
fn a_stored_membership_needs_no_code_and_keeps_its_own() {
    let dir = Scratch::new("stored");
    store_membership(&dir);
    for code in [None, Some(code(9, 999, CodeKind::Group))] {
        let prepared = prepare(code.as_ref(), Some("laptop"), dir.path(), at(1500)).unwrap();
        assert!(matches!(prepared.source, Source::Stored));
        assert!(prepared.stored.is_some());
    }
}

#[test]
fn an_ended_membership_takes_a_new_code() {
    let dir = Scratch::new("ended");
    store_membership(&dir);
    let fresh = code(9, 2500, CodeKind::Group);
    let prepared = prepare(Some(&fresh), Some("laptop"), dir.path(), at(2000)).unwrap();
    assert!(matches!(prepared.source, Source::Code(..)) && prepared.stored.is_none());
    drop(prepared);
    let expired = prepare(Some(&fresh), Some("laptop"), dir.path(), at(2500)).unwrap_err();
    assert_eq!(expired.number(), 4);
    let again = prepare(None, Some("laptop"), dir.path(), at(2500)).unwrap();
    assert!(matches!(again.source, Source::Stored) && again.stored.is_some());
}

#[test]
fn a_directory_belongs_to_one_network() {
    let dir = Scratch::new("other");
    store_membership(&dir);
    let failure = refused(&dir, Some(&code(8, 1001, CodeKind::Group)));
    assert!(matches!(failure, Failure::OtherNetwork { .. }), "{failure}");
    assert_eq!(failure.number(), 7);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let dir = Scratch::new("mode");
    store_membership(&dir);
    let key = dir.path().join("identity.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let failure = refused(&dir, None);
    assert_eq!(failure.number(), 7);
    assert!(failure.to_string().contains("0644"), "{failure}");
}

#[test]
fn two_at_once_are_refused() {
    let dir = Scratch::new("twice");
    store_membership(&dir);
    let _first = prepare(None, Some("laptop"), dir.path(), at(1500)).unwrap();
    assert_eq!(refused(&dir, None).number(), 11);
}

#[test]
fn no_debug_output_holds_the_secret() {
    let dir = Scratch::new("debug");
    let prepared = prepare(
        Some(&code(9, 1001, CodeKind::Group)),
        Some("laptop"),
        dir.path(),
        at(1000),
    )
    .unwrap();
    let debug = format!("{prepared:?}");
    assert!(
        debug.contains("[redacted]") && !debug.contains("2, 2, 2, 2"),
        "{debug}"
    );
}
