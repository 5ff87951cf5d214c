//! Rosters that grow, shrink, grow old and are forged.

use peerup_protocol::id::{DhtNamespace, PeerName, peer_id};
use peerup_protocol::record::{Flags, Method};
use peerup_protocol::{SigningKey, frame};

use super::*;

const NOW: UnixTime = 1_800_000_000;

fn network() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn peer(number: u8) -> PeerId {
    peer_id(&SigningKey::from_bytes(&[number; 32]).verifying_key())
}

fn record(number: u8, issued: UnixTime, not_after: UnixTime) -> Signed {
    let record = MemberRecord {
        net: NetworkId::of(&network().verifying_key()),
        serial: Serial(u64::from(number)),
        peer: peer(number),
        name: PeerName::parse("laptop").unwrap(),
        subject: String::new(),
        method: Method::Code,
        issued,
        not_after,
    };
    Signed::sign(&network(), record.encode())
}

fn pod(number: u8, method: Method, subject: &str, not_after: UnixTime) -> Signed {
    let signed = record(number, NOW - 10, not_after);
    let record = MemberRecord {
        method,
        subject: subject.to_owned(),
        ..MemberRecord::decode(&signed.bytes).unwrap()
    };
    Signed::sign(&network(), record.encode())
}

fn good(number: u8) -> Signed {
    record(number, NOW - 10, NOW + 100)
}

fn revocations(key: &SigningKey, epoch: u64, serials: &[u64]) -> Signed {
    let list = Revocations {
        net: NetworkId::of(&key.verifying_key()),
        epoch,
        issued: NOW,
        serials: serials.iter().copied().map(Serial).collect(),
    };
    Signed::sign(key, list.encode())
}

fn document(epoch: u64) -> Signed {
    let document = NetworkDocument {
        net: NetworkId::of(&network().verifying_key()),
        epoch,
        issued: NOW,
        namespace: DhtNamespace::parse("crew").unwrap(),
        cluster: "local".to_owned(),
        flags: Flags::default(),
        relays: Vec::new(),
        access: Vec::new(),
    };
    Signed::sign(&network(), document.encode())
}

fn answer(seq: u64, records: Vec<Signed>) -> RosterAnswer {
    RosterAnswer {
        run: 7,
        seq,
        full: true,
        records,
        gone: Vec::new(),
        revocations: revocations(&network(), 1, &[]),
        network_document: document(1),
    }
}

fn roster(records: Vec<Signed>) -> Roster {
    let mut roster = Roster::new(network().verifying_key());
    assert_eq!(roster.apply(answer(1, records), NOW).unwrap(), 0);
    roster
}

fn members(roster: &Roster, now: UnixTime) -> Vec<u8> {
    let members = roster.members(now);
    (0..=u8::MAX)
        .filter(|number| members.contains(&peer(*number)))
        .collect()
}

#[test]
fn a_full_answer_drops_what_it_does_not_repeat_and_another_what_is_gone() {
    let mut roster = roster(vec![good(1), good(2), good(3)]);
    assert_eq!(members(&roster, NOW), [1, 2, 3]);
    roster
        .apply(answer(2, vec![good(1), good(3)]), NOW)
        .unwrap();
    assert_eq!(members(&roster, NOW), [1, 3]);
    let delta = RosterAnswer {
        full: false,
        gone: vec![Serial(1)],
        ..answer(3, vec![good(4)])
    };
    roster.apply(delta, NOW).unwrap();
    assert_eq!(members(&roster, NOW), [3, 4]);
    assert_eq!(roster.position(), Position { run: 7, seq: 3 });
}

#[test]
fn what_the_network_has_not_signed_changes_nothing() {
    let stranger = SigningKey::from_bytes(&[1; 32]);
    let mut roster = roster(vec![good(1)]);
    let forged = RosterAnswer {
        revocations: revocations(&stranger, 9, &[1]),
        ..answer(2, vec![])
    };
    assert!(matches!(
        roster.apply(forged, NOW),
        Err(ListError::Revocations(_))
    ));
    let forged = RosterAnswer {
        network_document: revocations(&network(), 9, &[]),
        ..answer(2, vec![])
    };
    assert!(matches!(
        roster.apply(forged, NOW),
        Err(ListError::Document(_))
    ));
    assert_eq!((members(&roster, NOW), roster.position().seq), (vec![1], 1));

    let mut forged = good(2);
    forged.signature[0] ^= 1;
    assert_eq!(
        roster
            .apply(answer(2, vec![good(1), forged.clone()]), NOW)
            .unwrap(),
        1
    );
    assert_eq!(
        roster.present(&forged, &peer(2), NOW),
        Err(Refusal::BadSignature)
    );
    assert_eq!(
        roster.present(&good(2), &peer(3), NOW),
        Err(Refusal::OtherPeer)
    );
    assert_eq!(members(&roster, NOW), [1]);
}

#[test]
fn older_lists_do_not_come_back() {
    let mut roster = roster(vec![good(1), good(2)]);
    assert_eq!(
        roster.offer_revocations(revocations(&network(), 5, &[1]), NOW),
        Ok(true)
    );
    assert_eq!(
        roster.offer_revocations(revocations(&network(), 4, &[]), NOW),
        Ok(false)
    );
    roster
        .apply(answer(2, vec![good(1), good(2)]), NOW)
        .unwrap();
    assert_eq!(members(&roster, NOW), [2]);
    assert_eq!(
        roster.present(&good(1), &peer(1), NOW),
        Err(Refusal::Revoked)
    );
    let lists = roster.lists().unwrap();
    assert_eq!(lists, (revocations(&network(), 5, &[1]), document(1)));
}

/// Nothing is translated between this relay and them.
#[test]
fn pods_of_this_cluster_are_told_from_all_others() {
    let later = NOW + 100;
    let roster = roster(vec![
        pod(1, Method::Attested, "local/shop/web/web-0", later),
        pod(2, Method::Attested, "other/shop/web/web-0", later),
        pod(3, Method::Voucher, "local/shop/web/web-0", later),
        pod(4, Method::Attested, "localshop/web", later),
        pod(5, Method::Attested, "local/shop/web/web-1", NOW + 1),
        good(6),
    ]);
    let here = |now: UnixTime| {
        let is_here = |number: &u8| roster.is_attested_here(&peer(*number), now);
        (1..=7).filter(is_here).collect::<Vec<_>>()
    };
    assert_eq!(here(NOW), [1, 5]);
    assert_eq!(here(NOW + 1), [1]);
    let unknown = Roster::new(network().verifying_key());
    assert!(!unknown.is_attested_here(&peer(1), NOW));
}

#[test]
fn records_end_at_their_time_and_a_newer_one_goes_on() {
    let mut roster = roster(vec![
        record(1, NOW - 10, NOW + 5),
        record(2, NOW - 10, NOW + 9),
    ]);
    assert_eq!(
        (members(&roster, NOW), roster.next_end(NOW)),
        (vec![1, 2], Some(NOW + 5))
    );
    assert_eq!(
        (members(&roster, NOW + 5), roster.next_end(NOW + 5)),
        (vec![2], Some(NOW + 9))
    );
    assert!(matches!(
        roster.present(&record(1, NOW - 10, NOW + 5), &peer(1), NOW + 5),
        Err(Refusal::Expired(_))
    ));
    roster
        .present(&record(1, NOW, NOW + 50), &peer(1), NOW)
        .unwrap();
    assert_eq!(members(&roster, NOW + 9), [1]);
    // The operator's roster is behind: the newer record stays.
    roster
        .apply(answer(2, vec![record(1, NOW - 10, NOW + 5)]), NOW)
        .unwrap();
    assert!(roster.is_member(&peer(1), NOW + 9) && !roster.is_member(&peer(2), NOW));
    assert_eq!(roster.listed(), [record(1, NOW, NOW + 50)]);
}

#[test]
fn who_presents_a_record_stays_until_it_ends_but_is_not_in_the_roster_told() {
    let mut roster = roster(vec![good(1)]);
    roster.present(&good(2), &peer(2), NOW).unwrap();
    roster.apply(answer(2, vec![good(1)]), NOW).unwrap();
    assert_eq!(members(&roster, NOW), [1, 2]);
    assert_eq!(roster.page().records, [good(1)]);
    roster.forget_ended(NOW + 100);
    assert_eq!(roster.members.len(), 1);
    roster.present(&good(2), &peer(2), NOW).unwrap();
    roster
        .apply(answer(3, vec![good(1), good(2)]), NOW)
        .unwrap();
    roster.apply(answer(4, vec![good(1)]), NOW).unwrap();
    assert_eq!(members(&roster, NOW), [1]);
}

#[test]
fn those_who_only_present_are_bounded() {
    let mut roster = roster(vec![good(1)]);
    for number in 0..=MAX_PRESENTED as u64 {
        let key = SigningKey::from_bytes(&[2; 32]);
        let mut record = MemberRecord::decode(&good(2).bytes).unwrap();
        record.peer = peer_id(&key.verifying_key());
        (record.serial, record.not_after) = (Serial(1000 + number), NOW + 100 + number);
        let signed = Signed::sign(&network(), record.encode());
        roster.present(&signed, &record.peer, NOW).unwrap();
    }
    assert_eq!(roster.members.len(), 1 + MAX_PRESENTED);
    assert!(!roster.members.contains_key(&Serial(1000)) && roster.members.contains_key(&Serial(1)));
}

#[test]
fn renewals_and_new_lists_are_no_changes_of_the_members() {
    let mut roster = roster(vec![good(1)]);
    let generation = roster.generation();
    let renewed = record(1, NOW, NOW + 200);
    roster.apply(answer(2, vec![renewed.clone()]), NOW).unwrap();
    roster.present(&good(2), &peer(2), NOW).unwrap();
    assert_eq!(roster.generation(), generation);
    assert_eq!(roster.page().records, [renewed]);
    roster.apply(answer(3, vec![good(3)]), NOW).unwrap();
    assert_eq!(roster.generation(), generation + 1);
    let whole = roster.page();
    assert_eq!((whole.full, whole.last, whole.seq), (true, true, 3));
    assert_eq!(whole.records, [good(3)]);
}

#[test]
fn what_is_kept_makes_the_same_roster_again() {
    let before = roster(vec![good(1), good(2)]);
    let mut after = Roster::new(network().verifying_key());
    assert!(after.to_answer().is_none() && after.presented().is_none());
    after.apply(before.to_answer().unwrap(), NOW).unwrap();
    assert_eq!(after.to_answer(), before.to_answer());
    assert_eq!(frame::pages(after.page()).len(), 1);
}

/// Changed and gone after a version, as numbers.
fn after(roster: &Roster, version: u64) -> (Vec<u64>, Vec<u64>) {
    let page = roster.page_after(version).unwrap();
    let serial = |signed: &Signed| MemberRecord::decode(&signed.bytes).unwrap().serial.0;
    assert!(!page.full && page.last);
    (
        page.records.iter().map(serial).collect(),
        page.gone.iter().map(|serial| serial.0).collect(),
    )
}

#[test]
fn every_way_to_change_the_roster_is_in_its_history() {
    let mut roster = roster(vec![good(1), good(2)]);
    let start = roster.version();
    assert_eq!(after(&roster, start), (vec![], vec![]));
    roster
        .apply(answer(2, vec![good(1), good(2)]), NOW)
        .unwrap();
    assert_eq!(roster.version(), start, "told again");
    roster.present(&good(3), &peer(3), NOW).unwrap();
    assert_eq!(roster.version(), start, "only presented");
    roster
        .apply(answer(3, vec![good(1), good(3)]), NOW)
        .unwrap();
    assert_eq!(after(&roster, start), (vec![3], vec![2]));
    let renewed = record(1, NOW, NOW + 200);
    roster.present(&renewed, &peer(1), NOW).unwrap();
    assert_eq!(after(&roster, start), (vec![3, 1], vec![2]));
    let delta = RosterAnswer {
        full: false,
        gone: vec![Serial(3)],
        ..answer(4, vec![good(2)])
    };
    roster.apply(delta, NOW).unwrap();
    assert_eq!(after(&roster, start), (vec![1, 2], vec![3]));
    assert_eq!(roster.version_at(Position { run: 7, seq: 1 }), Some(start));
}
