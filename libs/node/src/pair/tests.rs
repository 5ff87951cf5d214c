//! Silence, deadlines and durability.

use std::{
    future::{pending, ready},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{
    AsyncRead, AsyncWrite,
    future::{join, join_all},
};
use peerup_protocol::{
    PeerId, SigningKey,
    api::{FailureRequest, IssuedRecord, LookupRequest, RedeemRequest, RefusalReason},
    code::{Code, CodeKind, Responder},
    derive::code_hash,
    id::{DhtNamespace, GroupId, NetworkId, PeerName, Serial, Slot, peer_id},
    record::{MemberRecord, Method, Signed},
};
use tokio::time::{Instant, sleep};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::*;
use crate::{
    io::{read_frame, read_frame_within, write_frame},
    probation::{Pool, Refused},
};

/// The deadlines are the protocol's, so these tests take seconds; side by side.
#[track_caller]
fn took(started: Instant, seconds: u64) {
    let (least, most) = (
        Duration::from_secs(seconds),
        Duration::from_secs(seconds + 8),
    );
    let took = started.elapsed();
    assert!(
        took >= least && took < most,
        "{took:?} instead of {least:?}"
    );
}

const NOW: u64 = 1_800_000_000;

fn pipe() -> (
    impl AsyncRead + AsyncWrite + Unpin,
    impl AsyncRead + AsyncWrite + Unpin,
) {
    let (a, b) = tokio::io::duplex(1 << 14);
    (a.compat(), b.compat())
}

fn network() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn joiner() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn relay() -> PeerId {
    peer_id(&SigningKey::from_bytes(&[3; 32]).verifying_key())
}

fn code(slot: Slot) -> Code {
    Code {
        kind: CodeKind::Group,
        net: NetworkId::of(&network().verifying_key()),
        group: GroupId([9; 8]),
        slot,
        secret: Secret::new([4; 16]),
        namespace: DhtNamespace::parse("my-crew").unwrap(),
        not_after: u32::MAX,
        responders: vec![Responder {
            peer: relay(),
            addresses: Vec::new(),
        }],
    }
}

fn ends() -> Ends {
    Ends {
        net: NetworkId::of(&network().verifying_key()),
        namespace: DhtNamespace::parse("my-crew").unwrap(),
        responder: relay(),
        joiner: peer_id(&joiner().verifying_key()),
    }
}

/// How the operator behaves, and what it was told.
#[derive(Default)]
struct Office {
    lookup: Option<Lookup>,
    failure_takes: Option<Duration>,
    redeem: Option<RefusalReason>,
    failures: Mutex<Vec<RefusalReason>>,
    redeemed: AtomicBool,
}

impl Desk for Office {
    async fn lookup(&self, request: LookupRequest) -> Lookup {
        let code = code(request.slot);
        let salt = Secret::new(code_hash(&code.net, &code.group, code.slot, &code.secret));
        let attested = request.slot == Slot::ATTESTED;
        self.lookup
            .clone()
            .unwrap_or(Lookup::Known { salt, attested })
    }

    async fn redeem(&self, request: RedeemRequest) -> Result<IssuedRecord, RefusalReason> {
        if let Some(reason) = self.redeem {
            return Err(reason);
        }
        self.redeemed.store(true, Ordering::SeqCst);
        let record = MemberRecord {
            net: ends().net,
            serial: Serial(8),
            peer: request.peer_id,
            name: request.name,
            subject: String::new(),
            method: Method::Code,
            issued: NOW,
            not_after: NOW + 100,
        };
        let signed = Signed::sign(&network(), record.encode());
        Ok(IssuedRecord {
            record: signed.bytes,
            signature: signed.signature,
            network_public_key: network().verifying_key().to_bytes(),
        })
    }

    async fn failure(&self, request: FailureRequest) {
        match self.failure_takes {
            None => pending().await,
            Some(time) => sleep(time).await,
        }
        self.failures.lock().unwrap().push(request.reason);
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    office: &Office,
    enter: impl Fn(Pool) -> Result<(), Refused>,
) -> Verdict {
    let admit = async || {
        let durable = office.redeemed.load(Ordering::SeqCst);
        assert!(durable, "admitted before it is durable");
    };
    respond(stream, &ends(), office, |pool| ready(enter(pool)), admit).await
}

async fn run(
    code: &Code,
    office: &Office,
) -> (Result<peerup_pairing::join::Joined, PairError>, Verdict) {
    let (mut near, mut far) = pipe();
    let name = PeerName::parse("laptop").unwrap();
    let identity = joiner();
    let joining = join_as(&mut near, code, &identity, &name);
    let answering = async {
        let verdict = answer(&mut far, office, |_| Ok(())).await;
        drop(far);
        verdict
    };
    join(joining, answering).await
}

async fn join_as<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    code: &Code,
    identity: &SigningKey,
    name: &PeerName,
) -> Result<peerup_pairing::join::Joined, PairError> {
    super::join(stream, relay(), code, identity, name, || NOW).await
}

#[tokio::test]
async fn the_right_code_joins_at_once() {
    let started = Instant::now();
    let office = Office::default();
    let (joined, verdict) = run(&code(Slot(3)), &office).await;
    assert_eq!(joined.unwrap().record.serial, Serial(8));
    assert!(matches!(verdict, Verdict::Joined(_)));
    took(started, 0);
}

/// Runs a failing attempt; asserts what the joiner learns and how long it took.
async fn fails(office: Office, secret: [u8; 16], reason: RefusalReason, seconds: u64) -> Office {
    let started = Instant::now();
    let code = Code {
        secret: Secret::new(secret),
        ..code(Slot(3))
    };
    let (joined, verdict) = run(&code, &office).await;
    assert!(matches!(joined, Err(PairError::Failed)), "{joined:?}");
    assert_eq!(verdict, Verdict::Failed(reason));
    took(started, seconds);
    office
}

#[tokio::test]
async fn every_failure_is_the_same_silence() {
    let quick = || Office {
        failure_takes: Some(Duration::from_millis(20)),
        ..Office::default()
    };
    let unknown = Office {
        lookup: Some(Lookup::Unknown(RefusalReason::UnknownGroup)),
        ..quick()
    };
    // Whatever the operator has against a joiner whose handshake was right.
    let refused = RefusalReason::ALL.iter().map(|&reason| {
        let office = Office {
            redeem: Some(reason),
            ..quick()
        };
        fails(office, [4; 16], reason, 3)
    });
    let (wrong, unknown, _) = futures::join!(
        fails(quick(), [5; 16], RefusalReason::BadMac, 3),
        fails(unknown, [4; 16], RefusalReason::UnknownGroup, 3),
        join_all(refused),
    );
    assert_eq!(*wrong.failures.lock().unwrap(), vec![RefusalReason::BadMac]);
    assert_eq!(
        *unknown.failures.lock().unwrap(),
        vec![],
        "an unknown group is not counted"
    );
}

#[tokio::test]
async fn the_reset_waits_until_the_failure_is_durable() {
    let slow = |seconds: u64| Office {
        failure_takes: Some(Duration::from_millis(seconds * 1000 - 500)),
        ..Office::default()
    };
    futures::join!(
        fails(slow(4), [5; 16], RefusalReason::BadMac, 6),
        fails(slow(9), [5; 16], RefusalReason::BadMac, 9),
        fails(Office::default(), [5; 16], RefusalReason::Timeout, 12),
    );
}

#[tokio::test]
async fn after_m2_a_failing_joiner_hears_nothing() {
    let (mut near, mut far) = pipe();
    let office = Office {
        failure_takes: Some(Duration::ZERO),
        ..Office::default()
    };
    let attacker = async {
        let mut m1 = vec![1, 1, 1];
        m1.extend([9; 8]);
        m1.extend([0, 3]);
        m1.extend([7; 32]);
        m1.resize(64, 0);
        write_frame(&mut near, &m1).await.unwrap();
        assert_eq!(read_frame(&mut near, 32).await.unwrap().len(), 32);
        write_frame(&mut near, &[0; 1072]).await.unwrap();
        read_frame_within(&mut near, 4096, Duration::from_secs(60)).await
    };
    let answering = async {
        answer(&mut far, &office, |_| Ok(())).await;
        drop(far);
    };
    let (heard, ()) = join(attacker, answering).await;
    assert!(
        matches!(heard, Err(crate::io::FrameError::Closed)),
        "{heard:?}"
    );
}

#[tokio::test]
async fn a_full_pool_is_busy_before_m2() {
    let (mut near, mut far) = pipe();
    let (name, identity, code) = (PeerName::parse("laptop").unwrap(), joiner(), code(Slot(1)));
    let office = Office::default();
    let answering = async {
        let verdict = answer(&mut far, &office, |_| Err(Refused::Full)).await;
        drop(far);
        verdict
    };
    let (joined, verdict) = join(join_as(&mut near, &code, &identity, &name), answering).await;
    assert!(matches!(joined, Err(PairError::Busy)));
    assert_eq!(verdict, Verdict::Busy);
}

#[tokio::test]
async fn an_attested_code_enters_its_own_pool() {
    for (slot, expected) in [
        (Slot::ATTESTED, vec![Pool::Asking, Pool::Attested]),
        (Slot(1), vec![Pool::Probationary]),
    ] {
        let (mut near, mut far) = pipe();
        let (name, identity, code) = (PeerName::parse("web-0").unwrap(), joiner(), code(slot));
        let office = Office::default();
        let pools = Mutex::new(Vec::new());
        let enter = |pool| {
            pools.lock().unwrap().push(pool);
            Ok(())
        };
        let answering = async { answer(&mut far, &office, enter).await };
        let (joined, _) = join(join_as(&mut near, &code, &identity, &name), answering).await;
        joined.unwrap();
        assert_eq!(*pools.lock().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_joiner_waits_fifteen_seconds_for_its_answer() {
    let (mut near, mut far) = pipe();
    let (name, identity, code) = (PeerName::parse("laptop").unwrap(), joiner(), code(Slot(1)));
    let silent = async {
        read_frame(&mut far, 64).await.unwrap();
        write_frame(&mut far, &[9; 32]).await.unwrap();
        read_frame(&mut far, 4096).await.unwrap();
        Instant::now()
    };
    let started = Instant::now();
    let (joined, _) = join(join_as(&mut near, &code, &identity, &name), silent).await;
    assert!(matches!(joined, Err(PairError::Failed)));
    took(started, 15);
}
