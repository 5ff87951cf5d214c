//! Opens and closes invites: at this peer's own gate, and at its relays.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use multiaddr::Protocol as Part;
use peerup_node::Multiaddr;
use peerup_pairing::invite::{Offer, OpenError};
use peerup_protocol::UnixTime;
use peerup_protocol::code::MAX_ADDRESSES;
use peerup_protocol::frame::InviteAnswer;
use peerup_protocol::id::{GroupId, PeerName};
use peerup_protocol::secret::{Secret, SecretText};
use tokio::time::Instant;

use super::relays;
use crate::address;
use crate::clock::now;
use crate::handle::PeerError;
use crate::membership::RelayAt;
use crate::session::Session;
use crate::shared::Shared;
use crate::state::StateError;

/// An invite that has just been opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// What it is called when it is asked for; of no use to a guest.
    pub id: GroupId,
    /// The code for the guest.
    pub code: SecretText,
    /// When it ends.
    pub ends: UnixTime,
}

/// Why there is no invite, or a guest stays.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// There is no membership at present.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// Pods sponsor nobody.
    #[error("a pod invites nobody; invite from a laptop that is a member")]
    Pod,
    /// Guests sponsor nobody.
    #[error("this peer is a guest itself, and only members invite")]
    Guest,
    /// The network has no guests.
    #[error(
        "the network allows no guests; whoever owns its PeerNetwork has to set spec.pairing.guests to Enabled"
    )]
    NotAllowed,
    /// Too many are open, or not a time that an invite may live.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No relay lets strangers through to this peer.
    #[error("no relay of this peer takes the invite: {0}")]
    NoRelay(&'static str),
    /// No guest has the name.
    #[error("no guest of this peer is called {0}; see peerup peers")]
    NoGuest(PeerName),
    /// The change can't be stored.
    #[error("the change is not kept: {0}")]
    NotKept(#[from] StateError),
}

/// Opens an invite for so many seconds. It is registered with a relay at least when this returns.
pub(crate) async fn invite(shared: &Shared, ttl: u64) -> Result<Invitation, InviteError> {
    let session = shared.session()?;
    {
        let membership = session.membership();
        let is_guest = membership.hosted().is_some();
        may_invite(session.is_pod(), is_guest, membership.allows_guests())?;
    }
    let (group, secret) = (GroupId(rand::random()), Secret::new(rand::random()));
    let ends = session.hosting.open(group, secret.clone(), ttl)?;
    apply(&session).await;
    let addresses = match registered(&session, group, ends).await {
        Ok(addresses) => addresses,
        Err(error) => {
            session.hosting.cancel(&group);
            apply(&session).await;
            return Err(error);
        }
    };
    let membership = session.membership();
    let offer = Offer {
        net: membership.net(),
        namespace: membership.namespace().clone(),
        inviter: session.me(),
        group,
        secret,
        not_after: ends,
        addresses,
    };
    Ok(Invitation {
        id: group,
        code: offer.into_code().to_text(),
        ends,
    })
}

fn may_invite(is_pod: bool, is_guest: bool, allowed: bool) -> Result<(), InviteError> {
    match (is_pod, is_guest, allowed) {
        (true, _, _) => Err(InviteError::Pod),
        (_, true, _) => Err(InviteError::Guest),
        (_, _, false) => Err(InviteError::NotAllowed),
        (false, false, true) => Ok(()),
    }
}

/// Closes an invite that was not used; false if there was nothing to close.
pub(crate) async fn withdraw(shared: &Shared, group: &GroupId) -> Result<bool, PeerError> {
    let session = shared.session()?;
    let closed = session.hosting.close(group);
    apply(&session).await;
    Ok(closed)
}

/// Takes back a guest's grant and closes its connections.
pub(crate) async fn revoke(shared: &Shared, name: &PeerName) -> Result<(), InviteError> {
    let session = shared.session()?;
    let revoked = session.hosting.revoke(name).await;
    session.sweep().await;
    session.surroundings_changed();
    match revoked {
        Ok(true) => Ok(()),
        Ok(false) => Err(InviteError::NoGuest(name.clone())),
        Err(error) => Err(error.into()),
    }
}

/// Opens this peer's gate for strangers as long as an invite waits, and wakes those who tell the relays.
pub(super) async fn apply(session: &Session) {
    let last = session.hosting.waiting().into_values().max();
    let until = last.map(|end| Instant::now() + Duration::from_secs(end.saturating_sub(now())));
    session.node.invite(session.me(), until).await;
    session.hosting.tell_changed();
    session.surroundings_changed();
}

/// Registers an invite with the relays that hold a reservation, and gives the ways through them.
async fn registered(
    session: &Arc<Session>,
    group: GroupId,
    until: UnixTime,
) -> Result<Vec<Multiaddr>, InviteError> {
    let snapshot = session.node.snapshot().await;
    let reserved = snapshot.map(|known| known.reservations).unwrap_or_default();
    let mut relays = session.membership().my_relays();
    relays.retain(|relay| reserved.contains(&relay.peer));
    let asked = relays.iter().map(|relay| async move {
        let answer = relays::register(session, relay.peer, group, until).await;
        (relay, answer)
    });
    let answers = join_all(asked).await;
    let taken = |answer: &Option<InviteAnswer>| *answer == Some(InviteAnswer::Registered);
    let ways = answers.iter().filter(|(_, answer)| taken(answer));
    let ways: Vec<_> = ways.map(|(relay, _)| circuits(relay)).collect();
    let addresses = alternate(ways, MAX_ADDRESSES);
    if addresses.is_empty() {
        return Err(InviteError::NoRelay(why(&answers)));
    }
    Ok(addresses)
}

fn why(answers: &[(&RelayAt, Option<InviteAnswer>)]) -> &'static str {
    let said = |wanted| answers.iter().any(|(_, answer)| *answer == Some(wanted));
    match () {
        () if said(InviteAnswer::Registered) => "none has an address for others",
        () if said(InviteAnswer::Full) => {
            "as many invites are open there as may be; try again later"
        }
        () if said(InviteAnswer::Refused) => {
            "the relay does not know yet that the network allows guests; try again"
        }
        () => "none is connected; see the relays in peerup status",
    }
}

/// Ways to this peer through the relay, for somebody outside.
fn circuits(relay: &RelayAt) -> Vec<Multiaddr> {
    let addresses = address::dialable(&relay.addresses, false).into_iter();
    addresses
        .map(|address| address.with(Part::P2p(relay.peer)).with(Part::P2pCircuit))
        .collect()
}

/// The first of each relay, then the second ones …
fn alternate(mut ways: Vec<Vec<Multiaddr>>, max: usize) -> Vec<Multiaddr> {
    let mut chosen = Vec::new();
    ways.iter_mut().for_each(|way| way.reverse());
    while chosen.len() < max && ways.iter().any(|way| !way.is_empty()) {
        chosen.extend(ways.iter_mut().filter_map(Vec::pop));
    }
    chosen.truncate(max);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_outside_invite_where_guests_are_allowed() {
        assert!(matches!(
            may_invite(true, false, true),
            Err(InviteError::Pod)
        ));
        assert!(matches!(
            may_invite(false, true, true),
            Err(InviteError::Guest)
        ));
        let refused = may_invite(false, false, false).unwrap_err();
        assert!(
            refused.to_string().contains("spec.pairing.guests"),
            "{refused}"
        );
        may_invite(false, false, true).unwrap();
    }

    #[test]
    fn each_relay_has_a_way_in_the_code() {
        let way = |host: u8, count: u16| -> Vec<Multiaddr> {
            let all = (1..=count).map(|port| format!("/ip4/10.0.0.{host}/tcp/{port}"));
            all.map(|text| text.parse().unwrap()).collect()
        };
        let chosen = alternate(vec![way(1, 9), way(2, 2)], 4);
        let texts: Vec<_> = chosen.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "/ip4/10.0.0.1/tcp/1",
                "/ip4/10.0.0.2/tcp/1",
                "/ip4/10.0.0.1/tcp/2",
                "/ip4/10.0.0.2/tcp/2",
            ]
        );
        assert_eq!(alternate(Vec::new(), 4), []);
        assert_eq!(alternate(vec![way(1, 9)], 8).len(), 8);
    }
}
