//! The guests that this relay serves (pure): each has shown a grant of a member, and is served while the network
//! document allows guests, the roster holds its sponsor, and the grant has neither ended nor been revoked.

use std::collections::{BTreeMap, BTreeSet};

use peerup_pairing::membership::{GuestRefusal, RelayView, check_at_relay};
use peerup_protocol::record::{GuestGrant, Signed};
use peerup_protocol::{PeerId, UnixTime};

use crate::roster::Roster;

/// Guests by their identity, each with its grant. Bounded by the members: each has eight at most.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    served: BTreeMap<PeerId, (GuestGrant, Signed)>,
}

impl Guests {
    /// Takes in `peer` by the grant that it shows, in the place of a former one.
    ///
    /// # Errors
    /// Why it is not served; a former grant of it stays what it was.
    pub(crate) fn present(
        &mut self,
        roster: &Roster,
        signed: &Signed,
        peer: &PeerId,
        now: UnixTime,
    ) -> Result<(), GuestRefusal> {
        let grant = check(roster, &self.grants(), signed, peer, now)?;
        self.served.insert(*peer, (grant, signed.clone()));
        Ok(())
    }

    /// Drops those that are not served any more.
    pub(crate) fn forget_ended(&mut self, roster: &Roster, now: UnixTime) {
        let all = self.grants();
        self.served
            .retain(|peer, (_, signed)| check(roster, &all, signed, peer, now).is_ok());
    }

    /// Whether `peer` is one.
    pub(crate) fn contains(&self, peer: &PeerId) -> bool {
        self.served.contains_key(peer)
    }

    /// All of them.
    pub(crate) fn peers(&self) -> BTreeSet<PeerId> {
        self.served.keys().copied().collect()
    }

    /// When the next of their grants ends.
    pub(crate) fn next_end(&self) -> Option<UnixTime> {
        let grants = self.served.values();
        grants.map(|(grant, _)| grant.not_after).min()
    }

    fn grants(&self) -> BTreeMap<PeerId, GuestGrant> {
        let served = self.served.iter();
        served
            .map(|(peer, (grant, _))| (*peer, grant.clone()))
            .collect()
    }
}

fn check(
    roster: &Roster,
    served: &BTreeMap<PeerId, GuestGrant>,
    signed: &Signed,
    peer: &PeerId,
    now: UnixTime,
) -> Result<GuestGrant, GuestRefusal> {
    let view = RelayView {
        net: &roster.net(),
        guests_allowed: roster.allows_guests(),
        revocations: roster.revocations(),
        served,
    };
    check_at_relay(
        view,
        signed,
        peer,
        |sponsor| roster.is_member(sponsor, now),
        now,
    )
}
