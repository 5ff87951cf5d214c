//! Streams of our own protocols: opened on the best connection, handed over in
//! order, never dropped because many come at once.
//!
//! Inbound streams wait in their connection's handler until the node's event
//! queue has room, so a reader that is slow slows the remote; over
//! [`MAX_WAITING`] on one connection, or [`MAX_PER_PEER`] open of one peer,
//! they are reset and counted.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p's enums are open; the rest does not concern this file"
)]

mod handler;

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use libp2p::{
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};
use peerup_protocol::{Multiaddr, PeerId, service::ServiceName};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::PollSender;

use self::handler::{Open, StreamHandler};
use crate::{
    counters::Counters,
    event::{Event, Origin},
    invites::OwnInvite,
    members::{Members, Rank},
    node::OpenError,
    protocol::{Offers, Protocol, TooManyServices},
    stream::{Slots, Stream, Via},
};

/// Inbound streams that wait for the reader on one connection.
const MAX_WAITING: usize = 256;
/// Inbound streams that one peer may have open.
const MAX_PER_PEER: usize = 512;
/// Requests that wait in one connection's handler.
const MAX_REQUESTED: usize = 256;

pub(crate) type OpenReply = oneshot::Sender<Result<Stream, OpenError>>;

/// Which connection to open a stream on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Peer(PeerId),
    Connection(ConnectionId),
}

/// One established connection.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    pub(crate) peer: PeerId,
    pub(crate) origin: Origin,
    /// The relay of a circuit.
    pub(crate) relay: Option<PeerId>,
    /// Whether the peer was admitted when it was established.
    pub(crate) full: bool,
    /// Held by its handler, and by each of its streams.
    via: Weak<Via>,
}

impl Link {
    /// Streams that are open here: not those that are being negotiated.
    pub(crate) fn streams(&self) -> usize {
        self.via.strong_count().saturating_sub(1)
    }
}

pub(crate) struct Streams {
    offers: Offers,
    members: Members,
    /// This peer's own, which strangers may answer while it is open.
    invite: OwnInvite,
    events: mpsc::Sender<Event>,
    counters: Arc<Counters>,
    /// Established connections, oldest first.
    links: HashMap<PeerId, Vec<Link>>,
    slots: HashMap<PeerId, Slots>,
    /// Connections whose handler is made and that are not established yet: gated or not.
    fresh: HashMap<ConnectionId, (bool, Weak<Via>)>,
    queue: VecDeque<ToSwarm<Infallible, Open>>,
    waker: Option<Waker>,
}

impl Streams {
    pub(crate) fn new(
        offers: Offers,
        members: Members,
        invite: OwnInvite,
        events: mpsc::Sender<Event>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            offers,
            members,
            invite,
            events,
            counters,
            links: HashMap::new(),
            slots: HashMap::new(),
            fresh: HashMap::new(),
            queue: VecDeque::new(),
            waker: None,
        }
    }

    /// Opens a stream; the answer goes to `reply`.
    pub(crate) fn open(&mut self, target: Target, protocol: &Protocol, reply: OpenReply) {
        let Some(name) = self.offers.name(protocol) else {
            return;
        };
        let Some(link) = self.choose(target, protocol) else {
            let _ = reply.send(Err(OpenError::NotConnected));
            return;
        };
        self.queue.push_back(ToSwarm::NotifyHandler {
            peer_id: link.peer,
            handler: NotifyHandler::One(link.id),
            event: Open { name, reply },
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Exposes these services and no others.
    pub(crate) fn expose(&self, services: Vec<ServiceName>) -> Result<(), TooManyServices> {
        self.offers.expose(services)
    }

    /// All established connections.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values().flatten()
    }

    /// The established connections to `peer`, oldest first.
    pub(crate) fn links_to(&self, peer: &PeerId) -> &[Link] {
        self.links.get(peer).map_or(&[], Vec::as_slice)
    }

    /// The circuits through `relay`, if no connection to it is left.
    pub(crate) fn orphans(&self, relay: &PeerId) -> Vec<ConnectionId> {
        if self.links_to(relay).iter().any(|l| !l.origin.relayed) {
            return Vec::new();
        }
        let circuits = self.links().filter(|l| l.relay == Some(*relay));
        circuits.map(|l| l.id).collect()
    }

    /// The connection that `protocol` should use: direct before relayed, newest first.
    fn choose(&self, target: Target, protocol: &Protocol) -> Option<&Link> {
        match target {
            Target::Connection(id) => self.links().find(|link| link.id == id),
            Target::Peer(peer) => best(
                self.links_to(&peer)
                    .iter()
                    .filter(|l| l.full || protocol.before_admission()),
            ),
        }
    }

    fn handler(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        endpoint: &ConnectedPoint,
    ) -> StreamHandler {
        let rank = self.members.rank(&peer);
        let full = rank.is_some();
        let via = Arc::new(Via {
            peer,
            connection: id,
            origin: Origin::of(endpoint),
        });
        self.fresh.insert(id, (full, Arc::downgrade(&via)));
        let slots = self
            .slots
            .entry(peer)
            .or_insert_with(|| Slots::new(MAX_PER_PEER))
            .clone();
        StreamHandler::new(
            via,
            match rank {
                Some(Rank::Member) => self.offers.to_members(),
                Some(Rank::Guest) => self.offers.to_guests(),
                None => self
                    .offers
                    .to_strangers(self.invite.is_open(Instant::now())),
            },
            PollSender::new(self.events.clone()),
            slots,
            Arc::clone(&self.counters),
        )
    }

    fn forget(&mut self, id: ConnectionId, peer: Option<PeerId>) {
        self.fresh.remove(&id);
        let Some(peer) = peer else { return };
        if let Some(links) = self.links.get_mut(&peer) {
            links.retain(|link| link.id != id);
            if links.is_empty() {
                self.links.remove(&peer);
            }
        }
        if !self.links.contains_key(&peer) {
            self.slots.remove(&peer);
        }
    }
}

/// The newest direct one, else the newest; `links` are oldest first.
fn best<'a>(mut links: impl DoubleEndedIterator<Item = &'a Link> + Clone) -> Option<&'a Link> {
    links
        .clone()
        .rev()
        .find(|link| !link.origin.relayed)
        .or_else(|| links.next_back())
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = StreamHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local_addr: &Multiaddr,
        send_back_addr: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let endpoint = ConnectedPoint::Listener {
            local_addr: local_addr.clone(),
            send_back_addr: send_back_addr.clone(),
        };
        Ok(self.handler(id, peer, &endpoint))
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role_override: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let endpoint = ConnectedPoint::Dialer {
            address: address.clone(),
            role_override,
            port_use,
        };
        Ok(self.handler(id, peer, &endpoint))
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                let (full, via) = self.fresh.remove(&event.connection_id).unwrap_or_default();
                let origin = Origin::of(event.endpoint);
                self.links.entry(event.peer_id).or_default().push(Link {
                    id: event.connection_id,
                    peer: event.peer_id,
                    relay: origin.relay(),
                    origin,
                    full,
                    via,
                });
            }
            FromSwarm::ConnectionClosed(event) => {
                self.forget(event.connection_id, Some(event.peer_id))
            }
            FromSwarm::ListenFailure(event) => self.forget(event.connection_id, event.peer_id),
            FromSwarm::DialFailure(event) => self.forget(event.connection_id, event.peer_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
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
