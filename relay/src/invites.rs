//! The invites that members have open, as they told this relay (pure). Which groups they are does not matter here:
//! an inviter may have several, and is reached while one of them is open.

use std::collections::BTreeMap;

use peerup_pairing::invite::{MAX_INVITES, MAX_TTL_SECONDS};
use peerup_protocol::frame::{InviteAnswer, InviteRegistration};
use peerup_protocol::id::GroupId;
use peerup_protocol::{PeerId, UnixTime};

/// Of all members.
const MAX: usize = 256;
/// An inviter's clock may run ahead by so much; its invite still ends by ours.
const SKEW_SECONDS: u64 = 60;

/// Open invites.
#[derive(Debug, Default)]
pub(crate) struct Invites(BTreeMap<(PeerId, GroupId), UnixTime>);

impl Invites {
    /// Takes a registration; a time that is over takes the invite back.
    pub(crate) fn register(
        &mut self,
        peer: PeerId,
        registration: InviteRegistration,
        now: UnixTime,
    ) -> InviteAnswer {
        self.0.retain(|_, until| *until > now);
        let InviteRegistration { group, until } = registration;
        let latest = now.saturating_add(MAX_TTL_SECONDS);
        if until <= now {
            self.0.remove(&(peer, group));
            return InviteAnswer::Registered;
        }
        if until > latest.saturating_add(SKEW_SECONDS) {
            return InviteAnswer::Refused;
        }
        let is_known = self.0.contains_key(&(peer, group));
        let of_peer = self.0.keys().filter(|(other, _)| *other == peer).count();
        if !is_known && (of_peer >= MAX_INVITES || self.0.len() >= MAX) {
            return InviteAnswer::Full;
        }
        self.0.insert((peer, group), until.min(latest));
        InviteAnswer::Registered
    }

    /// When the last invite of a peer ends; `None` when none is open.
    pub(crate) fn until(&self, peer: &PeerId, now: UnixTime) -> Option<UnixTime> {
        let of_peer = self.0.iter().filter(|((other, _), _)| other == peer);
        of_peer
            .map(|(_, until)| *until)
            .filter(|until| *until > now)
            .max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = 1_800_000_000;

    fn registration(group: u8, until: UnixTime) -> InviteRegistration {
        InviteRegistration {
            group: GroupId([group; 8]),
            until,
        }
    }

    #[test]
    fn a_peer_is_reached_until_its_last_invite_ends() {
        let (peer, other) = (PeerId::random(), PeerId::random());
        let mut invites = Invites::default();
        for (group, seconds) in [(1, 600), (2, 300)] {
            let registration = registration(group, NOW + seconds);
            let answer = invites.register(peer, registration, NOW);
            assert_eq!(answer, InviteAnswer::Registered);
        }
        assert_eq!(invites.until(&peer, NOW), Some(NOW + 600));
        assert_eq!(invites.until(&other, NOW), None);
        invites.register(peer, registration(1, 0), NOW);
        assert_eq!(invites.until(&peer, NOW), Some(NOW + 300));
        assert_eq!(invites.until(&peer, NOW + 300), None);
    }

    #[test]
    fn ten_minutes_are_the_most() {
        let peer = PeerId::random();
        let mut invites = Invites::default();
        let answer = invites.register(peer, registration(1, NOW + 661), NOW);
        assert_eq!(answer, InviteAnswer::Refused);
        assert_eq!(invites.until(&peer, NOW), None);
        let answer = invites.register(peer, registration(1, NOW + 660), NOW);
        assert_eq!(answer, InviteAnswer::Registered);
        assert_eq!(invites.until(&peer, NOW), Some(NOW + 600), "by our clock");
        let answer = invites.register(peer, registration(1, u64::MAX), NOW);
        assert_eq!(answer, InviteAnswer::Refused);
    }

    #[test]
    fn a_peer_has_eight_and_all_have_two_hundred_fifty_six() {
        let mut invites = Invites::default();
        for _ in 0..MAX / MAX_INVITES {
            let peer = PeerId::random();
            for group in 0..MAX_INVITES as u8 {
                let answer = invites.register(peer, registration(group, NOW + 60), NOW);
                assert_eq!(answer, InviteAnswer::Registered);
            }
            let ninth = invites.register(peer, registration(99, NOW + 60), NOW);
            assert_eq!(ninth, InviteAnswer::Full);
            let longer = invites.register(peer, registration(0, NOW + 90), NOW);
            assert_eq!(longer, InviteAnswer::Registered, "it is there already");
        }
        let one_more = invites.register(PeerId::random(), registration(1, NOW + 90), NOW);
        assert_eq!(one_more, InviteAnswer::Full);
        let later = invites.register(PeerId::random(), registration(1, NOW + 150), NOW + 60);
        assert_eq!(later, InviteAnswer::Registered, "ended ones are gone");
    }
}
