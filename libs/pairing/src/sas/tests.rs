//! Vectors of the independent reference, and somebody in the middle.

use peerup_protocol::SigningKey;
use peerup_protocol::id::peer_id;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../protocol/vectors/vectors.json")).unwrap()
}

fn peer(byte: u8) -> PeerId {
    peer_id(&SigningKey::from_bytes(&[byte; 32]).verifying_key())
}

fn namespace() -> DhtNamespace {
    DhtNamespace::parse("my-crew").unwrap()
}

fn ends(opener: u8, answerer: u8) -> Ends {
    Ends {
        namespace: namespace(),
        opener: peer(opener),
        answerer: peer(answerer),
    }
}

/// An honest run over one stream: what A and B see.
fn compare(a: &Ends, b: &Ends, nonces: [[u8; 32]; 2]) -> Result<(Sas, Sas), Dishonest> {
    let (opener, commit) = Opener::start(a.clone(), Secret::new(nonces[0]));
    let (answerer, nonce) = Answerer::on_commit(b.clone(), commit, &Secret::new(nonces[1]));
    let (reveal, at_a) = opener.on_nonce(nonce);
    Ok((at_a, answerer.on_reveal(reveal)?))
}

#[test]
fn vector() {
    let v = &vectors()["verify"];
    let (_, commit) = Opener::start(ends(3, 4), Secret::new([0xA1; 32]));
    let commitment = data_encoding::HEXLOWER.encode(&commit.0);
    assert_eq!(commitment, v["commitment"].as_str().unwrap());
    let (at_a, at_b) = compare(&ends(3, 4), &ends(3, 4), [[0xA1; 32], [0xB2; 32]]).unwrap();
    assert_eq!(at_a, at_b);
    let indices: Vec<_> = v["emoji_index"].as_array().unwrap().iter().collect();
    let expected = indices.iter().map(|i| Emoji::of(i.as_u64().unwrap() as u8));
    assert_eq!(at_a.emoji().to_vec(), expected.collect::<Vec<_>>());
    let (emoji, digits) = (v["emoji"].as_str().unwrap(), v["digits"].as_str().unwrap());
    assert_eq!(
        (at_a.digits().as_str(), at_a.to_string()),
        (digits, format!("{emoji} {digits}"))
    );
}

#[test]
fn vector_of_the_table() {
    let all = vectors();
    let table = all["emoji_table"].as_array().unwrap();
    assert_eq!(table.len(), 64);
    for entry in table {
        let emoji = Emoji::of(entry["index"].as_u64().unwrap() as u8);
        let text = |field: &str| entry[field].as_str().unwrap();
        assert_eq!((emoji.glyph, emoji.name), (text("emoji"), text("name")));
    }
    let names: std::collections::BTreeSet<_> = (0..64).map(|bits| Emoji::of(bits).name).collect();
    assert_eq!(names.len(), 64, "each name once");
}

#[test]
fn vector_of_the_fingerprint() {
    let v = &vectors()["verify"];
    let fingerprint = Fingerprint::of(&namespace(), &peer(3), &peer(4));
    assert_eq!(
        fingerprint,
        Fingerprint::of(&namespace(), &peer(4), &peer(3))
    );
    let text = v["fingerprint"].as_str().unwrap();
    assert_eq!(
        (fingerprint.to_string().as_str(), text.parse()),
        (text, Ok(fingerprint))
    );
    let (dense, grouped) = (v["offline_digits"].as_str().unwrap(), fingerprint.digits());
    assert_eq!(grouped.replace(' ', ""), dense);
    assert!(
        grouped.split(' ').all(|group| group.len() == 5),
        "{grouped}"
    );
    assert!(fingerprint.has_digits(dense) && fingerprint.has_digits(&grouped));
    assert!(fingerprint.has_digits(&format!(" {} ", grouped.replace(' ', "-"))));
}

#[test]
fn digits_are_compared_whole() {
    let fingerprint = Fingerprint::of(&namespace(), &peer(3), &peer(4));
    let digits = fingerprint.digits().replace(' ', "");
    for at in 0..60 {
        let mut other = digits.clone().into_bytes();
        other[at] = if other[at] == b'0' { b'1' } else { b'0' };
        assert!(
            !fingerprint.has_digits(std::str::from_utf8(&other).unwrap()),
            "digit {at}"
        );
    }
    for bad in [
        "",
        &digits[..59],
        &digits[..55],
        &format!("{digits}0"),
        &digits.replace('3', "٣"),
    ] {
        assert!(!fingerprint.has_digits(bad), "{bad}");
    }
}

#[test]
fn a_reveal_is_what_was_committed_to() {
    let (opener, commit) = Opener::start(ends(3, 4), Secret::new([1; 32]));
    let (reveal, _) = opener.on_nonce(VerifyNonce([2; 32]));
    for bit in 0..256 {
        let mut other = reveal;
        other.0[bit / 8] ^= 1 << (bit % 8);
        let (answerer, _) = Answerer::on_commit(ends(3, 4), commit, &Secret::new([2; 32]));
        assert_eq!(answerer.on_reveal(other), Err(Dishonest), "bit {bit}");
    }
    let (answerer, _) = Answerer::on_commit(ends(3, 4), commit, &Secret::new([2; 32]));
    assert!(answerer.on_reveal(reveal).is_ok());
}

/// M stands between A and B, has a stream with each, and knows both nonces before
/// it must show its own to B. It looks for one that makes B see A's first two
/// pictures: it finds one, and B does not take it.
#[test]
fn somebody_in_the_middle_cannot_choose_after_seeing() {
    let (a, m, b) = (3, 5, 4);
    let (at_a, commit) = Opener::start(ends(a, m), Secret::new([1; 32]));
    let (at_m, commit_of_m) = Opener::start(ends(m, b), Secret::new([9; 32]));
    let (at_b, nonce_of_b) = Answerer::on_commit(ends(m, b), commit_of_m, &Secret::new([2; 32]));
    let (_, nonce_for_a) = Answerer::on_commit(ends(a, m), commit, &Secret::new(nonce_of_b.0));
    let (_, seen_by_a) = at_a.on_nonce(nonce_for_a);
    let wanted = seen_by_a.emoji()[..2].to_vec();
    let nonces = (0..100_000u32).map(|n| {
        let mut nonce = [9; 32];
        nonce[..4].copy_from_slice(&n.to_be_bytes());
        nonce
    });
    let found = nonces
        .into_iter()
        .find(|nonce| ends(m, b).sas(nonce, &nonce_of_b.0).emoji()[..2] == wanted);
    assert_eq!(at_b.on_reveal(VerifyNonce(found.unwrap())), Err(Dishonest));
    // What it was bound to gives B another string than A's.
    let (at_b, _) = Answerer::on_commit(ends(m, b), commit_of_m, &Secret::new([2; 32]));
    let (reveal, _) = at_m.on_nonce(nonce_of_b);
    assert_ne!(at_b.on_reveal(reveal).unwrap(), seen_by_a);
}

/// M passes every message of A on to B as its own, and of B to A: the PeerIds in
/// commitment and string are those of the connections, so nothing fits.
#[test]
fn somebody_in_the_middle_cannot_pass_messages_on() {
    let (at_a, commit) = Opener::start(ends(3, 5), Secret::new([1; 32]));
    let (at_b, nonce) = Answerer::on_commit(ends(5, 4), commit, &Secret::new([2; 32]));
    let (reveal, _) = at_a.on_nonce(nonce);
    assert_eq!(at_b.on_reveal(reveal), Err(Dishonest));
    // Nor can B's answer be given back to B in the other direction.
    let (_, commit) = Opener::start(ends(3, 4), Secret::new([1; 32]));
    let (back, _) = Answerer::on_commit(ends(4, 3), commit, &Secret::new([2; 32]));
    assert_eq!(back.on_reveal(VerifyNonce([1; 32])), Err(Dishonest));
}

proptest! {
    #[test]
    fn both_ends_see_the_same(nonces: [[u8; 32]; 2]) {
        let (at_a, at_b) = compare(&ends(3, 4), &ends(3, 4), nonces).unwrap();
        prop_assert_eq!(at_a.to_string(), at_b.to_string());
    }

    /// With the same nonces on both of its streams, and with any others.
    #[test]
    fn somebody_in_the_middle_makes_two_strings(a: [u8; 32], b: [u8; 32], m: [[u8; 32]; 2]) {
        let (left, right) = (ends(3, 5), ends(5, 4));
        for [for_a, for_b] in [m, [b, a], [a, b]] {
            let (seen_by_a, _) = compare(&left, &left, [a, for_a]).unwrap();
            let (_, seen_by_b) = compare(&right, &right, [for_b, b]).unwrap();
            prop_assert_ne!(seen_by_a, seen_by_b);
        }
    }

    #[test]
    fn another_network_makes_another_string(nonces: [[u8; 32]; 2]) {
        let here = ends(3, 4);
        let there = Ends { namespace: DhtNamespace::parse("other").unwrap(), ..here.clone() };
        let (at_a, at_b) = compare(&here, &there, nonces).unwrap();
        prop_assert_ne!(at_a, at_b);
    }

    #[test]
    fn no_stored_text_makes_a_panic(text in "\\PC{0,90}", near in "sha256:[0-9a-f]{60,68}") {
        for text in [text, near] {
            let checked = Verified::check(Some(&text), &namespace(), &peer(3), &peer(4));
            prop_assert_eq!(checked, Verified::Mismatch);
        }
    }
}

#[test]
fn what_is_stored_is_computed_anew() {
    let stored = Fingerprint::of(&namespace(), &peer(3), &peer(4)).to_string();
    let check = |stored: Option<&str>, own: u8, other: u8| {
        Verified::check(stored, &namespace(), &peer(own), &peer(other))
    };
    assert_eq!(check(Some(&stored), 3, 4), Verified::Yes);
    assert_eq!(check(Some(&stored), 4, 3), Verified::Yes);
    assert_eq!(check(None, 3, 4), Verified::No);
    assert_eq!(
        check(Some(&stored), 3, 5),
        Verified::Mismatch,
        "the peer has another key"
    );
    let elsewhere = DhtNamespace::parse("other").unwrap();
    let moved = Verified::check(Some(&stored), &elsewhere, &peer(3), &peer(4));
    assert_eq!(moved, Verified::Mismatch);
    let upper = stored.to_ascii_uppercase();
    for tampered in [
        "",
        "yes",
        "sha256:",
        &stored[7..],
        &stored[..70],
        &format!("{stored}0"),
        &upper,
    ] {
        assert_eq!(
            check(Some(tampered), 3, 4),
            Verified::Mismatch,
            "{tampered}"
        );
    }
    for at in 7..stored.len() {
        let mut other = stored.clone().into_bytes();
        other[at] = if other[at] == b'0' { b'1' } else { b'0' };
        let other = String::from_utf8(other).unwrap();
        assert_eq!(check(Some(&other), 3, 4), Verified::Mismatch, "{other}");
    }
    let shown = [Verified::Yes, Verified::No, Verified::Mismatch].map(|v| v.to_string());
    assert_eq!(shown, ["[VERIFIED]", "[UNVERIFIED]", "[UNVERIFIED]"]);
}

#[test]
fn one_yes_is_not_enough() {
    use VerifyDecision::{Differs, Matches};
    for (here, there, expected) in [
        (Matches, Some(Matches), Comparison::Same),
        (Matches, Some(Differs), Comparison::RefusedThere),
        (Matches, None, Comparison::Unanswered),
        (Differs, Some(Matches), Comparison::RefusedHere),
        (Differs, Some(Differs), Comparison::RefusedHere),
        (Differs, None, Comparison::RefusedHere),
    ] {
        assert_eq!(Comparison::of(here, there), expected, "{here:?} {there:?}");
    }
}

#[test]
fn the_smaller_opens() {
    let (a, b) = (peer(3), peer(4));
    assert_ne!(gives_way(&a, &b), gives_way(&b, &a));
    let [low, high] = sorted(&a, &b).map(|bytes| PeerId::from_bytes(&bytes).unwrap());
    assert!(gives_way(&high, &low) && !gives_way(&low, &high));
}

#[test]
fn small_numbers_keep_their_zeros() {
    let okm = |n: u64| {
        let mut okm = [0; 16];
        okm[8..].copy_from_slice(&n.to_be_bytes());
        Sas::of(&okm)
    };
    assert_eq!(
        okm(7).to_string(),
        "balloon balloon balloon balloon 000-007"
    );
    assert_eq!(okm(12_012_345).digits(), "012-345");
}
