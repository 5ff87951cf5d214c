//! Reports of peers outside the cluster.

use crate::UnixTime;
use crate::report::MAX_REPORT;
use crate::wire::{DecodeError, Reader, Writer};

/// A report of a peer outside the cluster, on `report`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFrame {
    /// When it was made; must grow.
    pub time: UnixTime,
    /// The report, the exact bytes that are signed.
    pub json: Vec<u8>,
    /// The peer's signature over [`crate::message::report`].
    pub signature: [u8; 64],
}

impl ReportFrame {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new()
            .u64(self.time)
            .lp(&self.json)
            .lp(self.signature)
            .into_vec()
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let frame = Self {
            time: r.u64()?,
            json: r.lp(MAX_REPORT)?.to_vec(),
            signature: r.signature()?,
        };
        r.finish()?;
        Ok(frame)
    }
}
