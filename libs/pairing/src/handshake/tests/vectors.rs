//! Each byte of the independent reference.

use serde_json::Value;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../protocol/vectors/vectors.json")).unwrap()
}

fn check_vector(kind: HandshakeKind, name: &str) {
    let all = vectors();
    let text = |field: &str| hex(all[name][field].as_str().unwrap());
    let context = context(kind);
    let (salt, request, response) = (text("salt"), text("request"), text("response"));
    let run = run(
        &context,
        &context,
        (&salt, &salt),
        (&request, &response),
        |_, _| {},
    )
    .unwrap();
    for (number, frame) in run.frames.iter().enumerate() {
        assert_eq!(*frame, text(&format!("m{}", number + 1)), "M{}", number + 1);
    }
    assert_eq!((run.request, run.response), (request.clone(), response));
    let key = |byte: u8| x25519_dalek::StaticSecret::from([byte; 32]);
    let public = |byte: u8| x25519_dalek::PublicKey::from(&key(byte));
    let dh = key(7).diffie_hellman(&public(9));
    let th1 = transcript_1(&context, public(7).as_bytes(), public(9).as_bytes());
    let th2 = transcript_2(&th1, &text("m3"));
    assert_eq!(
        [dh.as_bytes(), &th1, &th2].map(|bytes| bytes.to_vec()),
        ["dh", "th1", "th2"].map(text)
    );
    let (joining, _) = Joiner::start(context, &Secret::new(JOINER_SEED));
    let (waiting, _) = joining.on_m2(&text("m2"), &salt, &request).unwrap();
    let parts = [
        "k_joiner_to_responder",
        "k_responder_to_joiner",
        "confirm_joiner",
        "confirm_responder",
        "exporter",
    ];
    assert_eq!(waiting.okm(), parts.map(text).concat());
}

#[test]
fn vector_group() {
    assert_eq!(
        vectors()["handshake_group"]["salt"],
        vectors()["code"]["hash"]
    );
    check_vector(HandshakeKind::Group, "handshake_group");
}

#[test]
fn vector_invite() {
    assert_eq!(
        vectors()["handshake_invite"]["salt"],
        vectors()["code"]["secret"]
    );
    check_vector(HandshakeKind::Invite, "handshake_invite");
}

#[test]
fn vector_voucher() {
    check_vector(HandshakeKind::Voucher, "handshake_voucher");
}
