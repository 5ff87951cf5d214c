//! Verification by emoji: commit, then reveal, then what each person said.

use super::exactly;
use crate::wire::DecodeError;

/// First frame, of the side that opened: it is bound to a nonce that it does not show yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyCommit(pub [u8; 32]);

/// Second and third frame: the nonce of the other side, then that of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyNonce(pub [u8; 32]);

one_byte! {
    "decision",
    /// Last frame of both sides: what the person in front of it said.
    VerifyDecision {
        /// The strings differ, or nobody looked at them.
        Differs = 0,
        /// Both see the same.
        Matches = 1,
    }
}

impl VerifyCommit {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        exactly(bytes).map(Self)
    }
}

impl VerifyNonce {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        exactly(bytes).map(Self)
    }
}
