//! How the other side sees a connection.

use crate::Multiaddr;
use crate::wire::{DecodeError, MAX_ADDRESS, Reader, Writer, address_from_bytes};

/// The only frame on `trace`, from the side that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceAnswer {
    /// Whether the stream comes over a relay.
    pub relayed: bool,
    /// The asker's address as the other side sees it, at most [`MAX_ADDRESS`] bytes;
    /// of a relayed connection, the circuit.
    pub observed: Multiaddr,
}

impl TraceAnswer {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new()
            .u8(u8::from(self.relayed))
            .lp(&self.observed)
            .into_vec()
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let relayed = match r.u8()? {
            0 => false,
            1 => true,
            other => return Err(DecodeError::unknown("path", other)),
        };
        let observed = address_from_bytes(r.lp(MAX_ADDRESS)?)?;
        r.finish()?;
        Ok(Self { relayed, observed })
    }
}
