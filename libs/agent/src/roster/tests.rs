//! Pages as relays send them, good and bad.

use peerup_protocol::SigningKey;
use peerup_protocol::id::{DhtNamespace, NetworkId, PeerName, peer_id};
use peerup_protocol::record::Method;

use super::*;

const NOW: UnixTime = 1_000;

fn network() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn signed(seed: u8, name: &str, issued: UnixTime, key: &SigningKey) -> Signed {
    let record = MemberRecord {
        net: NetworkId::of(&network().verifying_key()),
        serial: Serial(seed.into()),
        peer: peer(seed),
        name: PeerName::parse(name).unwrap(),
        subject: String::new(),
        method: Method::Code,
        issued,
        not_after: 2_000,
    };
    Signed::sign(key, record.encode())
}

fn peer(seed: u8) -> PeerId {
    peer_id(&SigningKey::from_bytes(&[seed; 32]).verifying_key())
}

fn membership() -> Membership {
    let key = network();
    let own = signed(1, "me", NOW, &key);
    let namespace = DhtNamespace::parse("crew").unwrap();
    Membership::new(
        peer(1),
        key.verifying_key(),
        namespace,
        own,
        Vec::new(),
        NOW,
    )
    .unwrap()
}

fn page(seq: u64, full: bool, last: bool, records: Vec<Signed>, gone: &[u64]) -> RosterPage {
    RosterPage {
        run: 7,
        seq,
        full,
        last,
        records,
        gone: gone.iter().map(|&serial| Serial(serial)).collect(),
    }
}

fn names(roster: &Roster) -> Vec<String> {
    let members = roster.verified(&membership(), &peer(1), NOW);
    members
        .into_iter()
        .map(|record| record.name.to_string())
        .collect()
}

#[test]
fn a_full_sync_of_two_pages_replaces_at_its_end() {
    let key = network();
    let mut roster = Roster::default();
    assert_eq!(roster.ask(), RosterAsk::Sync { run: 0, seq: 0 });
    roster
        .take(page(1, true, true, vec![signed(2, "old", NOW, &key)], &[]))
        .unwrap();
    assert_eq!(names(&roster), ["old"]);
    assert!(
        !roster
            .take(page(3, true, false, vec![signed(3, "a", NOW, &key)], &[]))
            .unwrap()
    );
    assert_eq!(names(&roster), ["old"]);
    assert_eq!(roster.ask(), RosterAsk::Sync { run: 7, seq: 1 });
    assert!(
        roster
            .take(page(3, false, true, vec![signed(4, "b", NOW, &key)], &[]))
            .unwrap()
    );
    assert_eq!(names(&roster), ["a", "b"]);
    assert_eq!(roster.ask(), RosterAsk::Sync { run: 7, seq: 3 });
}

#[test]
fn a_sync_that_broke_off_leaves_what_was_known() {
    let key = network();
    let mut roster = Roster::default();
    roster
        .take(page(1, true, true, vec![signed(2, "old", NOW, &key)], &[]))
        .unwrap();
    roster
        .take(page(3, true, false, vec![signed(3, "a", NOW, &key)], &[]))
        .unwrap();
    roster.restart();
    roster
        .take(page(4, false, true, vec![signed(4, "b", NOW, &key)], &[]))
        .unwrap();
    assert_eq!(names(&roster), ["old", "b"]);
}

#[test]
fn changes_add_replace_and_remove() {
    let key = network();
    let mut roster = Roster::default();
    roster
        .take(page(
            1,
            true,
            true,
            vec![signed(2, "a", NOW, &key), signed(3, "b", NOW, &key)],
            &[],
        ))
        .unwrap();
    roster
        .take(page(
            2,
            false,
            true,
            vec![signed(2, "late", NOW - 1, &key)],
            &[3],
        ))
        .unwrap();
    assert_eq!(names(&roster), ["a"]);
    roster
        .take(page(
            3,
            false,
            true,
            vec![signed(2, "newer", NOW + 1, &key)],
            &[],
        ))
        .unwrap();
    assert_eq!(names(&roster), ["newer"]);
}

#[test]
fn the_relay_is_not_believed() {
    let (key, other) = (network(), SigningKey::from_bytes(&[8; 32]));
    let mut roster = Roster::default();
    let garbage = Signed {
        bytes: vec![1, 2, 3],
        signature: [0; 64],
    };
    let records = vec![
        garbage,
        signed(2, "forged", NOW, &other),
        signed(1, "me", NOW, &key),
        signed(3, "good", NOW, &key),
    ];
    roster.take(page(1, true, true, records, &[])).unwrap();
    assert_eq!(names(&roster), ["good"]);
    assert!(roster.verified(&membership(), &peer(1), 2_000).is_empty());
}

#[test]
fn changes_of_another_run_need_a_full_sync_first() {
    let key = network();
    let other = |full, last, name| RosterPage {
        run: 8,
        ..page(1, full, last, vec![signed(3, name, NOW, &key)], &[])
    };
    let mut roster = Roster::default();
    roster
        .take(page(5, true, true, vec![signed(2, "a", NOW, &key)], &[]))
        .unwrap();
    let refused = roster.take(other(false, true, "b"));
    assert_eq!(refused, Err(RosterError::OtherRun));
    roster.take(other(true, false, "b")).unwrap();
    let refused = roster.take(page(6, false, true, vec![], &[]));
    assert_eq!(refused, Err(RosterError::OtherRun));
    assert_eq!(names(&roster), ["a"]);
    assert_eq!(roster.ask(), RosterAsk::Sync { run: 7, seq: 5 });
    let before = roster.clone();
    roster.take(page(6, false, true, vec![], &[])).unwrap();
    assert!(before.is_before(&roster) && !roster.is_before(&before));
    roster.take(other(true, true, "b")).unwrap();
    assert_eq!(names(&roster), ["b"]);
    assert!(!before.is_before(&roster) && !roster.is_before(&before));
}
