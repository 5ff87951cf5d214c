//! What the API server holds, who works on it, and what can happen next.

mod store;
mod work;

use peerup_protocol::SigningKey;
use peerup_protocol::id::peer_id;

use super::super::*;

/// When the codes end.
const END: UnixTime = 10;
/// Failures that burn the group.
const MAX_FAILED: u32 = 2;
/// Slots of the code.
pub(super) const SLOTS: usize = 2;
/// Names that joiners try, one after the other.
const NAMES: usize = 2;
/// Most who work at once.
const WORKS: usize = 4;
/// No uid.
const NONE: u8 = u8::MAX;

/// A slot in the PairingCode's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SlotIs {
    Available,
    /// By the Peer of this name and uid.
    Used(u8, u8),
    Expired,
    Burned,
    Revoked,
}

/// How long ago a Peer was claimed. A turn takes less than half of the time after
/// which a claim that no slot names is freed, so what was young when a turn took
/// it is not old before the turn ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Young,
    Middle,
    Old,
}

/// A Peer object, under its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PeerIs {
    /// Its identity: joiner 0 or 1.
    pub(super) who: u8,
    slot: u8,
    /// With it goes the serial of its record.
    pub(super) uid: u8,
    age: Age,
    pub(super) revoked: bool,
}

/// Somebody who works in steps, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A joiner with the code of a slot asks, and asks again.
    Redeem { who: u8, slot: u8 },
    /// A relay tells of a wrong MAC.
    Guess,
    /// The code's controller closes slots: expired, revoked.
    Close,
    /// The Peer's controller frees claims.
    Free,
}

/// How far somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    Start,
    /// The code is read; next, the Peer that the slot names.
    Read,
    /// To be admitted; next, a name.
    Claim,
    /// A Peer is claimed; next, the slot.
    Swap,
    /// A Peer is claimed, and answered before the slot is written: what must not be.
    Late,
    /// A member already; next, its Peer.
    Look,
    /// Signed; next, the answer.
    Answer,
    /// A failure that counts; next, its count.
    Count,
    /// It is counted; next, the silence that ends the attempt.
    Silence,
    /// The controller has read the code.
    Close,
    /// The controller has seen an old claim.
    Saw,
    /// And no slot that names it.
    Unused,
}

/// Somebody at work, and what it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Work {
    at: At,
    /// The slot, as it was read.
    seen: SlotIs,
    /// The Peer's name and uid.
    name: u8,
    uid: u8,
    /// Whether the code is still as it was read, and the Peer.
    code_fresh: bool,
    peer_fresh: bool,
}

impl Work {
    /// Nothing read.
    const START: Self = Self {
        at: At::Start,
        seen: SlotIs::Available,
        name: 0,
        uid: NONE,
        code_fresh: false,
        peer_fresh: false,
    };
}

/// Things that happen by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The codes' time runs out.
    End,
    /// Claims grow old.
    Age,
    /// Somebody revokes the PairingCode.
    RevokeCode,
    /// Somebody revokes a Peer.
    RevokePeer,
    /// Somebody deletes a Peer.
    DeletePeer,
}

/// Everything that tells one state from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct World {
    over: bool,
    /// The PairingCode.
    revoked: bool,
    pub(super) failed: u8,
    pub(super) slots: [SlotIs; SLOTS],
    /// The Peers.
    pub(super) peers: [Option<PeerIs>; NAMES],
    works: [Work; WORKS],
    /// What joiners have got: by slot, who, and of which Peer's uid.
    pub(super) answered: [Option<(u8, u8)>; SLOTS],
    /// Counted failures whose attempt has ended.
    pub(super) silences: u8,
}

/// What is to hold; each is taken out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// Writes compare the version that was read.
    pub(super) compare: bool,
    /// The slot is written before the joiner is answered.
    pub(super) use_first: bool,
    /// The failure is written before the attempt ends.
    pub(super) count_first: bool,
    /// A slot names a Peer's uid.
    pub(super) uid: bool,
    /// A claim that is used again becomes young by a write.
    pub(super) touch: bool,
    /// A Peer is only deleted as it was seen.
    pub(super) as_seen: bool,
}

impl Rules {
    pub(super) const ALL: Self = Self {
        compare: true,
        use_first: true,
        count_first: true,
        uid: true,
        touch: true,
        as_seen: true,
    };
}

/// Who works, and what may happen.
pub(super) struct Model {
    rules: Rules,
    roles: Vec<Role>,
    pub(super) events: Vec<Event>,
    peers: [PeerId; 2],
}

impl Model {
    pub(super) fn new(rules: Rules, roles: &[Role], events: &[Event]) -> Self {
        let peer = |byte| peer_id(&SigningKey::from_bytes(&[byte; 32]).verifying_key());
        assert!(roles.len() <= WORKS);
        Self {
            rules,
            roles: roles.to_vec(),
            events: events.to_vec(),
            peers: [peer(1), peer(2)],
        }
    }

    /// Nobody has done anything.
    pub(super) fn start() -> World {
        World {
            over: false,
            revoked: false,
            failed: 0,
            slots: [SlotIs::Available; SLOTS],
            peers: [None; NAMES],
            works: [Work::START; WORKS],
            answered: [None; SLOTS],
            silences: 0,
        }
    }

    /// Every state that can be next.
    pub(super) fn next(&self, world: &World) -> Vec<World> {
        let mut next = Vec::with_capacity(16);
        for (at, role) in self.roles.iter().enumerate() {
            let mut after = *world;
            let work = std::mem::replace(&mut after.works[at], Work::START);
            after.works[at] = self.step(&mut after, work, *role);
            next.push(after);
            // A crash, or a lost answer. It will be asked again.
            let mut after = *world;
            after.works[at] = Work::START;
            next.push(after);
        }
        for event in &self.events {
            world.after(*event, &mut next);
        }
        next.retain(|after| after != world);
        next
    }

    /// The book as the store has it.
    pub(super) fn group(&self, world: &World) -> Group {
        let slots = world.slots.iter().enumerate();
        let slots = slots.map(|(at, slot)| (Slot(at as u16), self.state(world, *slot)));
        Group {
            not_after: END,
            failed: world.failed.into(),
            max_failed: MAX_FAILED,
            slots: slots.collect(),
        }
    }

    /// Joiner 0 or 1 by its identity.
    pub(super) fn identity(&self, who: u8) -> &PeerId {
        &self.peers[usize::from(who)]
    }

    /// A slot as the book has it, with what the store knows of the Peer that it names.
    fn state(&self, world: &World, slot: SlotIs) -> SlotState {
        match slot {
            SlotIs::Available => SlotState::Available,
            SlotIs::Expired => SlotState::Expired,
            SlotIs::Burned => SlotState::Burned,
            SlotIs::Revoked => SlotState::Revoked,
            SlotIs::Used(name, uid) => SlotState::Used(match world.peers[usize::from(name)] {
                Some(peer) if self.rules.uid && peer.uid != uid => Holder::Gone,
                Some(peer) if peer.revoked => Holder::Revoked(*self.identity(peer.who)),
                Some(peer) => Holder::Active(*self.identity(peer.who)),
                None => Holder::Gone,
            }),
        }
    }
}
