//! The relay server with exact books: which connection holds a peer's
//! reservation, how many circuits there are.
//!
//! A new reservation closes the peer's older connections: after a crash the
//! relay would otherwise pick a dead one for circuits. The relay's events name
//! no connection, and it reports the end of a circuit twice when the
//! destination's connection closes, so this drains its queue after each input
//! and knows which input caused what.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p's enums are open; the rest does not concern this file"
)]

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use libp2p::{
    core::{Endpoint, transport::PortUse},
    relay,
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};
use peerup_protocol::{Multiaddr, PeerId};

use crate::counters::{Counters, Denial};

type Message = ToSwarm<relay::Event, THandlerInEvent<relay::Behaviour>>;

pub(crate) struct Circuits {
    relay: relay::Behaviour,
    counters: Arc<Counters>,
    /// Direct connections, oldest first.
    connections: HashMap<PeerId, Vec<ConnectionId>>,
    /// The connection that holds the peer's reservation.
    reservations: HashMap<PeerId, ConnectionId>,
    circuits: usize,
    queue: VecDeque<Message>,
    waker: Option<Waker>,
}

/// What made the relay say something.
#[derive(Clone, Copy)]
enum Cause {
    Handler(PeerId, ConnectionId),
    Closed(PeerId),
    Other,
}

impl Circuits {
    pub(crate) fn new(mut relay: relay::Behaviour, counters: Arc<Counters>) -> Self {
        // Without this it serves only while an external address is confirmed.
        relay.set_status(Some(relay::Status::Enable));
        Self {
            relay,
            counters,
            connections: HashMap::new(),
            reservations: HashMap::new(),
            circuits: 0,
            queue: VecDeque::new(),
            waker: None,
        }
    }

    pub(crate) fn reservations(&self) -> impl Iterator<Item = PeerId> {
        self.reservations.keys().copied()
    }

    pub(crate) fn circuits(&self) -> usize {
        self.circuits
    }

    fn drain(&mut self, cause: Cause) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(message) = self.relay.poll(&mut cx) {
            if let ToSwarm::GenerateEvent(event) = &message {
                self.on_event(event, cause);
            }
            self.queue.push_back(message);
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn on_event(&mut self, event: &relay::Event, cause: Cause) {
        match (event, cause) {
            (
                relay::Event::ReservationReqAccepted { renewed, .. },
                Cause::Handler(peer, connection),
            ) => {
                self.on_reserved(peer, connection, *renewed);
            }
            (relay::Event::ReservationTimedOut { .. }, Cause::Handler(peer, connection)) => {
                self.release(peer, connection);
            }
            (relay::Event::ReservationReqDenied { .. }, _) => {
                self.counters.deny(Denial::Reservation)
            }
            (relay::Event::CircuitReqDenied { .. }, _) => self.counters.deny(Denial::Circuit),
            (relay::Event::CircuitReqAccepted { .. }, _) => self.circuits += 1,
            // The source's handler reports the end again when only the destination is gone.
            (relay::Event::CircuitClosed { src_peer_id, .. }, Cause::Closed(peer))
                if *src_peer_id != peer => {}
            (relay::Event::CircuitClosed { .. }, _) => {
                self.circuits = self.circuits.saturating_sub(1);
            }
            _ => {}
        }
    }

    /// One reservation a peer, on its newest connection: closes the older ones and the former holder.
    fn on_reserved(&mut self, peer_id: PeerId, connection: ConnectionId, renewed: bool) {
        let former = self
            .reservations
            .insert(peer_id, connection)
            .filter(|id| *id != connection);
        if renewed {
            return;
        }
        let known = self.connections.get(&peer_id).into_iter().flatten();
        let older = known.take_while(|id| **id != connection).copied();
        let stale: BTreeSet<_> = older.chain(former).collect();
        for id in stale {
            let connection = CloseConnection::One(id);
            self.queue.push_back(ToSwarm::CloseConnection {
                peer_id,
                connection,
            });
        }
    }

    fn release(&mut self, peer: PeerId, connection: ConnectionId) {
        if self.reservations.get(&peer) == Some(&connection) {
            self.reservations.remove(&peer);
        }
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId) {
        self.release(peer, connection);
        if let Some(ids) = self.connections.get_mut(&peer) {
            ids.retain(|id| *id != connection);
            if ids.is_empty() {
                self.connections.remove(&peer);
            }
        }
    }
}

impl NetworkBehaviour for Circuits {
    type ConnectionHandler = THandler<relay::Behaviour>;
    type ToSwarm = relay::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.relay
            .handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.relay
            .handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.relay.on_swarm_event(event);
        let cause = match event {
            FromSwarm::ConnectionEstablished(event) => {
                self.connections
                    .entry(event.peer_id)
                    .or_default()
                    .push(event.connection_id);
                Cause::Other
            }
            FromSwarm::ConnectionClosed(event) => {
                self.on_closed(event.peer_id, event.connection_id);
                Cause::Closed(event.peer_id)
            }
            _ => Cause::Other,
        };
        self.drain(cause);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.relay.on_connection_handler_event(peer, id, event);
        self.drain(Cause::Handler(peer, id));
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(message) = self.queue.pop_front() {
            return Poll::Ready(message);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
