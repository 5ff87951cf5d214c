//! Invites: one member lets one stranger in as its guest. Both sides, sans I/O;
//! the handshake between them is the ordinary one, with the code's secret as salt.
//!
//! The inviter's book is in memory: a restart closes every invite, and with it
//! goes the count of its failures. What is given out, the grants, is stored before
//! it is answered.

mod code;
#[cfg(test)]
mod tests;

pub use code::{InviteAnswerError, Invited, Offer, check_response, salt};

use std::collections::{BTreeMap, BTreeSet};

use peerup_protocol::api::{RefusalReason, Refused};
use peerup_protocol::frame::GuestRequest;
use peerup_protocol::id::{GroupId, NetworkId, PeerName, Serial, Slot, peer_id};
use peerup_protocol::record::{GuestGrant, MAX_GUEST_SECONDS, Signed};
use peerup_protocol::secret::CodeSecret;
use peerup_protocol::{PeerId, SigningKey, UnixTime};

use crate::book::{Group, Redeem, SlotState};
use crate::membership::Guests;
use crate::names::next_name;

/// Longest life of an invite, in seconds.
pub const MAX_TTL_SECONDS: u64 = 600;
/// At this many counted failures an invite closes.
pub const MAX_FAILURES: u32 = 3;
/// Most invites of one inviter that have not ended: waiting or used; and as many closed ones are remembered.
pub const MAX_INVITES: usize = 8;
/// The only slot of an invite.
pub const SLOT: Slot = Slot(0);

/// Why an invite is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not a time that an invite may live.
    #[error("an invite lives 1 to {MAX_TTL_SECONDS} seconds, got {0}")]
    Ttl(u64),
    /// Too many are open.
    #[error("{MAX_INVITES} invites are open already; wait for one to end, or close one")]
    TooMany,
    /// The random group is one of an open invite.
    #[error("the random group is in use; try again")]
    Group,
}

/// The handshake's salt for what a joiner names in M1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The secret of an open invite, or of a used one: its guest may ask again.
    Known(CodeSecret),
    /// A random salt; the joiner must not learn which reason it is.
    Unknown(RefusalReason),
}

/// What a joiner asks whose MAC was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask<'a> {
    /// The group of M1.
    pub group: GroupId,
    /// The slot of M1.
    pub slot: Slot,
    /// The joiner, as the connection proves.
    pub guest: PeerId,
    /// Its request.
    pub request: &'a GuestRequest,
}

/// What a grant is signed with.
#[derive(Clone, Copy)]
pub struct Sponsor<'a> {
    /// The network.
    pub net: NetworkId,
    /// The inviter's identity.
    pub key: &'a SigningKey,
    /// 63 random bits, for this grant.
    pub serial: Serial,
    /// How long the guest may stay, in seconds; at least one, cut to 30 days.
    pub lifetime: u64,
    /// Names that no guest gets: those of members, for whom it would be taken.
    pub taken: &'a BTreeSet<PeerName>,
}

/// What to do with a joiner whose MAC was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is a guest, new or again. The list of guests is stored, then this is answered.
    Grant(Signed),
    /// Silent failure; counted already where it counts.
    Refuse(Refused),
}

/// The invites of one inviter that have not ended.
#[derive(Debug, Default)]
pub struct Invites {
    open: BTreeMap<GroupId, Invite>,
}

#[derive(Debug)]
struct Invite {
    secret: CodeSecret,
    book: Group,
    /// The grant that this invite gave.
    serial: Option<Serial>,
}

impl Invites {
    /// No invites.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens an invite for so many seconds: 8 and 16 random bytes, never used
    /// before. Gives the time when it ends.
    pub fn open(
        &mut self,
        group: GroupId,
        secret: CodeSecret,
        ttl: u64,
        now: UnixTime,
    ) -> Result<UnixTime, OpenError> {
        self.forget_ended(now);
        if !(1..=MAX_TTL_SECONDS).contains(&ttl) {
            return Err(OpenError::Ttl(ttl));
        }
        if self.open.contains_key(&group) {
            return Err(OpenError::Group);
        }
        let closed = self.open.values().filter(|invite| invite.is_closed());
        if self.open.len() - closed.count() >= MAX_INVITES {
            return Err(OpenError::TooMany);
        }
        let not_after = now.saturating_add(ttl);
        let book = Group {
            not_after,
            failed: 0,
            max_failed: MAX_FAILURES,
            slots: [(SLOT, SlotState::Available)].into(),
        };
        let invite = Invite {
            secret,
            book,
            serial: None,
        };
        self.open.insert(group, invite);
        Ok(not_after)
    }

    /// Drops an invite whose code nobody has got.
    pub fn cancel(&mut self, group: &GroupId) {
        self.open.remove(group);
    }

    /// Closes an invite that was not used; its guest stays if it was. False if there was nothing to
    /// close. The relays are told.
    pub fn close(&mut self, group: &GroupId) -> bool {
        let invite = self.open.get_mut(group);
        let closed = invite.is_some_and(|invite| invite.book.revoke());
        self.bound_closed();
        closed
    }

    /// The invites that wait for a guest, with their ends: while there is one,
    /// strangers come through the relays.
    pub fn waiting(&self, now: UnixTime) -> impl Iterator<Item = (&GroupId, UnixTime)> {
        let invites = self.open.iter();
        invites
            .filter(move |(_, invite)| !invite.book.is_expired(now))
            .filter(|(_, invite)| invite.book.remaining() > 0)
            .map(|(group, invite)| (group, invite.book.not_after))
    }

    /// Drops what has ended.
    pub fn forget_ended(&mut self, now: UnixTime) {
        self.open.retain(|_, invite| !invite.book.is_expired(now));
    }

    /// The salt for M1's group and slot.
    #[must_use]
    pub fn lookup(&self, group: &GroupId, slot: Slot, now: UnixTime) -> Lookup {
        let Some(invite) = self.open.get(group) else {
            return Lookup::Unknown(RefusalReason::UnknownGroup);
        };
        match invite.book.slots.get(&slot) {
            None => Lookup::Unknown(RefusalReason::UnknownSlot),
            Some(_) if invite.book.is_expired(now) => Lookup::Unknown(RefusalReason::Expired),
            Some(SlotState::Expired) => Lookup::Unknown(RefusalReason::Expired),
            Some(SlotState::Burned) => Lookup::Unknown(RefusalReason::Burned),
            Some(SlotState::Revoked) => Lookup::Unknown(RefusalReason::Revoked),
            Some(SlotState::Available | SlotState::Used(_)) => Lookup::Known(invite.secret.clone()),
        }
    }

    /// Notes a failed attempt; at the third that counts, an unused invite closes. False if it was
    /// not counted.
    pub fn failed(&mut self, group: &GroupId, reason: RefusalReason, now: UnixTime) -> bool {
        let invite = self.open.get_mut(group);
        let counted = invite.is_some_and(|invite| invite.book.fail(reason, now));
        self.bound_closed();
        counted
    }

    /// Forgets the closed one that ends first when there are too many.
    fn bound_closed(&mut self) {
        let closed = || self.open.iter().filter(|(_, invite)| invite.is_closed());
        if closed().count() > MAX_INVITES {
            let first = closed().min_by_key(|(_, invite)| invite.book.not_after);
            if let Some(group) = first.map(|(group, _)| *group) {
                self.open.remove(&group);
            }
        }
    }

    /// Decides about a joiner whose MAC was right. A new guest is put into the list.
    pub fn redeem(
        &mut self,
        guests: &mut Guests,
        ask: Ask<'_>,
        sponsor: Sponsor<'_>,
        now: UnixTime,
    ) -> Decision {
        let Some(invite) = self.open.get_mut(&ask.group) else {
            return refuse(RefusalReason::UnknownGroup);
        };
        match invite.book.redeem(ask.slot, &ask.guest, now) {
            Redeem::Admit => invite.admit(guests, ask, sponsor, now),
            Redeem::Again => {
                let signed = invite.serial.and_then(|serial| guests.signed(serial));
                signed.map_or(refuse(RefusalReason::Revoked), |signed| {
                    Decision::Grant(signed.clone())
                })
            }
            Redeem::Refuse(refused) => {
                let counted = invite.book.fail(refused.refused, now);
                Decision::Refuse(Refused { counted, ..refused })
            }
        }
    }
}

impl Invite {
    /// Whether it lets nobody in any more, and never did.
    fn is_closed(&self) -> bool {
        match self.book.slots.get(&SLOT) {
            Some(SlotState::Burned | SlotState::Revoked) => true,
            Some(SlotState::Available | SlotState::Used(_) | SlotState::Expired) | None => false,
        }
    }

    fn admit(
        &mut self,
        guests: &mut Guests,
        ask: Ask<'_>,
        sponsor: Sponsor<'_>,
        now: UnixTime,
    ) -> Decision {
        let taken =
            |name: &_| sponsor.taken.contains(name) || guests.is_name_taken(name, &ask.guest, now);
        let Some(name) = next_name(&ask.request.name, taken) else {
            return refuse(RefusalReason::NameTaken);
        };
        let (grant, signed) = sponsor.sign(ask.guest, name, now);
        let serial = grant.serial;
        if guests.insert(grant, signed.clone(), now).is_err() {
            return refuse(RefusalReason::Full);
        }
        self.serial = Some(serial);
        self.book.take(ask.slot, ask.guest);
        Decision::Grant(signed)
    }
}

impl Sponsor<'_> {
    fn sign(&self, guest: PeerId, name: PeerName, now: UnixTime) -> (GuestGrant, Signed) {
        let lifetime = self.lifetime.clamp(1, MAX_GUEST_SECONDS);
        let grant = GuestGrant {
            net: self.net,
            serial: self.serial,
            sponsor: peer_id(&self.key.verifying_key()),
            guest,
            name,
            issued: now,
            not_after: now.saturating_add(lifetime),
        };
        let signed = Signed::sign(self.key, grant.encode());
        (grant, signed)
    }
}

fn refuse(reason: RefusalReason) -> Decision {
    Decision::Refuse(Refused {
        refused: reason,
        counted: false,
    })
}
