//! The grant of a guest: one member lets one stranger reach it.

use crate::id::{NetworkId, PeerName, Serial};
use crate::wire::{DecodeError, Reader, Writer};
use crate::{PeerId, UnixTime};

/// Longest life of a grant, in seconds: 30 days.
pub const MAX_GUEST_SECONDS: u64 = 30 * 24 * 60 * 60;
/// Most living grants of one sponsor.
pub const MAX_GUESTS: usize = 8;

pub(super) const LABEL: &str = "peerup/1/guest";

/// Says that `sponsor` lets `guest` reach it under `name` until `not_after`. The
/// sponsor's identity signs it; it is good between the two and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestGrant {
    /// The network.
    pub net: NetworkId,
    /// The grant; what revocations name.
    pub serial: Serial,
    /// The member that lets the guest in.
    pub sponsor: PeerId,
    /// The guest's identity.
    pub guest: PeerId,
    /// What the sponsor calls it.
    pub name: PeerName,
    /// When it was signed.
    pub issued: UnixTime,
    /// When it ends; at most [`MAX_GUEST_SECONDS`] after `issued`.
    pub not_after: UnixTime,
}

impl GuestGrant {
    /// The bytes to sign.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let w = Writer::new().lp(LABEL).bytes(self.net.0).u64(self.serial.0);
        let w = w.lp(self.sponsor.to_bytes()).lp(self.guest.to_bytes());
        let w = w.lp(&self.name).u64(self.issued);
        w.u64(self.not_after).into_vec()
    }

    /// Reads a grant; nothing is verified here.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        r.label(LABEL)?;
        let grant = Self {
            net: NetworkId(r.array()?),
            serial: Serial(r.u64()?),
            sponsor: r.peer()?,
            guest: r.peer()?,
            name: PeerName::from_bytes(r.lp(PeerName::MAX)?)?,
            issued: r.u64()?,
            not_after: r.u64()?,
        };
        r.finish()?;
        Ok(grant)
    }
}
