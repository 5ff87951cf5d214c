//! The relay server with exact books: which connection holds a peer's
//! reservation, how many circuits there are, and limits that may change.
//!
//! A new reservation closes the peer's older connections: after a crash the
//! relay would otherwise pick a dead one for circuits. The relay's events name
//! no connection, and it reports the end of a circuit twice when the
//! destination's connection closes, so this drains its queue after each input
//! and knows which input caused what.
//!
//! Strangers are here only while a member has an invite open, for one circuit
//! to such a member. libp2p's limits do not see where a circuit leads, its
//! answer does: one that leads elsewhere is dropped, and whoever asked is reset,
//! whether the destination is there or not.
//!
//! Numbers of reservations and circuits change at once. How long a circuit
//! lasts and what it carries is fixed in the handler of the connection that
//! opens it: connections that begin later have the new values.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p's enums are open; the rest does not concern this file"
)]

mod books;
mod config;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use libp2p::{
    core::{Endpoint, transport::PortUse},
    relay,
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour,
        NotifyHandler, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};
use peerup_protocol::{Multiaddr, PeerId};
use tokio::time::Instant;

use self::books::{Books, Caller, Maxima, Opening};
use crate::{
    config::RelayLimits,
    counters::{Counters, Denial},
    invites::Invites,
    members::Members,
    probation::behaviour::SharedPools,
};

type Message = ToSwarm<relay::Event, THandlerInEvent<relay::Behaviour>>;

pub(crate) struct Circuits {
    id: PeerId,
    relay: relay::Behaviour,
    /// Make the handlers of connections.
    for_members: relay::Behaviour,
    for_guests: relay::Behaviour,
    members: Members,
    invites: Invites,
    books: Arc<Mutex<Books>>,
    counters: Arc<Counters>,
    /// Direct connections, oldest first.
    connections: HashMap<PeerId, Vec<ConnectionId>>,
    /// Whose connection it is.
    owners: HashMap<ConnectionId, PeerId>,
    queue: VecDeque<Message>,
    waker: Option<Waker>,
}

/// Who may do what.
pub(crate) struct Who {
    pub(crate) members: Members,
    pub(crate) invites: Invites,
    pub(crate) pools: SharedPools,
}

/// What made the relay say something.
#[derive(Clone, Copy)]
enum Cause {
    Handler(PeerId, ConnectionId),
    Closed(PeerId),
    Other,
}

impl Circuits {
    pub(crate) fn new(id: PeerId, limits: &RelayLimits, who: Who, counters: Arc<Counters>) -> Self {
        let Who {
            members,
            invites,
            pools,
        } = who;
        let books = Arc::new(Mutex::new(Books::new(config::maxima(limits))));
        Self {
            id,
            relay: config::relay(id, &members, &pools, &books),
            for_members: config::for_members(id, limits),
            for_guests: config::for_guests(id, limits),
            members,
            invites,
            books,
            counters,
            connections: HashMap::new(),
            owners: HashMap::new(),
            queue: VecDeque::new(),
            waker: None,
        }
    }

    /// Replaces the limits; nothing that is granted is taken back.
    pub(crate) fn limit(&mut self, limits: &RelayLimits) {
        lock(&self.books).maxima = config::maxima(limits);
        self.for_members = config::for_members(self.id, limits);
        self.for_guests = config::for_guests(self.id, limits);
    }

    pub(crate) fn reservations(&self) -> Vec<PeerId> {
        lock(&self.books).holders().collect()
    }

    pub(crate) fn circuits(&self) -> usize {
        lock(&self.books).circuits()
    }

    fn drain(&mut self, cause: Cause) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(message) = self.relay.poll(&mut cx) {
            let stands = match &message {
                ToSwarm::GenerateEvent(event) => {
                    self.on_event(event, cause);
                    true
                }
                ToSwarm::NotifyHandler {
                    handler: NotifyHandler::One(to),
                    ..
                } => self.on_answer(*to, cause),
                _ => true,
            };
            if stands {
                self.queue.push_back(message);
            }
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The relay's answer to a request: a circuit is granted when it goes to another connection than it came from.
    /// False when the answer is not to be given.
    fn on_answer(&mut self, to: ConnectionId, cause: Cause) -> bool {
        let Cause::Handler(_, from) = cause else {
            return true;
        };
        let mut books = lock(&self.books);
        let Some(caller) = books.has_passed() else {
            return true;
        };
        let destination = self.owners.get(&to).copied().filter(|_| to != from);
        let stands = match caller {
            Caller::Member => true,
            Caller::Guest => {
                destination.is_some_and(|peer| self.invites.is_open(&peer, Instant::now()))
            }
        };
        if !stands {
            self.counters.deny(Denial::Circuit);
        } else if let Some(destination) = destination {
            books.opening(Opening {
                from,
                to,
                destination,
            });
        }
        stands
    }

    #[expect(
        deprecated,
        reason = "the only word on circuits that did not come about"
    )]
    fn on_event(&mut self, event: &relay::Event, cause: Cause) {
        let mut books = lock(&self.books);
        match (event, cause) {
            (
                relay::Event::ReservationReqAccepted { renewed, .. },
                Cause::Handler(peer, connection),
            ) => {
                let former = books.reserved(peer, connection);
                drop(books);
                if !*renewed {
                    self.close_older(peer, connection, former);
                }
            }
            (
                relay::Event::ReservationTimedOut { .. }
                | relay::Event::ReservationReqAcceptFailed { .. },
                Cause::Handler(peer, connection),
            ) => books.release(peer, connection),
            (relay::Event::ReservationReqDenied { .. }, _) => {
                self.counters.deny(Denial::Reservation)
            }
            (relay::Event::CircuitReqDenied { .. }, _) => self.counters.deny(Denial::Circuit),
            (
                relay::Event::CircuitReqAccepted { dst_peer_id, .. },
                Cause::Handler(_, connection),
            ) => books.opened(connection, *dst_peer_id),
            (
                relay::Event::CircuitReqOutboundConnectFailed { dst_peer_id, .. }
                | relay::Event::CircuitReqAcceptFailed { dst_peer_id, .. },
                Cause::Handler(_, connection),
            ) => books.failed(connection, *dst_peer_id),
            // The source's handler reports the end again when only the destination is gone.
            (relay::Event::CircuitClosed { src_peer_id, .. }, Cause::Closed(peer))
                if *src_peer_id != peer => {}
            (relay::Event::CircuitClosed { .. }, _) => books.ended(),
            _ => {}
        }
    }

    /// One reservation a peer, on its newest connection: closes the older ones and the former holder.
    fn close_older(
        &mut self,
        peer_id: PeerId,
        connection: ConnectionId,
        former: Option<ConnectionId>,
    ) {
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

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId) {
        lock(&self.books).closed(peer, connection);
        self.owners.remove(&connection);
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
        let maker = if self.members.contains(&peer) {
            &mut self.for_members
        } else {
            &mut self.for_guests
        };
        maker.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.for_members
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
                self.owners.insert(event.connection_id, event.peer_id);
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
        lock(&self.books).asking = Some(id);
        self.relay.on_connection_handler_event(peer, id, event);
        lock(&self.books).asking = None;
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

fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}
