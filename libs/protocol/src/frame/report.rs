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

/// What a relay answers when the operator has the report: the network's periods, in seconds. Nobody has signed them,
/// so a peer outside the cluster takes nothing else of its network's settings from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportPeriods {
    /// Between two measurements.
    pub probe: u32,
    /// Between two reports.
    pub report: u32,
    /// How long silence lasts before a peer is offline.
    pub offline_after: u32,
    /// How long a worse grade must last before it is reported.
    pub stabilization: u32,
}

impl ReportPeriods {
    /// The frame's body.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        Writer::new()
            .u32(self.probe)
            .u32(self.report)
            .u32(self.offline_after)
            .u32(self.stabilization)
            .into_vec()
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let periods = Self {
            probe: r.u32()?,
            report: r.u32()?,
            offline_after: r.u32()?,
            stabilization: r.u32()?,
        };
        r.finish()?;
        Ok(periods)
    }
}
