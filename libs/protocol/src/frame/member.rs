//! The exchange of records, by which two peers recognise each other.

use super::{MAX_RECORD, read_signed, write_signed};
use crate::UnixTime;
use crate::record::Signed;
use crate::wire::{DecodeError, Reader, Writer};

/// First frame of both sides on `member`: who I am, and which revocations I know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberHello {
    /// A member record, a guest grant, or a relay's network document.
    pub credential: Signed,
    /// Epoch of the sender's revocation list.
    pub epoch: u64,
    /// When the sender's revocation list was signed.
    pub issued: UnixTime,
}

impl MemberHello {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        write_signed(Writer::new(), &self.credential)
            .u64(self.epoch)
            .u64(self.issued)
            .into_vec()
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let hello = Self {
            credential: read_signed(&mut r, MAX_RECORD)?,
            epoch: r.u64()?,
            issued: r.u64()?,
        };
        r.finish()?;
        Ok(hello)
    }
}

/// Second frame of the side that knows the newer revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberLists {
    /// The list.
    pub revocations: Signed,
}

impl MemberLists {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        write_signed(Writer::new(), &self.revocations).into_vec()
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let lists = Self {
            revocations: read_signed(&mut r, MAX_RECORD)?,
        };
        r.finish()?;
        Ok(lists)
    }
}
