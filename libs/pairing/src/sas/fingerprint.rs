//! What is stored of a verification, and its long form for comparison offline.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use peerup_protocol::PeerId;
use peerup_protocol::id::DhtNamespace;
use peerup_protocol::wire::Writer;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{expand, sorted};

const PREFIX: &str = "sha256:";
/// Groups of five digits in the long form.
const GROUPS: u8 = 12;

/// Two peers of one network; the same whoever computes it. Shown as `sha256:` and
/// 64 hex digits.
///
/// It is no secret: it tells that a verification was of this network and these
/// two keys, not who wrote it down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of two peers, in either order.
    #[must_use]
    pub fn of(namespace: &DhtNamespace, one: &PeerId, other: &PeerId) -> Self {
        let [low, high] = sorted(one, other);
        let w = Writer::new().lp("peerup/1/fingerprint").lp(namespace);
        Self(Sha256::digest(w.lp(low).lp(high).into_vec()).into())
    }

    /// Sixty digits in twelve groups of five: all of it, for two people who cannot
    /// be online together.
    #[must_use]
    pub fn digits(&self) -> String {
        let groups: Vec<_> = (0..GROUPS).map(|group| self.group(group)).collect();
        groups.join(" ")
    }

    /// Whether somebody typed all sixty digits; white space and dashes do not matter.
    #[must_use]
    pub fn has_digits(&self, typed: &str) -> bool {
        let dense = |text: &str| -> Vec<u8> {
            let kept = text.chars().filter(|c| *c != '-' && !c.is_whitespace());
            // Longer than right is wrong, however long.
            kept.take(5 * usize::from(GROUPS) + 1)
                .map(|c| u8::try_from(c).unwrap_or_default())
                .collect()
        };
        dense(typed).ct_eq(&dense(&self.digits())).into()
    }

    fn group(&self, group: u8) -> String {
        let info = Writer::new().lp("peerup/1/digits").u8(group).into_vec();
        let number = u128::from_be_bytes(expand(&self.0, &info)) % 100_000;
        format!("{number:05}")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is sha256: and 64 lower-case hex digits")]
pub struct InvalidFingerprint;

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;
    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let digits = text.strip_prefix(PREFIX).ok_or(InvalidFingerprint)?;
        let bytes = HEXLOWER.decode(digits.as_bytes());
        let bytes = bytes.map_err(|_| InvalidFingerprint)?;
        bytes.try_into().map(Self).map_err(|_| InvalidFingerprint)
    }
}

/// Whether a peer is verified, by what is stored about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Two people have compared.
    Yes,
    /// Nothing is stored.
    No,
    /// What is stored is of other keys, of another network, or no fingerprint: as
    /// good as nothing, and worth a warning.
    Mismatch,
}

impl Verified {
    /// Computes the fingerprint anew and compares; to be done at each load.
    #[must_use]
    pub fn check(
        stored: Option<&str>,
        namespace: &DhtNamespace,
        own: &PeerId,
        other: &PeerId,
    ) -> Self {
        let Some(stored) = stored else {
            return Self::No;
        };
        match stored.parse::<Fingerprint>() {
            Ok(stored) if stored == Fingerprint::of(namespace, own, other) => Self::Yes,
            Ok(_) | Err(InvalidFingerprint) => Self::Mismatch,
        }
    }

    /// Whether services that want verification may be used.
    #[must_use]
    pub fn is_verified(self) -> bool {
        match self {
            Self::Yes => true,
            Self::No | Self::Mismatch => false,
        }
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_verified() {
            "[VERIFIED]"
        } else {
            "[UNVERIFIED]"
        })
    }
}
