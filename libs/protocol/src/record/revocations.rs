//! The list of memberships that ended early.

use std::collections::BTreeSet;

use crate::UnixTime;
use crate::id::{NetworkId, Serial};
use crate::wire::{DecodeError, Reader, Writer};

/// Most serials in a list.
pub const MAX_REVOCATIONS: usize = 4096;

pub(super) const LABEL: &str = "peerup/1/revoked";

/// Serials that are no longer members. `(epoch, issued)` orders lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocations {
    /// The network.
    pub net: NetworkId,
    /// Grows with every change of the list.
    pub epoch: u64,
    /// When it was signed; grows also without a change, so that silence is visible.
    pub issued: UnixTime,
    /// At most [`MAX_REVOCATIONS`]; whoever builds the list holds that.
    pub serials: BTreeSet<Serial>,
}

impl Revocations {
    /// The bytes to sign.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.serials.len()).unwrap_or(u32::MAX);
        let w = Writer::new()
            .lp(LABEL)
            .bytes(self.net.0)
            .u64(self.epoch)
            .u64(self.issued)
            .u32(count);
        self.serials
            .iter()
            .fold(w, |w, serial| w.u64(serial.0))
            .into_vec()
    }

    /// Reads a list; nothing is verified here.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        r.label(LABEL)?;
        let (net, epoch, issued) = (NetworkId(r.array()?), r.u64()?, r.u64()?);
        let count = r.u32()? as usize;
        if count > MAX_REVOCATIONS {
            return Err(DecodeError::TooLong {
                max: MAX_REVOCATIONS,
                got: count,
            });
        }
        let mut serials = BTreeSet::new();
        for _ in 0..count {
            let serial = Serial(r.u64()?);
            if serials.last().is_some_and(|last| *last >= serial) {
                return Err(DecodeError::invalid("revoked serials", "ascend"));
            }
            serials.insert(serial);
        }
        r.finish()?;
        Ok(Self {
            net,
            epoch,
            issued,
            serials,
        })
    }

    /// What orders lists: the greater is the newer.
    #[must_use]
    pub fn version(&self) -> (u64, UnixTime) {
        (self.epoch, self.issued)
    }

    /// Whether this membership is revoked.
    #[must_use]
    pub fn contains(&self, serial: Serial) -> bool {
        self.serials.contains(&serial)
    }
}
