//! Filtering probes.

use crate::wire::{DecodeError, Reader, Writer};

/// Which of a relay's STUN ports sends the nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeFrom {
    /// The one that the peer has spoken to.
    MainPort = 0,
    /// The other one.
    OtherPort = 1,
}

/// A wish on `probe`: send this nonce to my address, at this port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeAsk {
    /// What to send.
    pub nonce: [u8; 16],
    /// The peer's observed UDP port.
    pub port: u16,
    /// From where.
    pub from: ProbeFrom,
}

impl ProbeAsk {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new()
            .bytes(self.nonce)
            .u16(self.port)
            .u8(self.from as u8)
            .into_vec()
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let (nonce, port) = (r.array()?, r.u16()?);
        let from = match r.u8()? {
            0 => ProbeFrom::MainPort,
            1 => ProbeFrom::OtherPort,
            other => return Err(DecodeError::unknown("probe port", other)),
        };
        r.finish()?;
        Ok(Self { nonce, port, from })
    }
}

one_byte! {
    "probe answer",
    /// What the relay says to a [`ProbeAsk`].
    ProbeAnswer {
        /// The nonce is on its way.
        Sent = 0,
        /// This relay's address is not what the peer would see.
        Untestable = 1,
        /// Asked too often.
        Limited = 2,
    }
}
