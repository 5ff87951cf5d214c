//! Records that the network key signs, and grants that a member's identity signs. The bytes travel verbatim; who reads one
//! checks the signature over exactly what came.

mod guest;
mod member;
mod network;
mod revocations;
#[cfg(test)]
mod tests;

pub use guest::{GuestGrant, MAX_GUEST_SECONDS, MAX_GUESTS};
pub use member::{MAX_SUBJECT, MemberRecord, Method};
pub use network::{
    Flags, MAX_ACCESS_RULE, MAX_ACCESS_RULES, MAX_CLUSTER, MAX_RELAY_ADDRESSES, MAX_RELAYS,
    NetworkDocument, Relay, STALE_SECONDS, relays_of,
};
pub use revocations::{MAX_REVOCATIONS, Revocations};

use serde::{Deserialize, Serialize};

use crate::message::{self, BadSignature};
use crate::{SigningKey, VerifyingKey};

/// Bytes with a signature over them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// What was signed, as it travels.
    #[serde(with = "crate::base64")]
    pub bytes: Vec<u8>,
    /// The Ed25519 signature.
    #[serde(with = "crate::base64")]
    pub signature: [u8; 64],
}

impl Signed {
    /// Signs the bytes; the same key and bytes always give the same signature.
    #[must_use]
    pub fn sign(key: &SigningKey, bytes: Vec<u8>) -> Self {
        let signature = message::sign(key, &bytes);
        Self { bytes, signature }
    }

    /// Checks the signature strictly.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), BadSignature> {
        message::verify(key, &self.bytes, &self.signature)
    }
}

/// What kind of record these bytes claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A [`MemberRecord`].
    Member,
    /// A [`GuestGrant`].
    Guest,
    /// A [`Revocations`] list.
    Revocations,
    /// A [`NetworkDocument`].
    Network,
}

impl RecordKind {
    /// Looks at the label only.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let is = |label| crate::wire::Reader::new(bytes).label(label).is_ok();
        if is(member::LABEL) {
            Some(Self::Member)
        } else if is(guest::LABEL) {
            Some(Self::Guest)
        } else if is(revocations::LABEL) {
            Some(Self::Revocations)
        } else if is(network::LABEL) {
            Some(Self::Network)
        } else {
            None
        }
    }
}
