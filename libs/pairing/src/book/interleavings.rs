//! Every interleaving of two leaders that overlap: each works in steps (read,
//! claim the name, compare-and-swap the slot, sign), any of which may be the last
//! before a crash. One code never admits two peers, and nothing final changes.

use std::collections::BTreeSet;

use peerup_protocol::SigningKey;
use peerup_protocol::id::peer_id;

use super::*;

const SLOT: Slot = Slot(0);

/// What the API server holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Store {
    version: u32,
    group: Group,
    /// Peer objects: who claimed a name.
    claims: BTreeSet<PeerId>,
    signed: BTreeSet<PeerId>,
}

/// What one leader does for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Work {
    Redeem(PeerId, Step),
    Fail(Option<(u32, Group)>),
    Expire(Option<(u32, Group)>),
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Read,
    Claim(u32, Group),
    Swap(u32, Group),
    Sign,
}

impl Store {
    fn swap(&mut self, version: u32, group: Group) -> bool {
        let fresh = version == self.version;
        if fresh {
            self.version += 1;
            self.group = group;
        }
        fresh
    }
}

/// One step of one work on the store. A lost compare-and-swap reads again.
fn step(work: Work, store: &mut Store) -> Work {
    match work {
        Work::Done => Work::Done,
        Work::Redeem(peer, Step::Read) => match store.group.redeem(SLOT, &peer, 0) {
            Redeem::Admit => Work::Redeem(peer, Step::Claim(store.version, store.group.clone())),
            Redeem::Again => Work::Redeem(peer, Step::Sign),
            Redeem::Refuse(Refused { counted: true, .. }) => Work::Fail(None),
            Redeem::Refuse(Refused { counted: false, .. }) => Work::Done,
        },
        Work::Redeem(peer, Step::Claim(version, group)) => {
            store.claims.insert(peer);
            Work::Redeem(peer, Step::Swap(version, group))
        }
        Work::Redeem(peer, Step::Swap(version, mut group)) => {
            let taken = group.take(SLOT, peer) && store.swap(version, group);
            Work::Redeem(peer, if taken { Step::Sign } else { Step::Read })
        }
        Work::Redeem(peer, Step::Sign) => {
            store.signed.insert(peer);
            Work::Done
        }
        Work::Fail(None) => Work::Fail(Some((store.version, store.group.clone()))),
        Work::Fail(Some((version, mut group))) => {
            let written = !group.fail(RefusalReason::BadMac, 0) || store.swap(version, group);
            if written {
                Work::Done
            } else {
                Work::Fail(None)
            }
        }
        Work::Expire(None) => Work::Expire(Some((store.version, store.group.clone()))),
        Work::Expire(Some((version, mut group))) => {
            let written = !group.expire(END) || store.swap(version, group);
            if written {
                Work::Done
            } else {
                Work::Expire(None)
            }
        }
    }
}

const END: UnixTime = 10;

fn check(before: &Store, after: &Store) {
    assert!(
        after.group.failed >= before.group.failed,
        "the counter only grows"
    );
    for (slot, state) in &before.group.slots {
        let open = *state == SlotState::Available;
        assert!(
            open || after.group.slots[slot] == *state,
            "a final state stays"
        );
    }
    for peer in &after.signed {
        let used = SlotState::Used(Holder::Active(*peer));
        assert_eq!(
            after.group.slots[&SLOT], used,
            "only the slot's member holds a record"
        );
        assert!(after.claims.contains(peer), "a member has its name");
    }
}

/// Follows every order of steps, and in each a crash of every work after every step.
fn explore(store: &Store, works: &[Work], visited: &mut Vec<(Store, Vec<Work>)>) {
    let state = (store.clone(), works.to_vec());
    if visited.contains(&state) {
        return;
    }
    visited.push(state);
    for at in 0..works.len() {
        if works[at] == Work::Done {
            continue;
        }
        let (mut next, mut rest) = (store.clone(), works.to_vec());
        rest[at] = step(rest[at].clone(), &mut next);
        check(store, &next);
        explore(&next, &rest, visited);
        rest[at] = Work::Done;
        explore(&next, &rest, visited);
    }
}

fn store() -> Store {
    let slots = [(SLOT, SlotState::Available)].into();
    let group = Group {
        not_after: END,
        failed: 0,
        max_failed: 1,
        slots,
    };
    Store {
        version: 0,
        group,
        claims: BTreeSet::new(),
        signed: BTreeSet::new(),
    }
}

fn peer(byte: u8) -> PeerId {
    peer_id(&SigningKey::from_bytes(&[byte; 32]).verifying_key())
}

fn explored(works: &[Work]) -> Vec<(Store, Vec<Work>)> {
    let mut visited = Vec::new();
    explore(&store(), works, &mut visited);
    visited
}

#[test]
fn two_peers_race_for_one_code() {
    let race = [
        Work::Redeem(peer(1), Step::Read),
        Work::Redeem(peer(2), Step::Read),
    ];
    let visited = explored(&race);
    let winners: BTreeSet<_> = visited
        .iter()
        .flat_map(|(store, _)| store.signed.clone())
        .collect();
    assert_eq!(winners.len(), 2, "either may win, in some order");
}

#[test]
fn one_peer_asks_two_leaders() {
    let twice = [
        Work::Redeem(peer(1), Step::Read),
        Work::Redeem(peer(1), Step::Read),
    ];
    let visited = explored(&twice);
    let done = visited
        .iter()
        .filter(|(_, works)| works.iter().all(|work| *work == Work::Done));
    assert!(done.clone().any(|(store, _)| store.signed.len() == 1));
}

#[test]
fn a_use_races_with_a_burn_and_with_the_end() {
    for other in [Work::Fail(None), Work::Expire(None)] {
        let visited = explored(&[
            Work::Redeem(peer(1), Step::Read),
            other,
            Work::Redeem(peer(2), Step::Read),
        ]);
        let final_states: Vec<_> = visited
            .iter()
            .map(|(store, _)| store.group.slots[&SLOT])
            .collect();
        assert!(final_states.contains(&SlotState::Used(Holder::Active(peer(1)))));
        assert!(
            final_states
                .iter()
                .any(|state| matches!(state, SlotState::Burned | SlotState::Expired))
        );
    }
}
