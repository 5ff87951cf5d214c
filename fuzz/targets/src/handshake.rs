//! The handshake's frames, each at the side that reads it, in the one handshake of the
//! vectors. A frame that is not the right one fails; that holds also for somebody who
//! knows the code, so M3 to M5 are tried twice: as they come, and as the plain text
//! that a holder of the keys seals.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use peerup_pairing::handshake::{
    Context, Joiner, JoinerWaiting, M1, M3_LENGTH, MAX_PLAIN, Responder, ResponderAnswering,
    ResponderDone,
};
use peerup_protocol::code::HandshakeKind;

use crate::frames::{join_request, join_response};
use crate::property::bounded;
use crate::vectors::{Vectors, vectors};

/// Bytes before the sealed part of M3 and M4.
const MAC: usize = 32;
/// Bytes of plain text under every seal.
const PADDED: usize = MAX_PLAIN + 2;

/// The responder reads M1: one encoding, and no key in it lets anybody in without a MAC.
pub(crate) fn m1(data: &[u8]) -> bool {
    let v = vectors();
    let Ok(m1) = bounded(data.len(), 0, || M1::parse(data)) else {
        return false;
    };
    let mut encoded = vec![1, 1, m1.kind.as_u8()];
    encoded.extend(m1.group.0);
    encoded.extend(m1.slot.0.to_be_bytes());
    assert_eq!(encoded, data[..encoded.len()]);
    assert!(data.len() == 64 && data[45..].iter().all(|byte| *byte == 0));
    let namespace = v.namespace.clone();
    let (responder, m2) =
        Responder::on_m1(m1, v.net, namespace, v.relay, v.joiner, &v.responder_seed);
    assert_eq!(m2, v.frames[1]);
    let others = responder.on_m3(&[0; M3_LENGTH], &v.salt);
    assert!(others.is_err(), "a MAC of zeros");
    true
}

/// The joiner reads M2.
pub(crate) fn m2(data: &[u8]) -> bool {
    let v = vectors();
    let answer = bounded(data.len(), 8, || joiner(v).on_m2(data, &v.salt, &v.request));
    let Ok((waiting, m3)) = answer else {
        return false;
    };
    assert_eq!((data.len(), m3.len()), (32, M3_LENGTH));
    assert_eq!(m3 == v.frames[2], data == v.frames[1]);
    assert!(waiting.on_m4(&[0; M3_LENGTH]).is_err(), "a MAC of zeros");
    true
}

/// The responder reads M3, and what is in it.
pub(crate) fn m3(data: &[u8]) -> bool {
    let v = vectors();
    let read = |m3: &[u8]| bounded(m3.len(), 8, || responder(v).on_m3(m3, &v.salt));
    let whole = data == v.frames[2];
    assert_eq!(read(data).is_ok(), whole, "a forged M3");
    let key = v.file.array("/handshake_group/k_joiner_to_responder");
    let sealed = seal(key, 0, &v.file.array("/handshake_group/th1"), data);
    let plain = read(&[&v.frames[2][..MAC], &sealed].concat());
    let plain = plain.map(|(_, request)| request).ok();
    assert_eq!(plain, unpadded(data));
    whole || plain.is_some_and(|request| join_request(&request))
}

/// The joiner reads M4, and what is in it.
pub(crate) fn m4(data: &[u8]) -> bool {
    let v = vectors();
    let read = |m4: &[u8]| {
        let waiting = waiting(v);
        bounded(m4.len(), 8, || waiting.on_m4(m4))
    };
    let whole = data == v.frames[3];
    assert_eq!(read(data).is_ok(), whole, "a forged M4");
    let key = v.file.array("/handshake_group/k_responder_to_joiner");
    let sealed = seal(key, 0, &v.file.array("/handshake_group/th2"), data);
    let plain = read(&[&v.frames[3][..MAC], &sealed].concat());
    let plain = plain.map(|(outcome, _)| outcome.response).ok();
    assert_eq!(plain, unpadded(data));
    whole || plain.is_some_and(|response| join_response(&response))
}

/// The responder reads M5.
pub(crate) fn m5(data: &[u8]) -> bool {
    let v = vectors();
    let read = |m5: &[u8]| {
        let done = done(v);
        bounded(m5.len(), 8, || done.on_m5(m5)).is_ok()
    };
    let whole = data == v.frames[4];
    assert_eq!(read(data), whole, "a forged M5");
    let key = v.file.array("/handshake_group/k_joiner_to_responder");
    let sealed = seal(key, 1, &v.file.array("/handshake_group/th2"), data);
    let committed = unpadded(data).is_some_and(|plain| plain == b"committed");
    assert_eq!(read(&sealed), committed);
    whole || committed
}

fn joiner(v: &Vectors) -> Joiner {
    let context = Context {
        kind: HandshakeKind::Group,
        net: v.net,
        namespace: v.namespace.clone(),
        group: v.group,
        slot: v.slot,
        responder: v.relay,
        joiner: v.joiner,
    };
    let (joiner, m1) = Joiner::start(context, &v.joiner_seed);
    assert_eq!(m1, v.frames[0]);
    joiner
}

fn waiting(v: &Vectors) -> JoinerWaiting {
    let (waiting, m3) = joiner(v)
        .on_m2(&v.frames[1], &v.salt, &v.request)
        .expect("M2 is right");
    assert_eq!(m3, v.frames[2]);
    waiting
}

fn responder(v: &Vectors) -> Responder {
    let m1 = M1::parse(&v.frames[0]).expect("M1 is right");
    let namespace = v.namespace.clone();
    Responder::on_m1(m1, v.net, namespace, v.relay, v.joiner, &v.responder_seed).0
}

fn answering(v: &Vectors) -> ResponderAnswering {
    let read = responder(v).on_m3(&v.frames[2], &v.salt);
    read.expect("M3 is right").0
}

fn done(v: &Vectors) -> ResponderDone {
    let (done, m4) = answering(v).accept(&v.response).expect("it fits");
    assert_eq!(m4, v.frames[3]);
    done
}

/// XChaCha20-Poly1305 as the handshake seals, without padding.
fn seal(key: [u8; 32], counter: u64, transcript: &[u8; 32], plain: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 24];
    nonce[16..].copy_from_slice(&counter.to_be_bytes());
    let payload = Payload {
        msg: plain,
        aad: transcript,
    };
    let cipher = XChaCha20Poly1305::new(&Key::from(key));
    let sealed = cipher.encrypt(&XNonce::from(nonce), payload);
    sealed.expect("short enough")
}

/// What `u16 length ‖ plain ‖ zeros` holds, if it is that and [`PADDED`] bytes long.
fn unpadded(padded: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = padded.split_first_chunk()?;
    let (plain, zeros) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    let right = padded.len() == PADDED && zeros.iter().all(|byte| *byte == 0);
    right.then(|| plain.to_vec())
}
