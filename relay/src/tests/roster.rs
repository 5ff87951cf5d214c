//! What members are told of each other: changes, once, and to those who were away what they missed.

use std::time::Duration;

use peerup_node::{Protocol, Stream};
use peerup_protocol::frame::{RosterAnswer, RosterAsk, RosterPage};
use peerup_protocol::id::Serial;
use peerup_protocol::record::MemberRecord;
use tokio::time::Instant;

use super::bed::{Bed, Peer};
use super::{ask, page, serials, told};

/// A member that has been told of itself.
async fn member(bed: &Bed, serial: u64) -> (Peer, MemberRecord, Stream, RosterPage) {
    let peer = Peer::start(bed, 1);
    let record = bed.operator.record(peer.id(), serial, 3600);
    bed.operator
        .change(|book| book.members.push(record.clone()));
    bed.page("/readyz", |_| true).await;
    peer.connect(bed, &record).await.unwrap();
    let (mut stream, mut first) = sync(bed, &peer, 0, 0).await;
    while serials(&first) != [serial] {
        first = page(&mut stream).await;
    }
    (peer, record, stream, first)
}

/// Asks on a stream of its own.
async fn sync(bed: &Bed, peer: &Peer, run: u64, seq: u64) -> (Stream, RosterPage) {
    let relay = bed.relay.peer_id();
    let mut stream = peer.node.open(relay, Protocol::Roster).await.unwrap();
    ask(&mut stream, RosterAsk::Sync { run, seq }).await;
    let first = page(&mut stream).await;
    (stream, first)
}

#[tokio::test]
async fn members_are_told_of_changes_and_of_nothing_twice() {
    let bed = Bed::start().await;
    let (peer, _, mut stream, first) = member(&bed, 61).await;
    let (run, start) = (first.run, first.seq);

    let started = Instant::now();
    let other = bed.operator.record(bed.relay.peer_id(), 62, 3600);
    bed.operator.change(|book| {
        book.epoch += 1;
        book.members.push(other.clone());
    });
    let RosterAnswer::Lists { .. } = told(&mut stream).await else {
        panic!("the lists do not wait");
    };
    assert!(started.elapsed() < Duration::from_millis(4500));
    let next = page(&mut stream).await;
    assert_eq!(
        (serials(&next), next.full, next.last),
        (vec![62], false, true)
    );

    bed.operator.change(|book| book.epoch += 1);
    let RosterAnswer::Page(moved) = told(&mut stream).await else {
        panic!("the position comes first");
    };
    let nothing = RosterPage {
        run,
        seq: next.seq + 1,
        last: true,
        ..RosterPage::default()
    };
    assert_eq!(moved, nothing);
    assert!(matches!(
        told(&mut stream).await,
        RosterAnswer::Lists { .. }
    ));

    let (_, same) = sync(&bed, &peer, run, moved.seq).await;
    assert_eq!(same, nothing);
    let (_, missed) = sync(&bed, &peer, run, start).await;
    assert_eq!((serials(&missed), missed.full), (vec![62], false));
    for (run, seq) in [(run + 1, moved.seq), (run, moved.seq + 1), (run, 0)] {
        let (_, all) = sync(&bed, &peer, run, seq).await;
        assert_eq!((serials(&all), all.full), (vec![61, 62], true));
    }
    bed.stop().await;
}

#[tokio::test]
async fn those_who_are_gone_are_told_and_renewals_wait_for_the_next_page() {
    let bed = Bed::start().await;
    let (_peer, record, mut stream, first) = member(&bed, 61).await;
    let renewed = MemberRecord {
        not_after: record.not_after + 1000,
        issued: record.issued + 1,
        ..record
    };
    let other = bed.operator.record(bed.relay.peer_id(), 62, 3600);
    bed.operator.change(|book| book.members.push(other.clone()));
    assert_eq!(serials(&page(&mut stream).await), [62]);
    bed.operator
        .change(|book| book.members = vec![renewed.clone()]);
    let next = page(&mut stream).await;
    assert_eq!(next.records, [bed.operator.sign(&renewed)]);
    assert_eq!(
        (next.gone, next.full, next.seq),
        (vec![Serial(62)], false, first.seq + 2)
    );
    bed.stop().await;
}

#[tokio::test]
async fn a_member_that_was_away_is_told_what_it_missed_also_by_a_relay_that_restarted() {
    let bed = Bed::start().await;
    let (peer, record, _stream, first) = member(&bed, 61).await;
    bed.until_kept(first.seq).await;
    let bed = bed.restart().await;
    peer.alone().await;
    let other = bed.operator.record(bed.relay.peer_id(), 62, 3600);
    bed.operator.change(|book| book.members.push(other.clone()));
    peer.connect(&bed, &record).await.unwrap();
    let (mut stream, mut missed) = sync(&bed, &peer, first.run, first.seq).await;
    while missed.records.is_empty() {
        missed = page(&mut stream).await;
    }
    assert_eq!((serials(&missed), missed.full), (vec![62], false));
    bed.stop().await;
}

#[tokio::test]
async fn another_leader_means_a_full_sync() {
    let bed = Bed::start().await;
    let (peer, _, mut stream, first) = member(&bed, 61).await;
    bed.operator.change(|book| {
        book.run += 1;
        book.epoch += 1;
    });
    let all = page(&mut stream).await;
    assert_eq!(
        (serials(&all), all.full, all.run),
        (vec![61], true, first.run + 1)
    );
    let (_, all) = sync(&bed, &peer, first.run, first.seq).await;
    assert!(all.full);
    bed.stop().await;
}
