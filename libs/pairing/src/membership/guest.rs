//! Guests: who accepts a sponsor's grant. Between sponsor and guest it is good as
//! a credential; a relay carries the two; nobody else takes it for anything.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use peerup_protocol::id::{NetworkId, PeerName, Serial, verifying_key};
use peerup_protocol::record::{GuestGrant, MAX_GUEST_SECONDS, MAX_GUESTS, Revocations, Signed};
use peerup_protocol::wire::DecodeError;
use peerup_protocol::{PeerId, UnixTime};

use super::SKEW_SECONDS;

/// Why a grant is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestRefusal {
    /// Not a grant.
    #[error("not understood: {0}")]
    Decode(#[from] DecodeError),
    /// Not signed by the sponsor that it names.
    #[error("not signed by its sponsor")]
    BadSignature,
    /// Of another network.
    #[error("of another network")]
    OtherNetwork,
    /// For another guest than the connection's peer.
    #[error("for another guest")]
    OtherGuest,
    /// From another sponsor than the one that matters here.
    #[error("from another sponsor")]
    OtherSponsor,
    /// Longer than a guest may stay.
    #[error("for longer than 30 days")]
    TooLong,
    /// Signed in the future.
    #[error("signed in the future; is this machine's clock right?")]
    Future,
    /// Its time is over; a new invite is needed.
    #[error("the guest's time is over")]
    Expired,
    /// Taken back by the sponsor or the operator.
    #[error("revoked")]
    Revoked,
    /// The network has no guests.
    #[error("the network allows no guests")]
    NotAllowed,
    /// The sponsor is no member of the network now.
    #[error("the sponsor is no member")]
    UnknownSponsor,
    /// The sponsor has as many guests as it may.
    #[error("the sponsor has {MAX_GUESTS} guests already")]
    TooMany,
}

/// Checks of a grant what everybody checks: network, guest, the sponsor's signature, times.
/// Whether its sponsor matters is not checked here.
fn check(
    signed: &Signed,
    net: &NetworkId,
    guest: &PeerId,
    now: UnixTime,
) -> Result<GuestGrant, GuestRefusal> {
    let grant = GuestGrant::decode(&signed.bytes)?;
    let sponsor = verifying_key(&grant.sponsor)?;
    signed
        .verify(&sponsor)
        .map_err(|_| GuestRefusal::BadSignature)?;
    if grant.net != *net {
        return Err(GuestRefusal::OtherNetwork);
    }
    if grant.guest != *guest {
        return Err(GuestRefusal::OtherGuest);
    }
    if grant.not_after.saturating_sub(grant.issued) > MAX_GUEST_SECONDS {
        return Err(GuestRefusal::TooLong);
    }
    if grant.issued > now.saturating_add(SKEW_SECONDS) {
        return Err(GuestRefusal::Future);
    }
    if now >= grant.not_after {
        return Err(GuestRefusal::Expired);
    }
    Ok(grant)
}

/// What a guest checks of a grant that it gets or has stored: good for itself, from this sponsor.
pub fn check_own_grant(
    signed: &Signed,
    net: &NetworkId,
    own: &PeerId,
    sponsor: &PeerId,
    now: UnixTime,
) -> Result<GuestGrant, GuestRefusal> {
    let grant = check(signed, net, own, now)?;
    if grant.sponsor == *sponsor {
        Ok(grant)
    } else {
        Err(GuestRefusal::OtherSponsor)
    }
}

/// Whom a guest accepts: its sponsor, by the identity of the connection, while the grant lives.
/// What the sponsor shows does not matter: a guest does not know the network's key.
pub fn check_sponsor(grant: &GuestGrant, peer: &PeerId, now: UnixTime) -> Result<(), GuestRefusal> {
    if grant.sponsor != *peer {
        return Err(GuestRefusal::OtherSponsor);
    }
    if now >= grant.not_after {
        return Err(GuestRefusal::Expired);
    }
    Ok(())
}

/// What a relay knows when somebody shows a grant.
#[derive(Debug, Clone, Copy)]
pub struct RelayView<'a> {
    /// The network.
    pub net: &'a NetworkId,
    /// Whether the newest network document allows guests.
    pub guests_allowed: bool,
    /// The newest revocations.
    pub revocations: Option<&'a Revocations>,
    /// The guests that it serves now, by their identity.
    pub served: &'a BTreeMap<PeerId, GuestGrant>,
}

/// Whether a relay serves a guest. `is_member` says whether the roster holds a
/// good record of a sponsor now.
pub fn check_at_relay(
    view: RelayView<'_>,
    signed: &Signed,
    peer: &PeerId,
    is_member: impl Fn(&PeerId) -> bool,
    now: UnixTime,
) -> Result<GuestGrant, GuestRefusal> {
    if !view.guests_allowed {
        return Err(GuestRefusal::NotAllowed);
    }
    let grant = check(signed, view.net, peer, now)?;
    if !is_member(&grant.sponsor) {
        return Err(GuestRefusal::UnknownSponsor);
    }
    if is_revoked(view.revocations, grant.serial) {
        return Err(GuestRefusal::Revoked);
    }
    let others = view.served.values();
    let others = others.filter(|other| other.sponsor == grant.sponsor && other.guest != *peer);
    if others.count() >= MAX_GUESTS {
        return Err(GuestRefusal::TooMany);
    }
    Ok(grant)
}

fn is_revoked(list: Option<&Revocations>, serial: Serial) -> bool {
    list.is_some_and(|list| list.contains(serial))
}

/// A sponsor's own guests: at most [`MAX_GUESTS`]. What is not in here is not
/// accepted, so a grant is revoked by taking it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guests {
    net: NetworkId,
    sponsor: PeerId,
    grants: BTreeMap<PeerId, (GuestGrant, Signed)>,
}

impl Guests {
    /// No guests yet.
    #[must_use]
    pub fn new(net: NetworkId, sponsor: PeerId) -> Self {
        Self {
            net,
            sponsor,
            grants: BTreeMap::new(),
        }
    }

    /// The guests that were stored. Each grant is checked again; those that are over are left out. The clock may be behind
    /// what it was when they were signed.
    pub fn load(
        net: NetworkId,
        sponsor: PeerId,
        stored: Vec<Signed>,
        now: UnixTime,
    ) -> Result<Self, GuestRefusal> {
        let mut guests = Self::new(net, sponsor);
        for signed in stored {
            let GuestGrant { guest, issued, .. } = GuestGrant::decode(&signed.bytes)?;
            let then = now.max(issued);
            match check_own_grant(&signed, &net, &guest, &sponsor, then) {
                Ok(grant) => guests.insert(grant, signed, now)?,
                Err(GuestRefusal::Expired) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(guests)
    }

    /// The grants as they are stored.
    pub fn stored(&self) -> impl Iterator<Item = &Signed> {
        self.grants.values().map(|(_, signed)| signed)
    }

    /// The guests whose time is not over.
    pub fn live(&self, now: UnixTime) -> impl Iterator<Item = &GuestGrant> {
        let grants = self.grants.values().map(|(grant, _)| grant);
        grants.filter(move |grant| now < grant.not_after)
    }

    /// Whether another guest of the sponsor is called so.
    #[must_use]
    pub fn is_name_taken(&self, name: &PeerName, guest: &PeerId, now: UnixTime) -> bool {
        self.live(now)
            .any(|grant| grant.name == *name && grant.guest != *guest)
    }

    /// The grant of this serial as it travels, if it is not revoked.
    #[must_use]
    pub fn signed(&self, serial: Serial) -> Option<&Signed> {
        let mut grants = self.grants.values();
        let (_, signed) = grants.find(|(grant, _)| grant.serial == serial)?;
        Some(signed)
    }

    /// Revokes. False if there is no such guest. The caller stores the list and closes the guest's
    /// connections.
    pub fn revoke(&mut self, serial: Serial) -> bool {
        let before = self.grants.len();
        self.grants.retain(|_, (grant, _)| grant.serial != serial);
        self.grants.len() < before
    }

    /// What the sponsor checks when `peer` shows a grant.
    pub fn check(
        &self,
        signed: &Signed,
        peer: &PeerId,
        revocations: Option<&Revocations>,
        now: UnixTime,
    ) -> Result<GuestGrant, GuestRefusal> {
        let grant = check_own_grant(signed, &self.net, peer, &self.sponsor, now)?;
        let listed = self.signed(grant.serial) == Some(signed);
        if !listed || is_revoked(revocations, grant.serial) {
            return Err(GuestRefusal::Revoked);
        }
        Ok(grant)
    }

    /// Takes a guest in, in the place of its former grant. Those that are over make room.
    pub(crate) fn insert(
        &mut self,
        grant: GuestGrant,
        signed: Signed,
        now: UnixTime,
    ) -> Result<(), GuestRefusal> {
        self.grants.retain(|_, (grant, _)| now < grant.not_after);
        if !self.grants.contains_key(&grant.guest) && self.grants.len() >= MAX_GUESTS {
            return Err(GuestRefusal::TooMany);
        }
        self.grants.insert(grant.guest, (grant, signed));
        Ok(())
    }
}
