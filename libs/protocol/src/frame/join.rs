//! What the handshake carries: request and response of a join.

use super::{MAX_MEMBER_RECORD, read_signed, write_signed};
use crate::id::PeerName;
use crate::record::Signed;
use crate::wire::{DecodeError, Reader, Writer};

/// What a joiner asks for inside the handshake (M3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The name it would like, at most 59 bytes.
    pub name: PeerName,
    /// The code key's signature over [`crate::message::join`].
    pub proof: [u8; 64],
    /// The identity's signature over [`crate::message::join_identity`].
    pub identity: [u8; 64],
}

impl JoinRequest {
    /// The plain request. Vouchers are not served: the field is empty.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new()
            .lp(&self.name)
            .lp([])
            .lp(self.proof)
            .lp(self.identity)
            .into_vec()
    }

    /// Reads a plain request.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let name = PeerName::from_bytes(r.lp(PeerName::MAX_REQUEST)?)?;
        r.lp(0)?;
        let request = Self {
            name,
            proof: r.signature()?,
            identity: r.signature()?,
        };
        r.finish()?;
        Ok(request)
    }
}

/// What a joiner gets inside the handshake (M4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinResponse {
    /// The signed member record.
    pub record: Signed,
    /// The network's key; the joiner checks it against the code.
    pub network_key: [u8; 32],
}

impl JoinResponse {
    /// The plain response.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        write_signed(Writer::new(), &self.record)
            .lp(self.network_key)
            .into_vec()
    }

    /// Reads a plain response.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let record = read_signed(&mut r, MAX_MEMBER_RECORD)?;
        let network_key = r.lp_array()?.ok_or(DecodeError::Truncated)?;
        r.finish()?;
        Ok(Self {
            record,
            network_key,
        })
    }
}
