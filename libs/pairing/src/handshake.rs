//! The handshake, sans I/O, both sides. Each step consumes the former, so that
//! no key is used twice and no step is left out.
//!
//! ```text
//! joiner     start ─M1→          on_m2 ─M3→            on_m4 ─M5→
//! responder        on_m1 ─M2→          on_m3 · accept ─M4→     on_m5
//! ```
//!
//! X25519 of two ephemeral keys, HKDF-SHA256 with a salt that only holders of
//! the code (or of its hash) know, HMAC confirmation of the transcript, then
//! XChaCha20-Poly1305 over padded messages. Both PeerIds are in the transcript.

mod joiner;
mod keys;
#[cfg(test)]
mod known_answers;
mod responder;
#[cfg(test)]
mod tests;

pub use joiner::{Joiner, JoinerWaiting, Outcome};
pub use responder::{M1, Responder, ResponderAnswering, ResponderDone};

use std::fmt;

use peerup_protocol::PeerId;
use peerup_protocol::api::RefusalReason;
use peerup_protocol::code::HandshakeKind;
use peerup_protocol::id::{DhtNamespace, GroupId, NetworkId, Slot};

/// Bytes of M1.
pub const M1_LENGTH: usize = 64;
/// Bytes of M2.
pub const M2_LENGTH: usize = 32;
/// Bytes of M3 and of M4: MAC, sealed padding, tag.
pub const M3_LENGTH: usize = 32 + keys::SEALED_LENGTH;
/// Bytes of M4.
pub const M4_LENGTH: usize = M3_LENGTH;
/// Bytes of M5.
pub const M5_LENGTH: usize = keys::SEALED_LENGTH;
/// Most bytes of a request or response, so that it fits the padding.
pub const MAX_PLAIN: usize = keys::PADDED_LENGTH - 2;

/// Version and suite: there is one of each, so nothing can be downgraded.
const VERSION: u8 = 1;
const SUITE: u8 = 1;

/// What both sides must agree on; all of it is in the transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Which handshake.
    pub kind: HandshakeKind,
    /// The network.
    pub net: NetworkId,
    /// Its name on the wire.
    pub namespace: DhtNamespace,
    /// The code's group.
    pub group: GroupId,
    /// The code's slot.
    pub slot: Slot,
    /// Who answers, as the stream's connection proves.
    pub responder: PeerId,
    /// Who joins, as the stream's connection proves.
    pub joiner: PeerId,
}

/// Pairing failed. All that a person or the other side learns; the reason is
/// for the responder's metric and the operator.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("pairing failed")]
pub struct Failure(Reason);

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Wrong length, version, suite, kind or padding.
    Malformed,
    /// The other side echoed our own key.
    OwnKey,
    /// The other side's key forces the shared secret.
    NonContributory,
    /// The other side does not know the salt, or sees another transcript.
    BadMac,
    /// The MAC was right, the sealed message is not.
    BadSeal,
    /// Request or response does not fit the padding.
    TooLong,
}

impl Failure {
    /// The reason, for metrics.
    #[must_use]
    pub fn reason(self) -> Reason {
        self.0
    }

    /// What is told to the operator. Only [`RefusalReason::BadMac`] counts against a group.
    #[must_use]
    pub fn refusal(self) -> RefusalReason {
        match self.0 {
            Reason::BadMac => RefusalReason::BadMac,
            Reason::Malformed
            | Reason::OwnKey
            | Reason::NonContributory
            | Reason::BadSeal
            | Reason::TooLong => RefusalReason::Malformed,
        }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self(reason)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({:?})", self.0)
    }
}
