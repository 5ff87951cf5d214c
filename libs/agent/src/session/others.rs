//! Who others are to this peer: members, guests of its own, its sponsor, relays; by what they have shown on
//! connections of their own.

use std::collections::BTreeSet;

use peerup_node::ConnectionId;
use peerup_node::member::{self, ConnectError, KnownList, Presented};
use peerup_pairing::membership::{GuestRefusal, Refusal};
use peerup_protocol::id::PeerName;
use peerup_protocol::record::{GuestGrant, MemberRecord, RecordKind, Signed};
use peerup_protocol::{Multiaddr, PeerId};

use super::{Session, lock};
use crate::clock::now;
use crate::membership::{Membership, RelayAt, Standing, as_record};
use crate::status::Role;

/// What ties this peer to another one beside the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bond {
    /// The other one is a guest of this peer.
    Guest,
    /// This peer is a guest of the other one.
    Sponsor,
}

impl Session {
    /// The record that `peer` has shown on a connection of its own, while it holds; none of a relay.
    pub(crate) fn member(&self, peer: &PeerId) -> Option<MemberRecord> {
        let membership = self.membership();
        let admitted = lock(&self.admitted);
        let standing = admitted.get(peer)?;
        match standing {
            Standing::Member(record) if membership.stands(peer, standing, now()) => {
                Some(record.clone())
            }
            Standing::Member(_) | Standing::Guest(_) | Standing::Sponsor | Standing::Relay => None,
        }
    }

    /// What ties `peer` to this one, as it has shown and while it holds.
    pub(crate) fn bond(&self, peer: &PeerId) -> Option<Bond> {
        let membership = self.membership();
        let admitted = lock(&self.admitted);
        let standing = admitted.get(peer)?;
        let bond = match standing {
            Standing::Guest(_) => Bond::Guest,
            Standing::Sponsor => Bond::Sponsor,
            Standing::Member(_) | Standing::Relay => return None,
        };
        let holds = self.still_is(&membership, peer, standing);
        holds.then_some(bond)
    }

    /// Everybody whom this peer may meet: the other members, its guests, its sponsor; the two latter in the words of a
    /// record, which gives them no rights. A guest's name is not looked for where a member has it.
    pub(crate) fn others(&self) -> Vec<MemberRecord> {
        let everybody = self.everybody().into_iter();
        everybody.map(|(_, record)| record).collect()
    }

    /// The same with what each is to this peer.
    pub(super) fn everybody(&self) -> Vec<(Role, MemberRecord)> {
        let members = self.members();
        let sponsor = self.membership().sponsor();
        let taken = self.names();
        let mut guests = self.hosting.guests();
        guests.retain(|grant| {
            let is_member = members.iter().any(|record| record.peer == grant.guest);
            !is_member && !taken.contains(&grant.name)
        });
        let guests = guests.iter().map(|grant| (Role::Guest, as_record(grant)));
        let members = members.into_iter().map(|record| (Role::Member, record));
        let sponsor = sponsor.map(|record| (Role::Sponsor, record));
        members.chain(sponsor).chain(guests).collect()
    }

    /// One of them, who has shown it on a connection of its own.
    pub(crate) fn other(&self, peer: &PeerId) -> Option<MemberRecord> {
        if let Some(record) = self.member(peer) {
            return Some(record);
        }
        self.bond(peer)?;
        let mut others = self.others().into_iter();
        others.find(|record| record.peer == *peer)
    }

    /// Names that no guest gets: this peer's, and those of all members that the roster holds.
    pub(crate) fn names(&self) -> BTreeSet<PeerName> {
        let own = self.membership().record().name.clone();
        let roster = lock(&self.roster);
        roster.names().cloned().chain([own]).collect()
    }

    /// The relays through which `peer` is reached. A guest knows those of its sponsor only.
    pub(crate) fn relays_to(&self, peer: &PeerId) -> Vec<RelayAt> {
        let is_member = self.members().iter().any(|record| record.peer == *peer);
        let is_guest = self
            .hosting
            .guests()
            .iter()
            .any(|grant| grant.guest == *peer);
        let membership = self.membership();
        if is_guest && !is_member {
            membership.my_relays()
        } else {
            membership.relays_of(peer)
        }
    }

    /// Whether a peer that was admitted as `standing` still is that.
    pub(super) fn still_is(
        &self,
        membership: &Membership,
        peer: &PeerId,
        standing: &Standing,
    ) -> bool {
        let listed = match standing {
            Standing::Guest(grant) => self.hosting.holds(grant),
            Standing::Member(_) | Standing::Relay | Standing::Sponsor => true,
        };
        listed && membership.stands(peer, standing, now())
    }

    /// Connects a peer as [`member::connect`] does.
    ///
    /// # Errors
    /// When the peer cannot be reached, or one side does not accept the other.
    pub(crate) async fn connect(
        &self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    ) -> Result<ConnectionId, ConnectError> {
        let connection = member::connect(&self.node, self, peer, addresses).await?;
        self.settle(peer).await;
        Ok(connection)
    }

    /// Lets a peer go that lost its standing while it was being admitted, when there was nobody to let go yet.
    pub(crate) async fn settle(&self, peer: PeerId) {
        let holds = {
            let membership = self.membership();
            let admitted = lock(&self.admitted);
            let standing = admitted.get(&peer);
            standing.is_some_and(|standing| self.still_is(&membership, &peer, standing))
        };
        if !holds {
            lock(&self.admitted).remove(&peer);
            self.node.expel(peer).await;
        }
    }

    fn admit(&self, peer: PeerId, standing: Standing) {
        lock(&self.admitted).insert(peer, standing);
        self.admissions.send_replace(());
    }

    /// The grant of this peer that a guest shows.
    fn check_guest(&self, peer: &PeerId, signed: &Signed) -> Result<GuestGrant, GuestRefusal> {
        let membership = self.membership();
        if !membership.allows_guests() {
            return Err(GuestRefusal::NotAllowed);
        }
        self.hosting.check(signed, peer, membership.revoked())
    }
}

impl member::Membership for Session {
    fn presented(&self) -> Presented {
        let membership = self.membership();
        let revocations = membership.revocations();
        Presented {
            credential: membership.credential().clone(),
            revocations: revocations.map(|(signed, (epoch, issued))| KnownList {
                epoch,
                issued,
                signed: signed.clone(),
            }),
        }
    }

    /// Who only needs to renew is not let in: that is for relays.
    fn check(&self, peer: &PeerId, credential: &Signed) -> Result<member::Standing, Refusal> {
        if RecordKind::of(&credential.bytes) == Some(RecordKind::Guest) {
            let grant = self.check_guest(peer, credential)?;
            self.admit(*peer, Standing::Guest(grant));
            return Ok(member::Standing::Admitted);
        }
        let (standing, newer) = {
            let mut membership = self.membership();
            let before = membership.document_version();
            let standing = membership.check(peer, credential.clone(), now());
            (standing, membership.document_version() != before)
        };
        if newer {
            self.lists_changed();
        }
        self.admit(*peer, standing?);
        Ok(member::Standing::Admitted)
    }

    fn learn(&self, revocations: Signed) -> Result<(), Refusal> {
        self.take_lists(Some(revocations), None)
    }
}

#[cfg(test)]
mod tests;
