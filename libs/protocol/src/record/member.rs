//! The membership of one peer.

use crate::id::{NetworkId, PeerName, Serial};
use crate::wire::{DecodeError, Reader, Writer};
use crate::{PeerId, UnixTime};

/// Longest subject in bytes.
pub const MAX_SUBJECT: usize = 253;

pub(super) const LABEL: &str = "peerup/1/member";

/// How a member got in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// By a code that a person held.
    Code = 1,
    /// Attested by this cluster's API server.
    Attested = 2,
    /// Vouched for by another cluster's operator.
    Voucher = 3,
}

impl TryFrom<u8> for Method {
    type Error = DecodeError;
    fn try_from(value: u8) -> Result<Self, DecodeError> {
        match value {
            1 => Ok(Self::Code),
            2 => Ok(Self::Attested),
            3 => Ok(Self::Voucher),
            _ => Err(DecodeError::unknown("method", value)),
        }
    }
}

/// Says that `peer` is a member of `net` under `name` until `not_after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// The network.
    pub net: NetworkId,
    /// The membership, kept by renewals; what revocations name.
    pub serial: Serial,
    /// The member's identity.
    pub peer: PeerId,
    /// Its name, unique in the network.
    pub name: PeerName,
    /// `<cluster>/<namespace>/<service account>/<pod>` of a pod, else empty.
    pub subject: String,
    /// How it got in.
    pub method: Method,
    /// When it was signed; a later one replaces.
    pub issued: UnixTime,
    /// When it ends.
    pub not_after: UnixTime,
}

impl MemberRecord {
    /// The bytes to sign.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let w = Writer::new()
            .lp(LABEL)
            .bytes(self.net.0)
            .u64(self.serial.0)
            .lp(self.peer.to_bytes());
        let w = w.lp(&self.name).lp(&self.subject).u8(self.method as u8);
        w.u64(self.issued).u64(self.not_after).into_vec()
    }

    /// Reads a record; nothing is verified here.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        r.label(LABEL)?;
        let record = Self {
            net: NetworkId(r.array()?),
            serial: Serial(r.u64()?),
            peer: r.peer()?,
            name: PeerName::from_bytes(r.lp(PeerName::MAX)?)?,
            subject: r.text("a subject", MAX_SUBJECT)?.to_owned(),
            method: Method::try_from(r.u8()?)?,
            issued: r.u64()?,
            not_after: r.u64()?,
        };
        r.finish()?;
        Ok(record)
    }
}
