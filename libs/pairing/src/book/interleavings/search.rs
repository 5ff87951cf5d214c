//! Visits every state that can be reached, and holds each against the promises.

use std::collections::BTreeSet;
use std::fmt;

use super::model::{Event, Model, SLOTS, SlotIs, World};
use crate::book::Redeem;
use peerup_protocol::id::Slot;

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// One slot admits one PeerId.
    OnePeer,
    /// The same PeerId gets the same record.
    SameRecord,
    /// The counter only grows.
    Counter,
    /// A final state stays.
    Final,
    /// A use is durable before it is answered.
    UseFirst,
    /// A failure is durable before its attempt ends.
    CountFirst,
    /// A member that nobody deletes stays one, and gets its record when it asks again.
    Member,
}

/// An order of steps that breaks a promise.
pub(super) struct Broken {
    pub(super) promise: Promise,
    trace: Vec<World>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?} is broken by", self.promise)?;
        self.trace
            .iter()
            .try_for_each(|world| writeln!(f, "{world:?}"))
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What was seen on the way.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stats {
    pub(super) states: usize,
    /// Which joiners have got a record through slot 0, in some state.
    pub(super) winners: [bool; 2],
    pub(super) burned: bool,
    pub(super) expired: bool,
    pub(super) revoked: bool,
}

impl Stats {
    fn note(&mut self, world: &World) {
        self.states += 1;
        if let Some((who, _)) = world.answered[0] {
            self.winners[usize::from(who)] = true;
        }
        self.burned |= world.slots.contains(&SlotIs::Burned);
        self.expired |= world.slots.contains(&SlotIs::Expired);
        self.revoked |= world.slots.contains(&SlotIs::Revoked);
    }
}

/// Breadth first, so that a broken promise is shown by a shortest order of steps.
pub(super) fn search(model: &Model) -> Result<Stats, Broken> {
    let mut stats = Stats::default();
    let mut seen: BTreeSet<_> = [Model::start()].into();
    let mut found = vec![(Model::start(), 0)];
    let mut at = 0;
    while at < found.len() {
        let world = found[at].0;
        stats.note(&world);
        let broken = |promise, last| Broken {
            promise,
            trace: trace(&found, at, last),
        };
        check_state(model, &world).map_err(|promise| broken(promise, None))?;
        let next = model.next(&world);
        for after in &next {
            check_step(&world, after).map_err(|promise| broken(promise, Some(*after)))?;
        }
        let new = next.into_iter().filter(|after| seen.insert(*after));
        found.extend(new.map(|after| (after, at)));
        at += 1;
    }
    Ok(stats)
}

/// The states from the first to this one, and one more.
fn trace(found: &[(World, usize)], mut at: usize, last: Option<World>) -> Vec<World> {
    let mut back: Vec<_> = last.into_iter().collect();
    loop {
        back.push(found[at].0);
        if at == 0 {
            back.reverse();
            return back;
        }
        at = found[at].1;
    }
}

fn holds(promise: Promise, holds: bool) -> Result<(), Promise> {
    if holds { Ok(()) } else { Err(promise) }
}

/// What no step may change.
fn check_step(before: &World, after: &World) -> Result<(), Promise> {
    holds(Promise::Counter, after.failed >= before.failed)?;
    for slot in 0..SLOTS {
        let (was, is) = (before.slots[slot], after.slots[slot]);
        holds(Promise::Final, was == SlotIs::Available || was == is)?;
        let (had, has) = (before.answered[slot], after.answered[slot]);
        if let (Some((first, uid)), Some((who, other))) = (had, has) {
            holds(Promise::OnePeer, first == who)?;
            holds(Promise::SameRecord, uid == other)?;
        }
    }
    Ok(())
}

/// What no state may be.
fn check_state(model: &Model, world: &World) -> Result<(), Promise> {
    holds(Promise::CountFirst, world.silences <= world.failed)?;
    for slot in 0..SLOTS {
        if let Some((_, uid)) = world.answered[slot] {
            let used = matches!(world.slots[slot], SlotIs::Used(_, by) if by == uid);
            holds(Promise::UseFirst, used)?;
        }
        if let SlotIs::Used(name, uid) = world.slots[slot] {
            holds(Promise::Member, stays(model, world, slot, name, uid))?;
        }
    }
    Ok(())
}

/// The Peer of a used slot is there, unless somebody deletes Peers; and if it is
/// a good one, its owner may ask again.
fn stays(model: &Model, world: &World, slot: usize, name: u8, uid: u8) -> bool {
    let there = world.peers[usize::from(name)].filter(|peer| peer.uid == uid);
    let Some(peer) = there else {
        return model.events.contains(&Event::DeletePeer);
    };
    let group = model.group(world);
    let again = group.redeem(Slot(slot as u16), model.identity(peer.who), 0);
    peer.revoked || again == Redeem::Again
}
