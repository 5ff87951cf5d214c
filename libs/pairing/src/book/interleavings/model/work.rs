//! One step of one work. The book decides; the rest is reading and writing.

use super::super::super::{Group, Redeem, RefusalReason, Refused, Slot, SlotState};
use super::{Age, At, END, Model, NAMES, NONE, PeerIs, Role, SlotIs, UnixTime, Work, World};

impl Model {
    /// The work after its next step; at the start when it is done, or has to begin again.
    pub(super) fn step(&self, world: &mut World, work: Work, role: Role) -> Work {
        let (who, slot) = match role {
            Role::Redeem { who, slot } => (who, slot),
            Role::Guess | Role::Close | Role::Free => (0, 0),
        };
        match work.at {
            At::Start => self.begin(world, role),
            At::Read => self.decide(world, work, who, slot),
            At::Claim => self.claim(world, work, who, slot),
            At::Swap => self.take(world, work, who, slot),
            At::Look => self.look(world, work),
            At::Answer => {
                world.answered[usize::from(slot)] = Some((who, work.uid));
                Work::START
            }
            At::Late => {
                world.answered[usize::from(slot)] = Some((who, work.uid));
                Work {
                    at: At::Swap,
                    ..work
                }
            }
            At::Count => self.count(world, work),
            At::Silence => {
                world.silences += 1;
                if self.rules.count_first {
                    Work::START
                } else {
                    reading(At::Count)
                }
            }
            At::Close => self.close(world, work),
            At::Saw => look_for_a_slot(world, work),
            At::Unused => self.free(world, work),
        }
    }

    fn begin(&self, world: &World, role: Role) -> Work {
        match role {
            Role::Redeem { .. } | Role::Guess if world.revoked => Work::START,
            Role::Redeem { slot, .. } => Work {
                seen: world.slots[usize::from(slot)],
                ..reading(At::Read)
            },
            Role::Guess if self.rules.count_first => reading(At::Count),
            Role::Guess => reading(At::Silence),
            Role::Close => reading(At::Close),
            Role::Free => look_for_a_claim(world),
        }
    }

    /// What the book says to a joiner, by what was read of its slot and is read of the Peer.
    fn decide(&self, world: &World, work: Work, who: u8, slot: u8) -> Work {
        let key = Slot(slot.into());
        let group = Group {
            slots: [(key, self.state(world, work.seen))].into(),
            ..self.group(world)
        };
        let next = |at| Work {
            at,
            seen: SlotIs::Available,
            ..work
        };
        match group.redeem(key, self.identity(who), now(world)) {
            Redeem::Admit => next(At::Claim),
            Redeem::Refuse(Refused { counted: true, .. }) => next(At::Count),
            Redeem::Refuse(Refused { counted: false, .. }) => Work::START,
            Redeem::Again => match work.seen {
                SlotIs::Used(name, uid) => Work {
                    at: At::Look,
                    name,
                    uid,
                    ..Work::START
                },
                SlotIs::Available | SlotIs::Expired | SlotIs::Burned | SlotIs::Revoked => {
                    panic!("only a used slot has a member")
                }
            },
        }
    }

    /// The first name that is free, or the claim that this joiner made before.
    fn claim(&self, world: &mut World, work: Work, who: u8, slot: u8) -> Work {
        let own = |peer: PeerIs| peer.who == who && peer.slot == slot;
        let free = |name: &usize| world.peers[*name].is_none_or(own);
        let Some(name) = (0..NAMES).find(free) else {
            return Work::START;
        };
        let peer = match world.peers[name] {
            Some(peer) if peer.revoked => return Work::START,
            Some(peer) if self.rules.touch => PeerIs {
                age: Age::Young,
                ..peer
            },
            Some(peer) => peer,
            None => PeerIs {
                who,
                slot,
                uid: world.new_uid(),
                age: Age::Young,
                revoked: false,
            },
        };
        if world.peers[name] != Some(peer) || self.rules.touch {
            world.write_peer(name, Some(peer));
        }
        Work {
            at: if self.rules.use_first {
                At::Swap
            } else {
                At::Late
            },
            name: name as u8,
            uid: peer.uid,
            ..work
        }
    }

    fn take(&self, world: &mut World, work: Work, who: u8, slot: u8) -> Work {
        let taken = self.swap(world, work, |group| {
            group.take(Slot(slot.into()), *self.identity(who))
        });
        if !taken {
            return Work::START;
        }
        world.slots[usize::from(slot)] = SlotIs::Used(work.name, work.uid);
        if self.rules.use_first {
            signed(work.uid)
        } else {
            Work::START
        }
    }

    /// The Peer of a member that asks again.
    fn look(&self, world: &World, work: Work) -> Work {
        match world.peers[usize::from(work.name)] {
            Some(peer) if !self.rules.uid || peer.uid == work.uid => signed(peer.uid),
            Some(_) | None => Work::START,
        }
    }

    /// A failure is written, then its attempt ends.
    fn count(&self, world: &mut World, work: Work) -> Work {
        let now = now(world);
        let counted = self.swap(world, work, |group| group.fail(RefusalReason::BadMac, now));
        if counted && self.rules.count_first {
            Work {
                at: At::Silence,
                ..Work::START
            }
        } else {
            Work::START
        }
    }

    fn close(&self, world: &mut World, work: Work) -> Work {
        let (revoked, now) = (world.revoked, now(world));
        self.swap(world, work, |group| {
            if revoked {
                group.revoke()
            } else {
                group.expire(now)
            }
        });
        Work::START
    }

    /// A claim is deleted as it was seen.
    fn free(&self, world: &mut World, work: Work) -> Work {
        if work.peer_fresh || !self.rules.as_seen {
            world.write_peer(usize::from(work.name), None);
        }
        Work::START
    }

    /// Compare-and-swap of the PairingCode: false if it was written since it was
    /// read, or if there is nothing to write.
    fn swap(&self, world: &mut World, work: Work, change: impl FnOnce(&mut Group) -> bool) -> bool {
        if !work.code_fresh && self.rules.compare {
            return false;
        }
        let mut group = self.group(world);
        if !change(&mut group) && work.code_fresh {
            return false;
        }
        world.failed = group.failed as u8;
        for (slot, state) in world.slots.iter_mut().zip(group.slots.values()) {
            *slot = match state {
                SlotState::Available => SlotIs::Available,
                // By whom, the writer says.
                SlotState::Used(_) => *slot,
                SlotState::Expired => SlotIs::Expired,
                SlotState::Burned => SlotIs::Burned,
                SlotState::Revoked => SlotIs::Revoked,
            };
        }
        world.code_is_written();
        true
    }
}

fn now(world: &World) -> UnixTime {
    if world.over { END } else { 0 }
}

/// The code is read.
fn reading(at: At) -> Work {
    Work {
        at,
        code_fresh: true,
        ..Work::START
    }
}

fn signed(uid: u8) -> Work {
    Work {
        at: At::Answer,
        uid,
        ..Work::START
    }
}

fn look_for_a_claim(world: &World) -> Work {
    let old = |peer: &Option<PeerIs>| peer.is_some_and(|peer| peer.age == Age::Old);
    world
        .peers
        .iter()
        .position(old)
        .map_or(Work::START, |name| Work {
            at: At::Saw,
            name: name as u8,
            uid: world.peers[name].map_or(NONE, |peer| peer.uid),
            peer_fresh: true,
            ..Work::START
        })
}

fn look_for_a_slot(world: &World, work: Work) -> Work {
    if world.slots.contains(&SlotIs::Used(work.name, work.uid)) {
        Work::START
    } else {
        Work {
            at: At::Unused,
            ..work
        }
    }
}
