//! Transcript, key schedule, sealing, padding: what both sides compute alike.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use peerup_protocol::wire::Writer;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{Context, Failure, Reason, SUITE};

/// Bytes of a message after padding.
pub(super) const PADDED_LENGTH: usize = 1024;
/// Bytes of a padded message after sealing.
pub(super) const SEALED_LENGTH: usize = PADDED_LENGTH + 16;

/// HKDF output: k_JR ‖ k_RJ ‖ c_J ‖ c_R ‖ exporter.
const OKM_LENGTH: usize = 160;

/// Which way a sealed message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToResponder,
    ToJoiner,
}

/// Who confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Joiner,
    Responder,
}

/// The keys of one handshake.
pub(super) struct Keys(Zeroizing<[u8; OKM_LENGTH]>);

impl Keys {
    /// Agrees on keys; refuses an echo of our own key and keys of small order.
    pub(super) fn agree(
        own: &StaticSecret,
        theirs: &[u8; 32],
        salt: &[u8],
        th1: &[u8; 32],
    ) -> Result<Self, Failure> {
        if PublicKey::from(own).as_bytes() == theirs {
            return Err(Reason::OwnKey.into());
        }
        let shared = own.diffie_hellman(&PublicKey::from(*theirs));
        if !shared.was_contributory() {
            return Err(Reason::NonContributory.into());
        }
        Ok(Self(expand(salt, shared.as_bytes(), th1)))
    }

    /// HMAC over role and transcript.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    pub(super) fn confirm(&self, role: Role, transcript: &[u8; 32]) -> [u8; 32] {
        let (key, label) = match role {
            Role::Joiner => (&self.0[64..96], b"joiner".as_slice()),
            Role::Responder => (&self.0[96..128], b"responder".as_slice()),
        };
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any key length");
        mac.update(label);
        mac.update(transcript);
        mac.finalize().into_bytes().into()
    }

    /// Checks the other side's confirmation in constant time.
    pub(super) fn check(
        &self,
        role: Role,
        transcript: &[u8; 32],
        mac: &[u8; 32],
    ) -> Result<(), Failure> {
        if self.confirm(role, transcript).ct_eq(mac).into() {
            Ok(())
        } else {
            Err(Reason::BadMac.into())
        }
    }

    /// Pads and seals.
    pub(super) fn seal(
        &self,
        direction: Direction,
        counter: u64,
        transcript: &[u8; 32],
        plain: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let padded = pad(plain)?;
        let payload = Payload {
            msg: padded.as_slice(),
            aad: transcript,
        };
        let sealed = self.cipher(direction).encrypt(&nonce(counter), payload);
        sealed.map_err(|_| Reason::TooLong.into())
    }

    /// Opens and takes the padding off.
    pub(super) fn open(
        &self,
        direction: Direction,
        counter: u64,
        transcript: &[u8; 32],
        sealed: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let payload = Payload {
            msg: sealed,
            aad: transcript,
        };
        let padded = self.cipher(direction).decrypt(&nonce(counter), payload);
        unpad(&Zeroizing::new(padded.map_err(|_| Reason::BadSeal)?))
    }

    fn cipher(&self, direction: Direction) -> XChaCha20Poly1305 {
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(match direction {
            Direction::ToResponder => &self.0[..32],
            Direction::ToJoiner => &self.0[32..64],
        });
        XChaCha20Poly1305::new(&Key::from(*key))
    }

    #[cfg(test)]
    pub(super) fn okm(&self) -> &[u8] {
        self.0.as_slice()
    }
}

#[expect(
    clippy::expect_used,
    reason = "160 bytes are far below 255 blocks of SHA-256"
)]
fn expand(salt: &[u8], shared: &[u8; 32], th1: &[u8; 32]) -> Zeroizing<[u8; OKM_LENGTH]> {
    let info = Writer::new().lp("peerup/1/keys").bytes(th1).into_vec();
    let mut okm = Zeroizing::new([0; OKM_LENGTH]);
    let hkdf = Hkdf::<Sha256>::new(Some(salt), shared);
    hkdf.expand(&info, okm.as_mut()).expect("length is valid");
    okm
}

/// Everything before the keys.
pub(super) fn transcript_1(
    context: &Context,
    joiner_key: &[u8; 32],
    responder_key: &[u8; 32],
) -> [u8; 32] {
    let w = Writer::new()
        .lp("peerup/1/handshake")
        .u8(SUITE)
        .u8(context.kind.as_u8());
    let w = w
        .bytes(context.net.0)
        .lp(&context.namespace)
        .bytes(context.group.0)
        .u16(context.slot.0);
    let w = w
        .lp(context.responder.to_bytes())
        .lp(context.joiner.to_bytes());
    Sha256::digest(w.lp(joiner_key).lp(responder_key).into_vec()).into()
}

/// Everything up to M3.
pub(super) fn transcript_2(th1: &[u8; 32], m3: &[u8]) -> [u8; 32] {
    Sha256::digest(
        Writer::new()
            .lp("peerup/1/th2")
            .bytes(th1)
            .lp(m3)
            .into_vec(),
    )
    .into()
}

/// 16 zero bytes ‖ counter.
fn nonce(counter: u64) -> XNonce {
    let mut nonce = [0; 24];
    nonce[16..].copy_from_slice(&counter.to_be_bytes());
    XNonce::from(nonce)
}

/// `u16 length ‖ plain ‖ zeros`, always the same length.
pub(super) fn pad(plain: &[u8]) -> Result<Zeroizing<[u8; PADDED_LENGTH]>, Failure> {
    let length = u16::try_from(plain.len()).map_err(|_| Reason::TooLong)?;
    let mut padded = Zeroizing::new([0; PADDED_LENGTH]);
    padded[..2].copy_from_slice(&length.to_be_bytes());
    padded
        .get_mut(2..2 + plain.len())
        .ok_or(Reason::TooLong)?
        .copy_from_slice(plain);
    Ok(padded)
}

/// What [`pad`] was given.
pub(super) fn unpad(padded: &[u8]) -> Result<Vec<u8>, Failure> {
    let (length, rest) = padded.split_first_chunk().ok_or(Reason::Malformed)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (plain, zeros) = rest.split_at_checked(length).ok_or(Reason::Malformed)?;
    if padded.len() != PADDED_LENGTH || zeros.iter().any(|byte| *byte != 0) {
        return Err(Reason::Malformed.into());
    }
    Ok(plain.to_vec())
}
