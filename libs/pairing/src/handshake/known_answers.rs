//! Published known answers of the primitives, as this crate's versions compute them.

use hkdf::Hkdf;
use sha2::Sha256;

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// RFC 7748, 5.2: the first vector, and the second test's first iteration.
#[test]
fn x25519_known_answers() {
    let bytes = |text: &str| -> [u8; 32] { hex(text).try_into().unwrap() };
    let scalar = bytes("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    let u = bytes("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    let out = bytes("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
    assert_eq!(x25519_dalek::x25519(scalar, u), out);
    let nine = bytes("0900000000000000000000000000000000000000000000000000000000000000");
    let once = bytes("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    assert_eq!(x25519_dalek::x25519(nine, nine), once);
}

/// RFC 5869, A.1.
#[test]
fn hkdf_known_answer() {
    let (salt, info) = (
        hex("000102030405060708090a0b0c"),
        hex("f0f1f2f3f4f5f6f7f8f9"),
    );
    let mut okm = [0; 42];
    Hkdf::<Sha256>::new(Some(&salt), &[0x0b; 22])
        .expand(&info, &mut okm)
        .unwrap();
    let expected =
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    assert_eq!(okm.to_vec(), hex(expected));
}

/// draft-irtf-cfrg-xchacha-03, A.3.1: key, nonce, first block and tag.
#[test]
fn xchacha_known_answer() {
    use chacha20poly1305::aead::{Aead, Payload};
    use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
    let key: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
    let nonce: [u8; 24] = std::array::from_fn(|i| 0x40 + i as u8);
    let aad = hex("50515253c0c1c2c3c4c5c6c7");
    let msg = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    let sealed = XChaCha20Poly1305::new(&Key::from(key))
        .encrypt(&XNonce::from(nonce), Payload { msg, aad: &aad })
        .unwrap();
    assert_eq!(sealed[..16], hex("bd6d179d3e83d43b9576579493c0e939"));
    assert_eq!(
        sealed[sealed.len() - 16..],
        hex("c0875924c1c7987947deafd8780acf49")
    );
}
