//! Verification by a short string that two people compare, sans I/O, both sides.
//! Each step consumes the former.
//!
//! ```text
//! A  start ─commit→           on_nonce ─nonce→ string
//! B        on_commit ─nonce→                   on_reveal → string
//! ```
//!
//! A is bound to its nonce before it sees B's, and B answers before it sees A's:
//! neither can look for a nonce that makes a wanted string. Somebody in the
//! middle has one try in 2^44, and each try is a person that says no.

mod emoji;
mod fingerprint;
#[cfg(test)]
mod tests;

pub use emoji::Emoji;
pub use fingerprint::{Fingerprint, InvalidFingerprint, Verified};

use std::fmt;

use hkdf::Hkdf;
use peerup_protocol::PeerId;
use peerup_protocol::frame::{VerifyCommit, VerifyDecision, VerifyNonce};
use peerup_protocol::id::DhtNamespace;
use peerup_protocol::secret::Secret;
use peerup_protocol::wire::Writer;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The network and the two ends of the stream, as its connection proves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// The network's name on the wire.
    pub namespace: DhtNamespace,
    /// A: who opened the stream.
    pub opener: PeerId,
    /// B: who answers.
    pub answerer: PeerId,
}

impl Ends {
    fn commit(&self, nonce: &[u8; 32]) -> [u8; 32] {
        let w = Writer::with_capacity(160).lp("peerup/1/sas-commit");
        let w = w.lp(self.opener.to_bytes()).lp(self.answerer.to_bytes());
        let input = Zeroizing::new(w.bytes(nonce).into_vec());
        Sha256::digest(input.as_slice()).into()
    }

    fn sas(&self, opener: &[u8; 32], answerer: &[u8; 32]) -> Sas {
        let ikm = Zeroizing::new([*opener, *answerer].concat());
        let w = Writer::new().lp("peerup/1/sas").lp(&self.namespace);
        let [low, high] = sorted(&self.opener, &self.answerer);
        Sas::of(&expand(&ikm, &w.lp(low).lp(high).into_vec()))
    }
}

/// Whether our stream is given up when both sides have opened one: the smaller PeerId is A.
#[must_use]
pub fn gives_way(own: &PeerId, remote: &PeerId) -> bool {
    own.to_bytes() > remote.to_bytes()
}

/// A, bound to its nonce; waits for B's.
pub struct Opener {
    ends: Ends,
    nonce: Secret<32>,
}

/// B, which has shown its nonce; waits for A's.
pub struct Answerer {
    ends: Ends,
    commit: [u8; 32],
    nonce: [u8; 32],
}

/// The other side broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side did not show what it was bound to; somebody may be in the middle")]
pub struct Dishonest;

impl Opener {
    /// Starts. The nonce is 32 random bytes that are never used again.
    #[must_use]
    pub fn start(ends: Ends, nonce: Secret<32>) -> (Self, VerifyCommit) {
        let commit = VerifyCommit(ends.commit(nonce.expose()));
        (Self { ends, nonce }, commit)
    }

    /// Takes B's nonce, gives A's and what the person should see.
    #[must_use]
    pub fn on_nonce(self, theirs: VerifyNonce) -> (VerifyNonce, Sas) {
        let own = *self.nonce.expose();
        (VerifyNonce(own), self.ends.sas(&own, &theirs.0))
    }
}

impl Answerer {
    /// Takes A's commitment, gives B's nonce: 32 random bytes that are never used again.
    #[must_use]
    pub fn on_commit(ends: Ends, commit: VerifyCommit, nonce: &Secret<32>) -> (Self, VerifyNonce) {
        let (commit, nonce) = (commit.0, *nonce.expose());
        let waiting = Self {
            ends,
            commit,
            nonce,
        };
        (waiting, VerifyNonce(nonce))
    }

    /// Takes A's nonce, gives what the person should see.
    pub fn on_reveal(self, theirs: VerifyNonce) -> Result<Sas, Dishonest> {
        if self.ends.commit(&theirs.0).ct_eq(&self.commit).into() {
            Ok(self.ends.sas(&theirs.0, &self.nonce))
        } else {
            Err(Dishonest)
        }
    }
}

/// The short string: four pictures and six digits. Shown as `sailboat moon guitar
/// dolphin 500-305`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sas {
    emoji: [Emoji; 4],
    digits: u32,
}

impl Sas {
    fn of(okm: &[u8; 16]) -> Self {
        let bits = u32::from_be_bytes([0, okm[0], okm[1], okm[2]]);
        let emoji = [18, 12, 6, 0].map(|shift| Emoji::of((bits >> shift) as u8 & 63));
        let [.., a, b, c, d, e, f, g, h] = *okm;
        let digits = (u64::from_be_bytes([a, b, c, d, e, f, g, h]) % 1_000_000) as u32;
        Self { emoji, digits }
    }

    /// The pictures, in order.
    #[must_use]
    pub fn emoji(&self) -> [Emoji; 4] {
        self.emoji
    }

    /// `500-305`.
    #[must_use]
    pub fn digits(&self) -> String {
        format!("{:03}-{:03}", self.digits / 1000, self.digits % 1000)
    }
}

impl fmt::Display for Sas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for emoji in self.emoji {
            write!(f, "{} ", emoji.name)?;
        }
        f.write_str(&self.digits())
    }
}

/// How a comparison ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Both persons see the same: the fingerprint may be stored.
    Same,
    /// The person here says that the strings differ, or nothing.
    RefusedHere,
    /// The person there does.
    RefusedThere,
    /// Nothing came from there; a yes of one side alone is not kept.
    Unanswered,
}

impl Comparison {
    /// From what was said here and there; nothing when the other side did not answer in time.
    #[must_use]
    pub fn of(here: VerifyDecision, there: Option<VerifyDecision>) -> Self {
        match (here, there) {
            (VerifyDecision::Differs, _) => Self::RefusedHere,
            (VerifyDecision::Matches, Some(VerifyDecision::Differs)) => Self::RefusedThere,
            (VerifyDecision::Matches, Some(VerifyDecision::Matches)) => Self::Same,
            (VerifyDecision::Matches, None) => Self::Unanswered,
        }
    }
}

/// The bytes of both PeerIds, the smaller first.
fn sorted(a: &PeerId, b: &PeerId) -> [Vec<u8>; 2] {
    let mut both = [a.to_bytes(), b.to_bytes()];
    both.sort();
    both
}

/// HKDF-SHA256 without a salt, 16 bytes.
#[expect(clippy::expect_used, reason = "16 bytes are one block of SHA-256")]
fn expand(ikm: &[u8], info: &[u8]) -> [u8; 16] {
    let mut okm = [0; 16];
    Hkdf::<Sha256>::new(None, ikm)
        .expand(info, &mut okm)
        .expect("length is valid");
    okm
}
