//! Everything that follows from a secret: hashes, keys, derived codes.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::id::{GroupId, NetworkId, Slot};
use crate::secret::{CodeSecret, NetworkSeed, Secret};
use crate::wire::Writer;
use crate::{PeerId, SigningKey, UnixTime};

/// Seconds of one attest window.
pub const ATTEST_WINDOW_SECONDS: u64 = 60;

/// The group of a PairingCode, from its UID (36 ASCII characters).
#[must_use]
pub fn group_of(seed: &NetworkSeed, net: &NetworkId, uid: &str) -> GroupId {
    let info = Writer::new().bytes(net.0).lp(uid).into_vec();
    GroupId(*expand(b"peerup/1/pairing-group", seed.expose(), &info))
}

/// The secret of one slot of a PairingCode.
#[must_use]
pub fn slot_secret(seed: &NetworkSeed, net: &NetworkId, uid: &str, slot: Slot) -> CodeSecret {
    let info = Writer::new().bytes(net.0).lp(uid).u16(slot.0).into_vec();
    CodeSecret::new(*expand(b"peerup/1/pairing-code", seed.expose(), &info))
}

/// What relays and objects hold instead of a code's secret; the handshake's salt.
#[must_use]
pub fn code_hash(net: &NetworkId, group: &GroupId, slot: Slot, secret: &CodeSecret) -> [u8; 32] {
    let head = Writer::with_capacity(128)
        .lp("peerup/1/code-hash")
        .bytes(net.0)
        .bytes(group.0)
        .u16(slot.0);
    let input = Zeroizing::new(head.lp(secret.expose()).into_vec());
    Sha256::digest(input.as_slice()).into()
}

/// The key with which the holder of a code proves it to the operator.
#[must_use]
pub fn code_key(net: &NetworkId, group: &GroupId, slot: Slot, secret: &CodeSecret) -> SigningKey {
    let info = Writer::new()
        .bytes(net.0)
        .bytes(group.0)
        .u16(slot.0)
        .into_vec();
    SigningKey::from_bytes(&expand(b"peerup/1/code-key", secret.expose(), &info))
}

/// The attest window of a time.
#[must_use]
pub fn attest_window(now: UnixTime) -> u64 {
    now / ATTEST_WINDOW_SECONDS
}

/// When the code of a window ends.
#[must_use]
pub fn attest_not_after(window: u64) -> UnixTime {
    window
        .saturating_add(2)
        .saturating_mul(ATTEST_WINDOW_SECONDS)
}

/// Group and secret of the code that an attested pod gets in a window; slot is [`Slot::ATTESTED`].
#[must_use]
pub fn attested(
    seed: &NetworkSeed,
    net: &NetworkId,
    peer: &PeerId,
    window: u64,
) -> (GroupId, CodeSecret) {
    let key = attest_key(seed, net);
    let tail = Writer::new().lp(peer.to_bytes()).u64(window).into_vec();
    let group = first(&mac(&key, b"group", &tail));
    let secret = first(&mac(&key, b"secret", &tail));
    (GroupId(group), CodeSecret::new(secret))
}

/// Seed of a relay's identity, so that its PeerId is known before it runs.
#[must_use]
pub fn relay_seed(seed: &NetworkSeed, net: &NetworkId, ordinal: u8) -> Secret<32> {
    let info = Writer::new().bytes(net.0).u8(ordinal).into_vec();
    Secret::new(*expand(b"peerup/1/relay-key", seed.expose(), &info))
}

pub(crate) fn attest_key(seed: &NetworkSeed, net: &NetworkId) -> Zeroizing<[u8; 32]> {
    expand(b"peerup/1/attest-key", seed.expose(), &net.0)
}

/// HKDF-SHA256 (RFC 5869).
#[expect(clippy::expect_used, reason = "N is far below 255 blocks of SHA-256")]
fn expand<const N: usize>(salt: &[u8], ikm: &[u8], info: &[u8]) -> Zeroizing<[u8; N]> {
    let mut okm = Zeroizing::new([0; N]);
    Hkdf::<Sha256>::new(Some(salt), ikm)
        .expand(info, okm.as_mut())
        .expect("length is valid");
    okm
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
fn mac(key: &[u8; 32], role: &[u8], tail: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key length");
    mac.update(role);
    mac.update(tail);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn first<const N: usize>(bytes: &[u8; 32]) -> [u8; N] {
    let mut head = [0; N];
    head.copy_from_slice(&bytes[..N]);
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::peer_id;

    fn peer(byte: u8) -> PeerId {
        peer_id(&SigningKey::from_bytes(&[byte; 32]).verifying_key())
    }

    #[test]
    fn everything_that_goes_in_matters() {
        let (a, b) = (NetworkSeed::new([1; 32]), NetworkSeed::new([2; 32]));
        let (n, m) = (NetworkId([1; 16]), NetworkId([2; 16]));
        let of = |seed, net, who: u8, window| attested(seed, net, &peer(who), window);
        let base = of(&a, &n, 3, 7);
        for other in [
            of(&b, &n, 3, 7),
            of(&a, &m, 3, 7),
            of(&a, &n, 4, 7),
            of(&a, &n, 3, 8),
        ] {
            assert!(other.0 != base.0 && other.1 != base.1);
        }
        assert_ne!(
            slot_secret(&a, &n, "u", Slot(1)),
            slot_secret(&a, &n, "u", Slot(2))
        );
        assert_ne!(
            slot_secret(&a, &n, "u", Slot(1)),
            slot_secret(&a, &n, "v", Slot(1))
        );
        assert_ne!(group_of(&a, &n, "u"), group_of(&a, &m, "u"));
        assert_ne!(relay_seed(&a, &n, 0), relay_seed(&a, &n, 1));
    }

    #[test]
    fn windows_are_minutes() {
        assert_eq!(
            [attest_window(0), attest_window(59), attest_window(60)],
            [0, 0, 1]
        );
        assert_eq!(attest_not_after(1), 180);
        assert_eq!(attest_not_after(u64::MAX), u64::MAX);
    }
}
