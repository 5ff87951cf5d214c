//! Joiners, honest and not.

use std::time::Duration;

use futures::AsyncReadExt;
use futures::future::join_all;
use peerup_node::Protocol;
use peerup_node::io::{read_frame, write_frame};
use peerup_node::pair::{self, PairError, SILENCE_STEP};
use peerup_pairing::handshake::{Joiner, M2_LENGTH, M3_LENGTH};
use peerup_pairing::limiter::UNKNOWN_BURST;
use peerup_protocol::SigningKey;
use peerup_protocol::api::RefusalReason;
use peerup_protocol::code::Code;
use peerup_protocol::id::{GroupId, Slot, peer_id};
use peerup_protocol::secret::Secret;
use tokio::time::{Instant, timeout};

use super::bed::{Bed, PATIENCE, Peer, get};
use super::laptop;
use crate::clock::now;

fn wrong(right: &Code) -> Code {
    Code {
        secret: Secret::new([1; 16]),
        ..right.clone()
    }
}

#[tokio::test]
async fn the_same_peer_pairs_again_while_it_is_a_member() {
    let bed = Bed::start().await;
    let code = bed.code().await;
    let peer = Peer::start(&bed, 1);
    let first = pair::pair(&peer.node, &code, &peer.key, &laptop(), now)
        .await
        .unwrap();
    let again = pair::pair(&peer.node, &code, &peer.key, &laptop(), now)
        .await
        .unwrap();
    assert_eq!(first.joined.record.serial, again.joined.record.serial);
    bed.stop().await;
}

/// What a joiner sees of an attempt, and how long from M1 to its end.
async fn attempt(bed: &Bed, seed: u8, code: &Code) -> (usize, Vec<u8>, Duration) {
    let peer = Peer::start(bed, seed);
    let relay = &code.responders[0];
    let connection = peer
        .node
        .dial(relay.peer, relay.addresses.clone())
        .await
        .unwrap();
    let mut stream = peer.node.open_on(connection, Protocol::Pair).await.unwrap();
    let context = peerup_pairing::join::context(code, relay.peer, peer.id());
    let (joiner, m1) = Joiner::start(context, &Secret::new([seed; 32]));
    let started = Instant::now();
    write_frame(&mut stream, &m1).await.unwrap();
    let m2 = read_frame(&mut stream, M2_LENGTH).await.unwrap();
    let request = peerup_pairing::join::request(code, &peer.key, &laptop()).encode();
    let salt = peerup_pairing::join::salt(code);
    let (_, m3) = joiner.on_m2(&m2, salt.expose(), &request).unwrap();
    assert_eq!(m3.len(), M3_LENGTH);
    write_frame(&mut stream, &m3).await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .unwrap();
    let elapsed = started.elapsed();
    peer.alone().await;
    (m2.len(), rest, elapsed)
}

/// What the operator refuses after the handshake was right.
const REFUSED: [RefusalReason; 5] = [
    RefusalReason::Used,
    RefusalReason::Expired,
    RefusalReason::Burned,
    RefusalReason::Revoked,
    RefusalReason::Closed,
];

#[tokio::test]
async fn all_failures_look_alike() {
    let bed = Bed::start().await;
    let right = bed.code().await;
    let wrong = wrong(&right);
    let unknown = Code {
        group: GroupId([1; 8]),
        ..right.clone()
    };
    let (wrong, unknown) = futures::join!(attempt(&bed, 1, &wrong), attempt(&bed, 2, &unknown));
    // Not at the same time: a group is closed while its failure is written.
    for (seed, reason) in (3..).zip(REFUSED) {
        let peer = peer_id(&SigningKey::from_bytes(&[seed; 32]).verifying_key());
        bed.operator.book().refused.insert(peer, reason);
    }
    let attempts = (3..)
        .zip(REFUSED)
        .map(|(seed, _)| attempt(&bed, seed, &right));
    let refused = join_all(attempts).await;
    for (m2, rest, elapsed) in [wrong, unknown].into_iter().chain(refused) {
        assert_eq!((m2, rest), (32, Vec::new()));
        assert!(elapsed >= SILENCE_STEP, "{elapsed:?}");
    }
    let failures: Vec<_> = bed
        .operator
        .book()
        .failures
        .iter()
        .map(|failure| failure.reason)
        .collect();
    assert_eq!(failures, [RefusalReason::BadMac]);
    let metrics = get(bed.relay.http(), "/metrics").await;
    for reason in [RefusalReason::BadMac, RefusalReason::UnknownSlot]
        .into_iter()
        .chain(REFUSED)
    {
        let result = reason.as_str();
        let line = format!(r#"peerup_pairing_attempts_total{{result="{result}"}} 1"#);
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn while_the_operator_is_down_nobody_pairs() {
    let bed = Bed::start().await;
    let code = bed.code().await;
    bed.page("/readyz", |_| true).await;
    bed.operator.book().down = true;
    let peer = Peer::start(&bed, 1);
    let failed = pair::pair(&peer.node, &code, &peer.key, &laptop(), now)
        .await
        .unwrap_err();
    assert!(matches!(failed, PairError::Failed), "{failed}");
    bed.stop().await;
}

#[tokio::test]
async fn a_group_stays_closed_until_its_failure_is_written() {
    let bed = Bed::start().await;
    let right = bed.code().await;
    bed.operator.book().failures_down = true;
    let wrong = wrong(&right);
    let peer = Peer::start(&bed, 1);
    let pair = |code: Code| {
        let peer = &peer;
        async move { pair::pair(&peer.node, &code, &peer.key, &laptop(), now).await }
    };
    let (other, name) = (Peer::start(&bed, 2), laptop());
    let failing = pair::pair(&other.node, &wrong, &other.key, &name, now);
    let meanwhile = async {
        bed.until(|book| book.failure_calls > 0).await;
        pair(right.clone()).await.unwrap_err()
    };
    tokio::select! {
        failed = failing => panic!("answered before the failure was written: {failed:?}"),
        closed = meanwhile => assert!(matches!(closed, PairError::Failed), "{closed}"),
    }
    assert_eq!(bed.operator.book().used_by, None);

    bed.operator.book().failures_down = false;
    bed.until(|book| !book.failures.is_empty()).await;
    pair(right).await.unwrap();
    assert_eq!(bed.operator.book().failures.len(), 1);
    bed.stop().await;
}

#[tokio::test]
async fn a_source_that_failed_is_not_evaluated_for_five_seconds() {
    // On a machine that stands still the five seconds may be over before the second attempt is looked at.
    for _ in 0..4 {
        if is_not_evaluated().await {
            return;
        }
    }
    panic!("the second attempt was not in time");
}

/// False if the second attempt came too late to tell.
async fn is_not_evaluated() -> bool {
    let bed = Bed::start().await;
    let right = bed.code().await;
    let wrong = wrong(&right);
    let begun = Instant::now();
    attempt(&bed, 1, &wrong).await;
    let (limited, other) = futures::join!(attempt(&bed, 1, &right), attempt(&bed, 2, &wrong));
    // An attempt is looked at soon after M1, and ends three seconds after that or later.
    if begun.elapsed() > Duration::from_millis(7_700) {
        return false;
    }
    for (m2, rest, elapsed) in [limited, other] {
        assert_eq!((m2, rest), (32, Vec::new()));
        assert!(elapsed >= SILENCE_STEP, "{elapsed:?}");
    }
    {
        let book = bed.operator.book();
        assert_eq!(book.used_by, None);
        assert_eq!((book.lookups, book.failures.len()), (2, 2));
    }
    let peer = Peer::start(&bed, 1);
    pair::pair(&peer.node, &right, &peer.key, &laptop(), now)
        .await
        .unwrap();
    let metrics = get(bed.relay.http(), "/metrics").await;
    let line = r#"peerup_pairing_attempts_total{result="Limited"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    bed.stop().await;
    true
}

#[tokio::test]
async fn of_two_failures_at_once_from_one_source_one_counts() {
    let bed = Bed::start().await;
    let wrong = wrong(&bed.code().await);
    futures::join!(attempt(&bed, 1, &wrong), attempt(&bed, 1, &wrong));
    assert_eq!(bed.operator.book().failures.len(), 1);
    bed.stop().await;
}

#[tokio::test]
async fn unknown_groups_share_a_bucket_that_known_ones_need_not() {
    let many = 4 * UNKNOWN_BURST as u8;
    let bed = Bed::start_with(|book| book.limits.max_probationary_peers = many.into()).await;
    bed.until(|book| !book.presence.is_empty()).await;
    let right = bed.code().await;
    attempt(&bed, 100, &wrong(&right)).await;
    let unknown = |number| Code {
        group: GroupId([number; 8]),
        ..right.clone()
    };
    let codes: Vec<_> = (100..100 + many).map(unknown).collect();
    let attempts = (1..)
        .zip(&codes)
        .map(|(seed, code)| attempt(&bed, seed, code));
    join_all(attempts).await;
    let asked = bed.operator.book().lookups - 1;
    assert!(
        (UNKNOWN_BURST as usize..many.into()).contains(&asked),
        "{asked}"
    );
    let peer = Peer::start(&bed, 101);
    pair::pair(&peer.node, &right, &peer.key, &laptop(), now)
        .await
        .unwrap();
    bed.stop().await;
}

#[tokio::test]
async fn attested_codes_are_neither_counted_nor_limited() {
    let bed = Bed::start().await;
    let attested = Code {
        slot: Slot::ATTESTED,
        ..bed.code().await
    };
    bed.operator.book().code = Some(attested.clone());
    attempt(&bed, 1, &wrong(&attested)).await;
    let peer = Peer::start(&bed, 1);
    pair::pair(&peer.node, &attested, &peer.key, &laptop(), now)
        .await
        .unwrap();
    assert_eq!(bed.operator.book().failures, []);
    bed.stop().await;
}
