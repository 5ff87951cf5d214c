//! The group's book: what a PairingCode's slots say about an attempt.
//!
//! One state per slot: Available → Used | Expired | Burned | Revoked; final
//! states stay. The operator reads a [`Group`] from status, asks here, and writes
//! by compare-and-swap what this says; nothing is answered before it is written.

#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use peerup_protocol::api::{RefusalReason, Refused};
use peerup_protocol::id::Slot;
use peerup_protocol::{PeerId, UnixTime};

/// One code's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// Nobody has used it.
    Available,
    /// Somebody has; what is known of the member now.
    Used(Holder),
    /// Its time ran out unused.
    Expired,
    /// Too many failures in its group.
    Burned,
    /// The PairingCode was revoked.
    Revoked,
}

/// The member that used a slot, as its Peer object says now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// It is a member.
    Active(PeerId),
    /// It was revoked.
    Revoked(PeerId),
    /// The Peer object was deleted: the slot stays closed.
    Gone,
}

/// The codes of one PairingCode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// When the codes end.
    pub not_after: UnixTime,
    /// Counted failures so far; only grows.
    pub failed: u32,
    /// At this many, unused codes burn.
    pub max_failed: u32,
    /// Every slot.
    pub slots: BTreeMap<Slot, SlotState>,
}

/// What to do with a joiner that has proved it holds the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redeem {
    /// Claim a name, then set the slot to Used, then sign.
    Admit,
    /// It is the slot's member already: sign its record again.
    Again,
    /// Silent failure. When counted, [`Group::fail`] is written before the relay hears it.
    Refuse(Refused),
}

impl Group {
    /// Decides about a joiner whose MAC and signatures are right.
    #[must_use]
    pub fn redeem(&self, slot: Slot, peer: &PeerId, now: UnixTime) -> Redeem {
        let refuse = |refused, counted| Redeem::Refuse(Refused { refused, counted });
        let Some(state) = self.slots.get(&slot) else {
            return refuse(RefusalReason::UnknownSlot, false);
        };
        match state {
            SlotState::Revoked => refuse(RefusalReason::Revoked, false),
            SlotState::Burned => refuse(RefusalReason::Burned, false),
            SlotState::Expired => refuse(RefusalReason::Expired, false),
            SlotState::Available | SlotState::Used(_) if self.is_expired(now) => {
                refuse(RefusalReason::Expired, false)
            }
            SlotState::Available => Redeem::Admit,
            SlotState::Used(Holder::Gone) => refuse(RefusalReason::Closed, false),
            SlotState::Used(Holder::Active(holder) | Holder::Revoked(holder)) if holder != peer => {
                refuse(RefusalReason::Used, true)
            }
            SlotState::Used(Holder::Revoked(_)) => refuse(RefusalReason::Revoked, false),
            SlotState::Used(Holder::Active(_)) => Redeem::Again,
        }
    }

    /// Whether the codes' time is over.
    #[must_use]
    pub fn is_expired(&self, now: UnixTime) -> bool {
        now >= self.not_after
    }

    /// Whether the group has seen too many failures.
    #[must_use]
    pub fn is_burned(&self) -> bool {
        self.failed >= self.max_failed
    }

    /// Codes that can still be used.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.slots
            .values()
            .filter(|state| **state == SlotState::Available)
            .count()
    }

    /// Notes a failure; at the limit all unused slots burn with it. False if there
    /// is nothing to write: the reason does not count, the group is burned or over.
    pub fn fail(&mut self, reason: RefusalReason, now: UnixTime) -> bool {
        if !counts(reason) || self.is_burned() || self.is_expired(now) {
            return false;
        }
        self.failed += 1;
        if self.is_burned() {
            self.close(SlotState::Burned);
        }
        true
    }

    /// Sets an available slot to used. False if it is not available: somebody was faster.
    pub fn take(&mut self, slot: Slot, peer: PeerId) -> bool {
        match self.slots.get_mut(&slot) {
            Some(state @ SlotState::Available) => {
                *state = SlotState::Used(Holder::Active(peer));
                true
            }
            Some(
                SlotState::Used(_) | SlotState::Expired | SlotState::Burned | SlotState::Revoked,
            )
            | None => false,
        }
    }

    /// Sets unused slots to expired when their time is over. False if nothing changed.
    pub fn expire(&mut self, now: UnixTime) -> bool {
        self.is_expired(now) && self.close(SlotState::Expired)
    }

    /// Sets unused slots to revoked. False if nothing changed.
    pub fn revoke(&mut self) -> bool {
        self.close(SlotState::Revoked)
    }

    fn close(&mut self, to: SlotState) -> bool {
        let open = self
            .slots
            .values_mut()
            .filter(|state| **state == SlotState::Available);
        open.map(|state| *state = to).count() > 0
    }
}

/// Whether such a failure counts against its group: only what a guesser or a
/// thief causes. What accidents cause (malformed, timeouts, unknown groups, a
/// failed lookup) does not.
#[must_use]
pub fn counts(reason: RefusalReason) -> bool {
    match reason {
        RefusalReason::BadMac | RefusalReason::BadSignature | RefusalReason::Used => true,
        RefusalReason::UnknownGroup
        | RefusalReason::UnknownSlot
        | RefusalReason::Expired
        | RefusalReason::Closed
        | RefusalReason::Burned
        | RefusalReason::Revoked
        | RefusalReason::Limited
        | RefusalReason::Malformed
        | RefusalReason::Timeout
        | RefusalReason::Full
        | RefusalReason::Suspended
        | RefusalReason::NameTaken
        | RefusalReason::PodGone
        | RefusalReason::Unavailable => false,
    }
}
