//! Every way to damage a handshake; and the vectors of the independent reference.

mod vectors;

use peerup_protocol::code::HandshakeKind;
use peerup_protocol::id::{DhtNamespace, GroupId, NetworkId, Slot, peer_id};
use peerup_protocol::secret::Secret;
use peerup_protocol::{PeerId, SigningKey};
use proptest::collection::vec;
use proptest::prelude::*;

use super::keys::{Direction, Keys, Role, pad, transcript_1, transcript_2, unpad};
use super::*;

const JOINER_SEED: [u8; 32] = [7; 32];
const RESPONDER_SEED: [u8; 32] = [9; 32];

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn peer(byte: u8) -> PeerId {
    peer_id(&key(byte).verifying_key())
}

fn context(kind: HandshakeKind) -> Context {
    let (slot, responder) = match kind {
        HandshakeKind::Group | HandshakeKind::Voucher => (2, peer(2)),
        HandshakeKind::Invite => (0, peer(4)),
    };
    Context {
        kind,
        net: NetworkId::of(&key(1).verifying_key()),
        namespace: DhtNamespace::parse("my-crew").unwrap(),
        group: GroupId([1, 2, 3, 4, 5, 6, 7, 8]),
        slot: Slot(slot),
        responder,
        joiner: peer(3),
    }
}

/// A responder that sees the same as `context`.
fn answer_m1(m1: &[u8], context: &Context) -> Result<(Responder, Vec<u8>), Failure> {
    let m1 = M1::parse(m1)?;
    let Context {
        net,
        namespace,
        responder,
        joiner,
        ..
    } = context.clone();
    Ok(Responder::on_m1(
        m1,
        net,
        namespace,
        responder,
        joiner,
        &Secret::new(RESPONDER_SEED),
    ))
}

struct Run {
    request: Vec<u8>,
    response: Vec<u8>,
    frames: [Vec<u8>; 5],
}

/// A whole handshake; `damage` may change each frame on its way (numbered from 0).
fn run(
    joiner: &Context,
    responder: &Context,
    salts: (&[u8], &[u8]),
    plain: (&[u8], &[u8]),
    mut damage: impl FnMut(usize, &mut Vec<u8>),
) -> Result<Run, Failure> {
    let mut travel = |number, mut frame: Vec<u8>| {
        damage(number, &mut frame);
        frame
    };
    let (joining, m1) = Joiner::start(joiner.clone(), &Secret::new(JOINER_SEED));
    let m1 = travel(0, m1);
    let (answering, m2) = answer_m1(&m1, responder)?;
    let m2 = travel(1, m2);
    let (waiting, m3) = joining.on_m2(&m2, salts.0, plain.0)?;
    let m3 = travel(2, m3);
    let (answering, request) = answering.on_m3(&m3, salts.1)?;
    let (done, m4) = answering.accept(plain.1)?;
    let m4 = travel(3, m4);
    let (outcome, m5) = waiting.on_m4(&m4)?;
    let m5 = travel(4, m5);
    done.on_m5(&m5)?;
    Ok(Run {
        request,
        response: outcome.response,
        frames: [m1, m2, m3, m4, m5],
    })
}

#[test]
fn every_byte_of_every_frame_matters() {
    let context = context(HandshakeKind::Group);
    let lengths = [M1_LENGTH, M2_LENGTH, M3_LENGTH, M4_LENGTH, M5_LENGTH];
    for (number, length) in lengths.into_iter().enumerate() {
        for at in 0..length {
            // The highest bit of a Curve25519 key is not part of it (RFC 7748, 5); both transcripts see it.
            let damage = |n: usize, frame: &mut Vec<u8>| {
                if n == number {
                    assert_eq!(frame.len(), length);
                    frame[at] ^= 0x81;
                }
            };
            let result = run(
                &context,
                &context,
                (b"salt", b"salt"),
                (b"ask", b"yes"),
                damage,
            );
            assert!(result.is_err(), "byte {at} of M{}", number + 1);
        }
    }
}

#[test]
fn every_bit_of_the_confirmations_matters() {
    let context = context(HandshakeKind::Group);
    for number in [2, 3] {
        for bit in 0..256 {
            let damage = |n: usize, frame: &mut Vec<u8>| {
                if n == number {
                    frame[bit / 8] ^= 1 << (bit % 8);
                }
            };
            let failure = run(
                &context,
                &context,
                (b"salt", b"salt"),
                (b"ask", b"yes"),
                damage,
            )
            .err();
            assert_eq!(
                failure.map(Failure::reason),
                Some(Reason::BadMac),
                "bit {bit}"
            );
        }
    }
}

#[test]
fn frames_of_other_lengths_fail() {
    let context = context(HandshakeKind::Group);
    for number in 0..5 {
        for change in [
            |f: &mut Vec<u8>| f.truncate(f.len() - 1),
            |f: &mut Vec<u8>| f.push(0),
            |f: &mut Vec<u8>| f.clear(),
        ] {
            let damage = |n: usize, frame: &mut Vec<u8>| {
                if n == number {
                    change(frame);
                }
            };
            let result = run(
                &context,
                &context,
                (b"salt", b"salt"),
                (b"ask", b"yes"),
                damage,
            );
            let reason = result.err().unwrap().reason();
            // Malformed is never counted, so a length must not look like a wrong secret.
            assert!(
                number == 4 || reason == Reason::Malformed,
                "M{}: {reason:?}",
                number + 1
            );
        }
    }
}

#[test]
fn there_is_one_version_and_one_suite() {
    let (_, good) = Joiner::start(context(HandshakeKind::Group), &Secret::new(JOINER_SEED));
    let reads = |at: usize, bytes: &[u8]| {
        let mut m1 = good.clone();
        m1[at..at + bytes.len()].copy_from_slice(bytes);
        M1::parse(&m1).is_ok()
    };
    for version in 0..=255u8 {
        for suite in 0..=255u8 {
            assert_eq!(
                reads(0, &[version, suite]),
                (version, suite) == (1, 1),
                "{version}.{suite}"
            );
        }
    }
    for kind in 0..=255u8 {
        assert_eq!(reads(2, &[kind]), (1..=3).contains(&kind), "kind {kind}");
    }
}

#[test]
fn an_echo_of_our_own_key_is_refused() {
    let context = context(HandshakeKind::Group);
    let (joining, m1) = Joiner::start(context.clone(), &Secret::new(JOINER_SEED));
    let failure = joining.on_m2(&m1[13..45], b"salt", b"ask").err();
    assert_eq!(failure.map(Failure::reason), Some(Reason::OwnKey));
    let own = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(RESPONDER_SEED));
    let mut m1 = m1;
    m1[13..45].copy_from_slice(own.as_bytes());
    let (answering, _) = answer_m1(&m1, &context).unwrap();
    let failure = answering.on_m3(&[0; M3_LENGTH], b"salt").err();
    assert_eq!(failure.map(Failure::reason), Some(Reason::OwnKey));
}

/// Keys of small order (RFC 7748, 6.1; the list of RFC 7748's errata and of libsodium).
#[test]
fn keys_that_force_the_secret_are_refused() {
    let context = context(HandshakeKind::Group);
    for small in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let small = hex(small);
        let (joining, mut m1) = Joiner::start(context.clone(), &Secret::new(JOINER_SEED));
        let failure = joining.on_m2(&small, b"salt", b"ask").err();
        assert_eq!(failure.map(Failure::reason), Some(Reason::NonContributory));
        m1[13..45].copy_from_slice(&small);
        let (answering, m2) = answer_m1(&m1, &context).unwrap();
        assert_eq!(m2.len(), M2_LENGTH, "M2 is always answered");
        let failure = answering.on_m3(&[0; M3_LENGTH], b"salt").err();
        assert_eq!(failure.map(Failure::reason), Some(Reason::NonContributory));
    }
}

#[test]
fn both_sides_must_see_the_same() {
    let good = context(HandshakeKind::Group);
    let others = [
        Context {
            net: NetworkId([0; 16]),
            ..good.clone()
        },
        Context {
            namespace: DhtNamespace::parse("other").unwrap(),
            ..good.clone()
        },
        Context {
            responder: peer(4),
            ..good.clone()
        },
        Context {
            joiner: peer(4),
            ..good.clone()
        },
    ];
    for other in others {
        let failure = run(
            &good,
            &other,
            (b"salt", b"salt"),
            (b"ask", b"yes"),
            |_, _| {},
        )
        .err();
        assert_eq!(
            failure.map(Failure::reason),
            Some(Reason::BadMac),
            "{other:?}"
        );
    }
    // Kind, group and slot travel in M1: a relay between that changes them changes the transcript.
    for (at, value) in [(2, 2), (3, 9), (11, 1), (12, 9)] {
        let damage = |n: usize, frame: &mut Vec<u8>| {
            if n == 0 {
                frame[at] = value;
            }
        };
        let failure = run(&good, &good, (b"salt", b"salt"), (b"ask", b"yes"), damage).err();
        assert_eq!(
            failure.map(Failure::reason),
            Some(Reason::BadMac),
            "byte {at}"
        );
    }
}

#[test]
fn another_salt_is_a_bad_mac_and_looks_like_every_failure() {
    let context = context(HandshakeKind::Group);
    let failure = run(
        &context,
        &context,
        (b"salt", b"tlas"),
        (b"ask", b"yes"),
        |_, _| {},
    )
    .err()
    .unwrap();
    assert_eq!(failure.refusal(), RefusalReason::BadMac);
    assert_eq!(failure.to_string(), "pairing failed");
    let other = answer_m1(&[], &context).err().unwrap();
    assert_eq!(other.refusal(), RefusalReason::Malformed);
    assert_eq!(other.to_string(), failure.to_string());
}

/// The keys and second transcript of both sides, as a test may compute them.
fn keys_of(context: &Context, m3: &[u8]) -> (Keys, [u8; 32]) {
    let own = x25519_dalek::StaticSecret::from(JOINER_SEED);
    let theirs = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(RESPONDER_SEED));
    let own_public = x25519_dalek::PublicKey::from(&own);
    let th1 = transcript_1(context, own_public.as_bytes(), theirs.as_bytes());
    let keys = Keys::agree(&own, theirs.as_bytes(), b"salt", &th1).unwrap();
    (keys, transcript_2(&th1, m3))
}

#[test]
fn m5_says_committed_and_nothing_else() {
    let context = context(HandshakeKind::Group);
    for (word, ok) in [("committed", true), ("aborted", false), ("", false)] {
        let mut m3 = Vec::new();
        let result = run(
            &context,
            &context,
            (b"salt", b"salt"),
            (b"ask", b"yes"),
            |n, frame| match n {
                2 => m3 = frame.clone(),
                4 => {
                    let (keys, th2) = keys_of(&context, &m3);
                    *frame = keys
                        .seal(Direction::ToResponder, 1, &th2, word.as_bytes())
                        .unwrap();
                }
                _ => {}
            },
        );
        assert_eq!(result.is_ok(), ok, "{word}");
    }
}

#[test]
fn padding_is_zeros_to_a_fixed_length() {
    let padded = pad(b"abc").unwrap();
    assert_eq!(
        (padded.len(), &padded[..6]),
        (1024, [0, 3, b'a', b'b', b'c', 0].as_slice())
    );
    assert_eq!(unpad(padded.as_slice()).unwrap(), b"abc");
    for (at, value) in [(5, 1), (1023, 1), (0, 4)] {
        let mut other = *padded;
        other[at] = value;
        assert!(unpad(&other).is_err(), "byte {at}");
    }
    assert!(unpad(&padded[..1023]).is_err() && unpad(&[]).is_err());
}

/// A sealed message of one direction, counter or transcript is none of another.
#[test]
fn nothing_sealed_can_be_reflected_or_moved() {
    let own = x25519_dalek::StaticSecret::from([5; 32]);
    let theirs = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from([6; 32]));
    let keys = Keys::agree(&own, theirs.as_bytes(), b"salt", &[1; 32]).unwrap();
    let sealed = keys
        .seal(Direction::ToResponder, 0, &[2; 32], b"x")
        .unwrap();
    assert_eq!(
        keys.open(Direction::ToResponder, 0, &[2; 32], &sealed)
            .unwrap(),
        b"x"
    );
    for (direction, counter, transcript) in [
        (Direction::ToJoiner, 0, [2; 32]),
        (Direction::ToResponder, 1, [2; 32]),
        (Direction::ToResponder, 0, [3; 32]),
    ] {
        let failure = keys.open(direction, counter, &transcript, &sealed).err();
        assert_eq!(failure.map(Failure::reason), Some(Reason::BadSeal));
    }
    assert_ne!(
        keys.confirm(Role::Joiner, &[1; 32]),
        keys.confirm(Role::Responder, &[1; 32])
    );
}

#[test]
fn what_does_not_fit_the_padding_is_refused() {
    let context = context(HandshakeKind::Group);
    let most = vec![7; MAX_PLAIN];
    let run_with = |plain: &[u8]| {
        run(
            &context,
            &context,
            (b"salt", b"salt"),
            (plain, plain),
            |_, _| {},
        )
    };
    assert_eq!(run_with(&most).unwrap().request, most);
    let failure = run_with(&[7; MAX_PLAIN + 1]).err();
    assert_eq!(failure.map(Failure::reason), Some(Reason::TooLong));
}

proptest! {
    #[test]
    fn any_plain_text_comes_through(ask in vec(any::<u8>(), 0..=MAX_PLAIN), answer in vec(any::<u8>(), 0..=MAX_PLAIN)) {
        let context = context(HandshakeKind::Group);
        let run = run(&context, &context, (b"salt", b"salt"), (&ask, &answer), |_, _| {}).unwrap();
        prop_assert_eq!((run.request, run.response), (ask, answer));
        let lengths = run.frames.map(|frame| frame.len());
        prop_assert_eq!(lengths, [M1_LENGTH, M2_LENGTH, M3_LENGTH, M4_LENGTH, M5_LENGTH]);
    }

    #[test]
    fn no_bytes_make_a_side_panic(bytes in vec(any::<u8>(), 0..1200)) {
        let context = context(HandshakeKind::Group);
        let _ = M1::parse(&bytes);
        let (joining, m1) = Joiner::start(context.clone(), &Secret::new(JOINER_SEED));
        let (answering, m2) = answer_m1(&m1, &context).unwrap();
        prop_assert!(answering.on_m3(&bytes, b"salt").is_err());
        let (waiting, _) = joining.on_m2(&m2, b"salt", b"ask").unwrap();
        prop_assert!(waiting.on_m4(&bytes).is_err());
    }
}
