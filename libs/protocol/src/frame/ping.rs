//! Echoes between peers.

use crate::wire::{DecodeError, Reader, Writer};

/// A number on `ping`; the other side sends the same frame back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping(pub u64);

impl Ping {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new().u64(self.0).into_vec()
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let ping = Self(r.u64()?);
        r.finish()?;
        Ok(ping)
    }
}
