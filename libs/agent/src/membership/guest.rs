//! A guest's side: the grant in place of a record, and whom it accepts.

use peerup_node::pair::relays_of_invite;
use peerup_pairing::invite::Invited;
use peerup_pairing::membership::{Refusal, check_sponsor};
use peerup_protocol::code::Code;
use peerup_protocol::id::PeerName;
use peerup_protocol::record::{GuestGrant, MemberRecord, Method};
use peerup_protocol::{PeerId, UnixTime};

use super::{Known, Membership, Standing};

/// Whose guest this peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosted {
    /// The grant.
    pub grant: GuestGrant,
    /// The sponsor's own name.
    pub sponsor: PeerName,
}

impl Hosted {
    /// The sponsor and the relays of the code, by the identities that their connections prove. What they show does not
    /// matter: a guest can't check it.
    pub(super) fn check(
        &self,
        peer: &PeerId,
        is_relay: bool,
        now: UnixTime,
    ) -> Result<Standing, Refusal> {
        if is_relay {
            return Ok(Standing::Relay);
        }
        check_sponsor(&self.grant, peer, now)?;
        Ok(Standing::Sponsor)
    }

    /// What the grant says of the guest, in the words of a record.
    pub(super) fn as_record(&self) -> MemberRecord {
        as_record(&self.grant)
    }

    /// The sponsor, in the words of a record: a guest knows its identity and its name, and nobody vouches for it.
    fn sponsor(&self) -> MemberRecord {
        MemberRecord {
            peer: self.grant.sponsor,
            name: self.sponsor.clone(),
            ..as_record(&self.grant)
        }
    }
}

/// A guest, in the words of a record, for those who look for a name. It gives no rights: those are by
/// [`Standing::Guest`].
pub(crate) fn as_record(grant: &GuestGrant) -> MemberRecord {
    MemberRecord {
        net: grant.net,
        serial: grant.serial,
        peer: grant.guest,
        name: grant.name.clone(),
        subject: String::new(),
        method: Method::Code,
        issued: grant.issued,
        not_after: grant.not_after,
    }
}

impl Membership {
    /// A guest's, as it comes out of the handshake with its inviter, which has checked the grant.
    #[must_use]
    pub fn guest(me: PeerId, code: &Code, invited: Invited) -> Self {
        let Invited {
            inviter,
            grant,
            signed,
        } = invited;
        let hosted = Hosted {
            grant,
            sponsor: inviter,
        };
        Self {
            me,
            net: hosted.grant.net,
            key: None,
            namespace: code.namespace.clone(),
            own: Known {
                signed,
                content: hosted.as_record(),
            },
            hosted: Some(hosted),
            code_relays: relays_of_invite(code),
            revocations: None,
            document: None,
        }
    }

    /// Whose guest this peer is; none of a member.
    #[must_use]
    pub const fn hosted(&self) -> Option<&Hosted> {
        self.hosted.as_ref()
    }

    /// The sponsor of this peer, in the words of a record; none of a member.
    #[must_use]
    pub fn sponsor(&self) -> Option<MemberRecord> {
        self.hosted.as_ref().map(Hosted::sponsor)
    }
}

#[cfg(test)]
mod tests {
    use peerup_pairing::invite::Offer;
    use peerup_pairing::membership::GuestRefusal;
    use peerup_protocol::SigningKey;
    use peerup_protocol::id::{DhtNamespace, GroupId, NetworkId, Serial, peer_id};
    use peerup_protocol::record::{NetworkDocument, Signed};
    use peerup_protocol::secret::Secret;

    use super::*;
    use crate::membership::{Stored, StoredError};

    const NOW: UnixTime = 1500;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&[byte; 32])
    }

    fn peer(byte: u8) -> PeerId {
        peer_id(&key(byte).verifying_key())
    }

    fn net() -> NetworkId {
        NetworkId::of(&key(1).verifying_key())
    }

    /// Peer 3, guest of peer 4 through relay 2, until 2000; the grant is signed by `signer`.
    fn guest(signer: u8) -> Membership {
        let grant = GuestGrant {
            net: net(),
            serial: Serial(1),
            sponsor: peer(4),
            guest: peer(3),
            name: PeerName::parse("laptop").unwrap(),
            issued: 1000,
            not_after: 2000,
        };
        let circuit = format!("/ip4/203.0.113.50/tcp/4001/p2p/{}/p2p-circuit", peer(2));
        let offer = Offer {
            net: net(),
            namespace: DhtNamespace::parse("crew").unwrap(),
            inviter: peer(4),
            group: GroupId([5; 8]),
            secret: Secret::new([9; 16]),
            not_after: 1600,
            addresses: vec![circuit.parse().unwrap()],
        };
        let invited = Invited {
            inviter: PeerName::parse("home").unwrap(),
            signed: Signed::sign(&key(signer), grant.encode()),
            grant,
        };
        Membership::guest(peer(3), &offer.into_code(), invited)
    }

    /// What anybody could have got from the network.
    fn document() -> Signed {
        let document = NetworkDocument {
            net: net(),
            epoch: 1,
            issued: 1000,
            namespace: DhtNamespace::parse("crew").unwrap(),
            cluster: "local".to_owned(),
            flags: peerup_protocol::record::Flags::default(),
            relays: Vec::new(),
            access: Vec::new(),
        };
        Signed::sign(&key(1), document.encode())
    }

    #[test]
    fn a_guest_accepts_its_sponsor_and_the_relays_of_its_code() {
        let mut guest = guest(4);
        let mut check = |of: u8, now| guest.check(&peer(of), document(), now);
        assert_eq!(check(4, NOW), Ok(Standing::Sponsor));
        assert_eq!(check(2, NOW), Ok(Standing::Relay));
        let other = Refusal::Guest(GuestRefusal::OtherSponsor);
        assert_eq!(check(5, NOW), Err(other));
        let over = Refusal::Guest(GuestRefusal::Expired);
        assert_eq!(check(4, 2000), Err(over));
        assert!(!guest.stands(&peer(4), &Standing::Sponsor, 2000));
        let relays: Vec<_> = guest
            .relays_of(&peer(4))
            .into_iter()
            .map(|at| at.peer)
            .collect();
        assert_eq!(relays, [peer(2)]);
    }

    #[test]
    fn a_guest_takes_no_lists() {
        let mut guest = guest(4);
        assert_eq!(guest.take_document(document(), NOW), Ok(false));
        assert_eq!(guest.take_revocations(document(), NOW), Ok(false));
        assert!(guest.document().is_none() && !guest.allows_guests());
    }

    #[test]
    fn a_stored_grant_is_checked_again() {
        let restore = |guest: &Membership, me: u8, now| {
            let text = serde_json::to_string(&Stored::of(guest)).unwrap();
            let stored: Stored = serde_json::from_str(&text).unwrap();
            assert_eq!(stored.net().unwrap(), net());
            stored.restore(peer(me), now)
        };
        assert_eq!(restore(&guest(4), 3, NOW).unwrap(), guest(4));
        let over = restore(&guest(4), 3, 2000).unwrap();
        assert!(!over.holds(2000));
        for (forged, me) in [(guest(5), 3), (guest(4), 6)] {
            let refused = restore(&forged, me, NOW);
            assert!(
                matches!(refused, Err(StoredError::Refused(Refusal::Guest(_)))),
                "{refused:?}"
            );
        }
    }
}
