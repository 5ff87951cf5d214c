//! Services: their names, what a peer exposes, what it forwards, and the byte
//! that a destination answers.
//!
//! ```text
//! expose    http=8080            ssh=127.0.0.1:22
//! forward   9000=http@web        9000=http@shop/web
//! ```
//!
//! Several stand in one text, separated by commas; white space around an entry
//! does not matter.

mod error;
mod expose;
mod forward;
mod list;
mod target;
#[cfg(test)]
mod tests;

pub use crate::id::{KubeNamespace, ServiceName};
pub use error::ServiceError;
pub use expose::{Expose, Host};
pub use forward::Forward;
pub use list::{MAX_ENTRIES, MAX_LIST_TEXT, list_text};
pub use target::{AccountName, Target};

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::grade::words;
use crate::wire::DecodeError;

words! {
    /// The first byte of a service's stream, from the destination; as a word, the
    /// result in metrics.
    ServiceAnswer {
        /// 0: bytes follow, both ways.
        Accepted = "accepted",
        /// 1: the destination's rules do not let this peer in.
        NotAllowed = "not_allowed",
        /// 2: the destination exposes no such service.
        NoSuchService = "no_such_service",
        /// 3: the program behind the service does not answer.
        Unavailable = "unavailable",
        /// 4: the destination carries as many streams as it may.
        Busy = "busy",
        /// 5: the network wants the two peers to have verified each other.
        VerificationRequired = "verification_required",
        /// 6: the destination has not heard of revocations for too long, and the network wants it to.
        StaleRevocations = "stale_revocations",
    }
}

impl ServiceAnswer {
    /// The byte on the stream; it stands there alone, not in a frame.
    #[must_use]
    pub fn as_u8(self) -> u8 {
        self as u8
    }

    /// What it means to the person whose connection was answered so.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NotAllowed => "this peer is not allowed to use the service",
            Self::NoSuchService => "the peer exposes no service of this name",
            Self::Unavailable => "the program behind the service does not answer",
            Self::Busy => "the peer carries as many connections as it may; try again later",
            Self::VerificationRequired => {
                "the network allows services between verified peers only; run peerup verify"
            }
            Self::StaleRevocations => {
                "no news of revocations for 15 minutes, and the network allows no services without (peers.staleRevocations); see whether its operator runs"
            }
        }
    }
}

impl TryFrom<u8> for ServiceAnswer {
    type Error = DecodeError;
    fn try_from(value: u8) -> Result<Self, DecodeError> {
        Self::ALL
            .get(usize::from(value))
            .copied()
            .ok_or_else(|| DecodeError::unknown("service answer", value))
    }
}
