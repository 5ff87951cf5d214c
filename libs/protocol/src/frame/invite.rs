//! Invites: what an inviter tells its relays, and what its handshake carries.

use super::{MAX_GUEST_GRANT, read_signed, write_signed};
use crate::UnixTime;
use crate::id::{GroupId, PeerName};
use crate::record::Signed;
use crate::wire::{DecodeError, Reader, Writer};

const VERSION: u8 = 1;

/// An inviter's wish on `invite` at a relay: let strangers through to me until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InviteRegistration {
    /// The invite's group; the same group again replaces what was known of it.
    pub group: GroupId,
    /// When the invite ends; a time that is over takes it back.
    pub until: UnixTime,
}

impl InviteRegistration {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new()
            .u8(VERSION)
            .bytes(self.group.0)
            .u64(self.until)
            .into_vec()
    }

    /// Reads a body.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let version = r.u8()?;
        if version != VERSION {
            return Err(DecodeError::unknown("invite registration", version));
        }
        let registration = Self {
            group: GroupId(r.array()?),
            until: r.u64()?,
        };
        r.finish()?;
        Ok(registration)
    }
}

one_byte! {
    "invite answer",
    /// What the relay says to an [`InviteRegistration`].
    InviteAnswer {
        /// Strangers get their circuit until then.
        Registered = 0,
        /// The network has no guests, or this peer may not invite.
        Refused = 1,
        /// The relay holds as many open invites as it may.
        Full = 2,
    }
}

/// What a guest asks for inside the handshake (M3). The code itself is the
/// salt, so there is nothing more to prove: the other fields are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestRequest {
    /// The name it would like, at most 59 bytes.
    pub name: PeerName,
}

impl GuestRequest {
    /// The plain request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new().lp(&self.name).lp([]).lp([]).lp([]).into_vec()
    }

    /// Reads a plain request.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let name = PeerName::from_bytes(r.lp(PeerName::MAX_REQUEST)?)?;
        for _ in 0..3 {
            r.lp(0)?;
        }
        r.finish()?;
        Ok(Self { name })
    }
}

/// What a guest gets inside the handshake (M4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestResponse {
    /// The inviter's own name.
    pub inviter: PeerName,
    /// The guest grant, signed by the inviter's identity.
    pub grant: Signed,
}

impl GuestResponse {
    /// The plain response.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        write_signed(Writer::new().lp(&self.inviter), &self.grant).into_vec()
    }

    /// Reads a plain response.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let response = Self {
            inviter: PeerName::from_bytes(r.lp(PeerName::MAX)?)?,
            grant: read_signed(&mut r, MAX_GUEST_GRANT)?,
        };
        r.finish()?;
        Ok(response)
    }
}
