//! Hides connections of peers that are not admitted from the behaviours inside.
//!
//! Whether a connection is gated is decided once, when it is established. A
//! gated one gets an empty handler, and the inner behaviours hear neither of
//! its beginning, nor its end, nor of a new address; the numbers of other
//! connections in those events count visible ones only. What the inner
//! behaviours send is checked: `NotifyHandler::Any` becomes the newest visible
//! connection, a message for a hidden connection is dropped and counted. Inner
//! behaviours do not dial: the request is answered with a failure.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p's enums are open; the rest does not concern this file"
)]

mod handler;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    task::{Context, Poll},
};

use libp2p::{
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm,
        NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::ConnectionEstablished,
    },
};
use peerup_protocol::{Multiaddr, PeerId};
use tokio::time::Instant;

use self::handler::GateHandler;
use crate::{
    counters::{Counters, Denial},
    invites::Invites,
    members::{Members, Rank},
};

pub(crate) struct Gate<B> {
    inner: B,
    members: Members,
    /// Guests are visible too, and while somebody has an invite open strangers' inbound connections.
    guests: Option<Invites>,
    counters: Arc<Counters>,
    hidden: HashSet<ConnectionId>,
    /// Visible connections, oldest first.
    visible: HashMap<PeerId, Vec<ConnectionId>>,
}

impl<B: NetworkBehaviour> Gate<B> {
    pub(crate) fn new(inner: B, members: Members, counters: Arc<Counters>) -> Self {
        Self {
            inner,
            members,
            guests: None,
            counters,
            hidden: HashSet::new(),
            visible: HashMap::new(),
        }
    }

    /// Shows the inner behaviour guests, and strangers' inbound connections that begin while an invite is open; it must
    /// know these from members.
    pub(crate) fn with_guests(mut self, invites: Invites) -> Self {
        self.guests = Some(invites);
        self
    }

    pub(crate) fn inner(&self) -> &B {
        &self.inner
    }

    pub(crate) fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// Whether all connections of the peer that begin now are visible.
    fn shows(&self, peer: &PeerId) -> bool {
        match self.members.rank(peer) {
            Some(Rank::Member) => true,
            Some(Rank::Guest) => self.guests.is_some(),
            None => false,
        }
    }

    fn on_established(&mut self, event: ConnectionEstablished) {
        if self.hidden.contains(&event.connection_id) {
            return;
        }
        let visible = self.visible.entry(event.peer_id).or_default();
        let other_established = visible.len();
        visible.push(event.connection_id);
        self.inner
            .on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                other_established,
                ..event
            }));
    }

    fn on_closed(&mut self, event: ConnectionClosed) {
        if self.hidden.remove(&event.connection_id) {
            return;
        }
        let mut remaining_established = 0;
        if let Some(visible) = self.visible.get_mut(&event.peer_id) {
            visible.retain(|id| *id != event.connection_id);
            remaining_established = visible.len();
            if visible.is_empty() {
                self.visible.remove(&event.peer_id);
            }
        }
        self.inner
            .on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                remaining_established,
                ..event
            }));
    }

    /// The inner behaviour's message as it may go out; `None` when it fits no visible connection.
    fn allow(
        &mut self,
        message: ToSwarm<B::ToSwarm, THandlerInEvent<B>>,
    ) -> Option<ToSwarm<B::ToSwarm, THandlerInEvent<B>>> {
        match message {
            ToSwarm::NotifyHandler {
                peer_id,
                handler,
                event,
            } => {
                let connection = match handler {
                    NotifyHandler::Any => self
                        .visible
                        .get(&peer_id)
                        .and_then(|ids| ids.last())
                        .copied(),
                    NotifyHandler::One(id) => (!self.hidden.contains(&id)).then_some(id),
                };
                if connection.is_none() {
                    self.counters.deny(Denial::Misdirected);
                }
                let handler = NotifyHandler::One(connection?);
                Some(ToSwarm::NotifyHandler {
                    peer_id,
                    handler,
                    event,
                })
            }
            ToSwarm::Dial { opts } => {
                self.counters.deny(Denial::Misdirected);
                self.inner
                    .on_swarm_event(FromSwarm::DialFailure(DialFailure {
                        peer_id: opts.get_peer_id(),
                        error: &DialError::NoAddresses,
                        connection_id: opts.connection_id(),
                    }));
                None
            }
            other => Some(other),
        }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Gate<B> {
    type ConnectionHandler = GateHandler<THandler<B>>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner
            .handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let now = Instant::now();
        let is_invited = || self.guests.as_ref().is_some_and(|open| open.any(now));
        if !self.shows(&peer) && !is_invited() {
            self.hidden.insert(id);
            return Ok(GateHandler::Closed);
        }
        self.inner
            .handle_established_inbound_connection(id, peer, local, remote)
            .map(GateHandler::Open)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner
            .handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.shows(&peer) {
            self.hidden.insert(id);
            return Ok(GateHandler::Closed);
        }
        self.inner
            .handle_established_outbound_connection(id, peer, address, role, port_use)
            .map(GateHandler::Open)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(event) => return self.on_established(event),
            FromSwarm::ConnectionClosed(event) => return self.on_closed(event),
            FromSwarm::AddressChange(event) if self.hidden.contains(&event.connection_id) => return,
            // Another behaviour denied the connection after this one had decided.
            FromSwarm::ListenFailure(failure) => {
                self.hidden.remove(&failure.connection_id);
            }
            FromSwarm::DialFailure(failure) => {
                self.hidden.remove(&failure.connection_id);
            }
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while let Poll::Ready(message) = self.inner.poll(cx) {
            if let Some(message) = self.allow(message) {
                return Poll::Ready(message);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
