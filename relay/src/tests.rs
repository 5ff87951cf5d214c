//! A whole relay on loopback, with real peers and a stand-in for the operator.

mod bed;
mod circuits;
mod guests;
mod operator;
mod pairing;
mod probes;
mod roster;
#[path = "../../libs/agent/tests/agent/second.rs"]
mod second;

use std::time::Duration;

use axum::http::StatusCode;

use peerup_node::io::{read_frame, write_frame};
use peerup_node::member::{ConnectError, MemberError};
use peerup_node::pair;
use peerup_node::{Protocol, Stream, member};
use peerup_protocol::SigningKey;
use peerup_protocol::frame::{
    MAX_FRAME, MAX_LONG_FRAME, ReportFrame, ReportPeriods, RosterAnswer, RosterAsk, RosterPage,
};
use peerup_protocol::id::{PeerName, Serial};
use peerup_protocol::record::{MemberRecord, Signed};
use peerup_protocol::stun;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::clock::now;
use bed::{Bed, PATIENCE, Peer, get, until};
use second::within_a_second;

fn laptop() -> PeerName {
    PeerName::parse("laptop").unwrap()
}

async fn ask(stream: &mut Stream, ask: RosterAsk) {
    write_frame(stream, &ask.encode()).await.unwrap();
}

async fn told(stream: &mut Stream) -> RosterAnswer {
    let frame = peerup_node::io::read_frame_within(stream, MAX_LONG_FRAME, PATIENCE).await;
    RosterAnswer::decode(&frame.unwrap()).unwrap()
}

async fn page(stream: &mut Stream) -> RosterPage {
    loop {
        match told(stream).await {
            RosterAnswer::Page(page) => return page,
            RosterAnswer::Lists { .. } => {}
            RosterAnswer::Record(_) | RosterAnswer::Refused => panic!("expected a page"),
        }
    }
}

fn serials(page: &RosterPage) -> Vec<u64> {
    let serial = |signed: &Signed| MemberRecord::decode(&signed.bytes).unwrap().serial.0;
    page.records.iter().map(serial).collect()
}

#[tokio::test]
async fn a_joiner_pairs_and_is_a_member() {
    let bed = Bed::start().await;
    let code = bed.code().await;
    let peer = Peer::start(&bed, 1);
    let paired = pair::pair(&peer.node, &code, &peer.key, &laptop(), now)
        .await
        .unwrap();
    assert_eq!(paired.joined.record.peer, peer.id());
    peer.connect(&bed, &paired.joined.record).await.unwrap();

    let mut stream = peer
        .node
        .open(bed.relay.peer_id(), Protocol::Roster)
        .await
        .unwrap();
    ask(&mut stream, RosterAsk::Sync { run: 0, seq: 0 }).await;
    let first = page(&mut stream).await;
    assert!(first.full && first.last);
    let RosterAnswer::Lists {
        revocations: Some(_),
        document: Some(_),
    } = told(&mut stream).await
    else {
        panic!("lists must follow");
    };
    ask(&mut stream, RosterAsk::Renew).await;
    let RosterAnswer::Record(renewed) = told(&mut stream).await else {
        panic!("a record must follow");
    };
    let renewed = MemberRecord::decode(&renewed.bytes).unwrap();
    assert_eq!(renewed.serial, Serial(5));
    assert!(renewed.not_after > paired.joined.record.not_after);

    bed.page("/readyz", |_| true).await;
    let metrics = bed
        .page("/metrics", |text| {
            text.contains(r#"peerup_connections{transport="quic"} 1"#)
        })
        .await;
    assert!(
        metrics.contains("\npeerup_relay_bytes_total 0\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains(r#"peerup_pairing_attempts_total{result="joined"} 1"#),
        "{metrics}"
    );
    assert!(bed.operator.book().failures.is_empty());
    bed.stop().await;
}

#[tokio::test]
async fn members_are_admitted_while_the_operator_is_down() {
    let bed = Bed::start().await;
    let (peer, stranger) = (Peer::start(&bed, 1), Peer::start(&bed, 2));
    let record = bed.operator.record(peer.id(), 11, 3600);
    bed.operator
        .change(|book| book.members.push(record.clone()));
    bed.page("/readyz", |_| true).await;
    peer.connect(&bed, &record).await.unwrap();
    let mut stream = peer
        .node
        .open(bed.relay.peer_id(), Protocol::Roster)
        .await
        .unwrap();
    ask(&mut stream, RosterAsk::Sync { run: 0, seq: 0 }).await;
    while serials(&page(&mut stream).await) != [11] {}

    bed.operator.book().down = true;
    let bed = bed.restart().await;
    peer.alone().await;
    assert!(
        get(bed.relay.http(), "/readyz")
            .await
            .starts_with("HTTP/1.1 200")
    );
    peer.connect(&bed, &record).await.unwrap();
    let mut stream = peer
        .node
        .open(bed.relay.peer_id(), Protocol::Roster)
        .await
        .unwrap();
    ask(&mut stream, RosterAsk::Sync { run: 0, seq: 0 }).await;
    assert_eq!(serials(&page(&mut stream).await), [11]);

    let forged = MemberRecord {
        peer: stranger.id(),
        ..record
    };
    let mut member = stranger.member(&bed, &forged);
    member.sign_with(&SigningKey::from_bytes(&[1; 32]), &forged);
    let addresses = bed.addresses().await;
    let refused = member::connect(&stranger.node, &member, bed.relay.peer_id(), addresses).await;
    refused.unwrap_err();
    stranger.alone().await;
    bed.stop().await;
}

#[tokio::test]
async fn whoever_is_gone_or_revoked_or_over_is_expelled_at_once() {
    let bed = Bed::start().await;
    let peers = [1, 2, 3, 4].map(|seed| Peer::start(&bed, seed));
    let seconds = [3600, 3600, 30];
    let mut records: Vec<_> = (0..3)
        .map(|at| {
            bed.operator
                .record(peers[at].id(), 21 + at as u64, seconds[at])
        })
        .collect();
    bed.operator
        .change(|book| book.members.clone_from(&records));
    bed.page("/readyz", |_| true).await;
    for (peer, record) in peers.iter().zip(&records) {
        peer.connect(&bed, record).await.unwrap();
    }

    bed.operator.change(|book| drop(book.members.remove(0)));
    within_a_second(peers[0].alone()).await.unwrap();
    bed.operator.change(|book| {
        book.epoch += 1;
        book.revoked.push(Serial(22));
    });
    within_a_second(peers[1].alone()).await.unwrap();
    let back = peers[1].connect(&bed, &records[1]).await;
    assert!(
        matches!(back, Err(ConnectError::Member(MemberError::Revoked))),
        "it is told: {back:?}"
    );
    // Known by what it shows only, and over before all others.
    records.push(bed.operator.record(peers[3].id(), 24, 15));
    peers[3].connect(&bed, &records[3]).await.unwrap();
    for (peer, record) in peers.iter().zip(&records).skip(2).rev() {
        until(record.not_after).await;
        within_a_second(peer.alone()).await.unwrap();
    }
    bed.stop().await;
}

#[tokio::test]
async fn a_record_that_is_over_is_renewed_on_the_member_stream() {
    let bed = Bed::start().await;
    let peer = Peer::start(&bed, 1);
    let mut record = bed.operator.record(peer.id(), 31, 3600);
    (record.issued, record.not_after) = (now() - 7200, now() - 3600);
    bed.operator
        .change(|book| book.members.push(record.clone()));
    bed.page("/readyz", |_| true).await;
    let renewed = peer.renew(&bed, &record).await.unwrap().unwrap();
    let renewed = MemberRecord::decode(&renewed.bytes).unwrap();
    assert_eq!(renewed.serial, Serial(31));
    peer.connect(&bed, &renewed).await.unwrap();
    bed.stop().await;
}

/// As after a laptop was closed for long: the operator has put a new record of it into the roster.
#[tokio::test]
async fn a_record_that_is_over_is_renewed_though_the_roster_has_a_newer_one() {
    let bed = Bed::start().await;
    let peer = Peer::start(&bed, 1);
    let newer = bed.operator.record(peer.id(), 32, 3600);
    let mut record = newer.clone();
    (record.issued, record.not_after) = (now() - 7200, now() - 3600);
    bed.operator.change(|book| book.members.push(newer));
    bed.page("/readyz", |_| true).await;
    let renewed = peer.renew(&bed, &record).await.unwrap().unwrap();
    let renewed = MemberRecord::decode(&renewed.bytes).unwrap();
    assert_eq!(renewed.serial, Serial(32));
    peer.connect(&bed, &renewed).await.unwrap();
    bed.stop().await;
}

#[tokio::test]
async fn only_the_operators_word_ends_a_membership() {
    let bed = Bed::start().await;
    let peer = Peer::start(&bed, 1);
    let mut record = bed.operator.record(peer.id(), 33, 3600);
    (record.issued, record.not_after) = (now() - 7200, now() - 3600);
    bed.operator
        .change(|book| book.members.push(record.clone()));
    bed.page("/readyz", |_| true).await;
    for (status, is_over) in [
        (StatusCode::UNAUTHORIZED, false),
        (StatusCode::FORBIDDEN, false),
        (StatusCode::CONFLICT, false),
        (StatusCode::NOT_FOUND, true),
        (StatusCode::GONE, true),
    ] {
        bed.operator.book().no_renewal = Some(status);
        let renewed = peer.renew(&bed, &record).await;
        assert_eq!(
            matches!(renewed, Ok(None)),
            is_over,
            "{status}: {renewed:?}"
        );
        assert_eq!(renewed.is_err(), !is_over, "{status}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn presence_and_reports_reach_the_operator() {
    let bed = Bed::start().await;
    bed.operator
        .book()
        .outside
        .push("/ip4/192.0.2.7/tcp/30001".parse().unwrap());
    let peer = Peer::start(&bed, 1);
    let record = bed.operator.record(peer.id(), 41, 3600);
    bed.operator
        .change(|book| book.members.push(record.clone()));
    bed.page("/readyz", |_| true).await;
    peer.connect(&bed, &record).await.unwrap();
    let frame = ReportFrame {
        time: now(),
        json: b"{}".to_vec(),
        signature: [4; 64],
    };
    let mut stream = peer
        .node
        .open(bed.relay.peer_id(), Protocol::Report)
        .await
        .unwrap();
    write_frame(&mut stream, &frame.encode()).await.unwrap();
    let answer = read_frame(&mut stream, MAX_FRAME).await.unwrap();
    let periods = ReportPeriods::decode(&answer).unwrap();
    assert_eq!((periods.probe, periods.report), (60, 30));
    {
        let book = bed.operator.book();
        assert_eq!(
            (book.reports[0].peer_id, &*book.reports[0].report),
            (peer.id(), "{}")
        );
    }
    let told = bed.until(|book| book.presence.iter().any(|told| told.online == [peer.id()]));
    timeout(Duration::from_secs(5), told).await.unwrap();
    bed.stop().await;
}

#[tokio::test]
async fn both_stun_ports_answer_with_the_mapped_address() {
    let bed = Bed::start().await;
    let [primary, alternate] = bed.relay.stun_ports();
    for (asked, other) in [(primary, alternate), (alternate, primary)] {
        for host in ["127.0.0.1", "127.0.0.5", "::1"] {
            let socket = match UdpSocket::bind((host, 0)).await {
                Err(_) if host == "::1" => continue, // a machine without IPv6
                bound => bound.unwrap(),
            };
            socket.connect((host, asked)).await.unwrap();
            socket
                .send(&stun::request(&[asked as u8; 12]))
                .await
                .unwrap();
            let mut answer = [0; 512];
            let length = timeout(PATIENCE, socket.recv(&mut answer))
                .await
                .unwrap()
                .unwrap();
            let answer = stun::Response::decode(&answer[..length]).unwrap();
            assert_eq!(answer.transaction, [asked as u8; 12]);
            assert_eq!(answer.result, Ok(socket.local_addr().unwrap()));
            assert_eq!(answer.origin, Some(socket.peer_addr().unwrap()));
            assert_eq!(
                answer.other,
                Some((host.parse::<std::net::IpAddr>().unwrap(), other).into())
            );
        }
    }
    bed.page("/metrics", |text| {
        text.contains(r#"peerup_stun_requests_total{result="answered"} 6"#)
    })
    .await;
    bed.stop().await;
}

#[tokio::test]
async fn a_relay_that_stops_closes_its_connections_and_the_joiner_hears_it() {
    let bed = Bed::start().await;
    let peer = Peer::start(&bed, 1);
    let record = bed.operator.record(peer.id(), 51, 3600);
    bed.operator
        .change(|book| book.members.push(record.clone()));
    bed.page("/readyz", |_| true).await;
    peer.connect(&bed, &record).await.unwrap();
    bed.stop().await;
    within_a_second(peer.alone()).await.unwrap();
}

#[tokio::test]
async fn the_operators_limits_hold_as_soon_as_they_are_known() {
    let bed = Bed::start_with(|book| book.limits.max_reservations = 1).await;
    bed.until(|book| !book.presence.is_empty()).await;
    let peers = [1, 2].map(|seed| Peer::start(&bed, seed));
    for (serial, peer) in (71..).zip(&peers) {
        let record = bed.operator.record(peer.id(), serial, 3600);
        bed.operator
            .change(|book| book.members.push(record.clone()));
        bed.page("/readyz", |_| true).await;
        peer.connect(&bed, &record).await.unwrap();
    }
    let (relay, address) = (bed.relay.peer_id(), bed.addresses().await.remove(0));
    let reserve = |at: usize| peers[at].node.reserve(relay, address.clone());
    reserve(0).await.unwrap();
    reserve(1).await.unwrap_err();
    bed.operator.book().limits.max_reservations = 2;
    let raised = async {
        while reserve(1).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(PATIENCE, raised).await.unwrap();
    let told = "peerup_relay_reservations_limit 2";
    bed.page("/metrics", |text| text.contains(told)).await;
    bed.stop().await;
}
