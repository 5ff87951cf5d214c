//! Writes to the objects, and what happens to them by itself.

use super::{Age, At, Event, NAMES, NONE, PeerIs, SlotIs, World};

impl World {
    /// The states after an event.
    pub(super) fn after(&self, event: Event, next: &mut Vec<Self>) {
        let mut after = *self;
        match event {
            Event::End => after.over = true,
            Event::RevokeCode => {
                after.revoked = true;
                after.code_is_written();
            }
            Event::Age => {
                for peer in after.peers.iter_mut().flatten() {
                    let mut older = *self;
                    peer.age = self.older(peer);
                    older.peers = self.peers.map(|other| {
                        let same = other.is_some_and(|other| other.uid == peer.uid);
                        if same { Some(*peer) } else { other }
                    });
                    next.push(older);
                }
                return;
            }
            Event::RevokePeer => {
                return self.after_write(next, |peer| {
                    Some(PeerIs {
                        revoked: true,
                        ..peer
                    })
                });
            }
            Event::DeletePeer => return self.after_write(next, |_| None),
        }
        next.push(after);
    }

    fn after_write(&self, next: &mut Vec<Self>, write: impl Fn(PeerIs) -> Option<PeerIs>) {
        for name in 0..NAMES {
            if let Some(peer) = self.peers[name] {
                let mut after = *self;
                after.write_peer(name, write(peer));
                next.push(after);
            }
        }
    }

    fn older(&self, peer: &PeerIs) -> Age {
        let mut works = self.works.iter();
        let in_a_turn =
            works.any(|work| work.uid == peer.uid && matches!(work.at, At::Swap | At::Late));
        match peer.age {
            Age::Young => Age::Middle,
            Age::Middle if in_a_turn => Age::Middle,
            Age::Middle | Age::Old => Age::Old,
        }
    }

    /// What others have read of the code is not fresh any more.
    pub(super) fn code_is_written(&mut self) {
        for work in &mut self.works {
            work.code_fresh = false;
        }
    }

    /// A Peer is written or deleted; what others have read of it is not fresh any more.
    pub(super) fn write_peer(&mut self, name: usize, peer: Option<PeerIs>) {
        self.peers[name] = peer;
        for work in &mut self.works {
            work.peer_fresh &= usize::from(work.name) != name;
        }
    }

    /// The smallest uid that nobody remembers, so that there are not more states than matter.
    pub(super) fn new_uid(&self) -> u8 {
        let names = |slot: &SlotIs, uid| matches!(slot, SlotIs::Used(_, used) if *used == uid);
        let remembered = |uid: u8| {
            let mut works = self.works.iter();
            let mut answered = self.answered.iter().flatten();
            self.slots.iter().any(|slot| names(slot, uid))
                || works.any(|work| work.uid == uid || names(&work.seen, uid))
                || self.peers.iter().flatten().any(|peer| peer.uid == uid)
                || answered.any(|(_, held)| *held == uid)
        };
        (0..NONE).find(|uid| !remembered(*uid)).unwrap_or(NONE)
    }
}
