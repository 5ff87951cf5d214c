//! The handle of a running node.

use std::{io, sync::Arc};

use libp2p::swarm::ConnectionId;
use peerup_protocol::{Multiaddr, PeerId, service::ServiceName};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::Instant,
};

use crate::{
    config::{Config, RelayLimits},
    counters::{Snapshot, Way},
    event::Event,
    members::Rank,
    names,
    probation::{Pool, Refused},
    protocol::{Protocol, TooManyServices},
    stream::Stream,
    streams::Target,
    targets,
    task::{self, Command, Tell},
};

/// Commands that wait for the swarm task.
const COMMANDS: usize = 64;
/// Events and inbound streams that wait for the reader.
const EVENTS: usize = 256;
/// Circuits that are asked for at once: libp2p drops requests over ten on a connection.
const CIRCUIT_DIALS: usize = 8;

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A transport could not be set up.
    #[error("the network could not be set up: {0}")]
    Transport(String),
    /// An address could not be listened on; another program may hold the port.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system said.
        source: io::Error,
    },
    /// The node has been shut down.
    #[error("the node is shut down")]
    Stopped,
}

/// Why a peer could not be dialled.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No address was given, or only ones that no transport knows.
    #[error("no address to dial")]
    NoAddress,
    /// The only addresses have names, and none of these is found.
    #[error("no address is found for {0}; can this machine look it up?")]
    UnknownName(String),
    /// Another peer answered at the address.
    #[error("another peer answered: {0}")]
    WrongPeer(PeerId),
    /// A limit of this node stands against it.
    #[error("refused by a limit of this node")]
    Denied,
    /// All addresses failed.
    #[error("all addresses failed: {0}")]
    Failed(String),
    /// The node has been shut down.
    #[error("the node is shut down")]
    Stopped,
}

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No connection that may carry the protocol.
    #[error("not connected")]
    NotConnected,
    /// The remote does not offer the protocol (to us).
    #[error("the remote does not offer the protocol")]
    Unsupported,
    /// The remote did not answer in time.
    #[error("the remote did not answer in time")]
    TimedOut,
    /// Too many streams are being opened on the connection.
    #[error("too many streams are being opened")]
    Busy,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(io::Error),
    /// The connection was closed meanwhile, or the node has been shut down.
    #[error("the connection was closed")]
    Closed,
}

/// Why a relay holds no reservation.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// No connection to the relay as an admitted peer.
    #[error("not connected to the relay as an admitted peer")]
    NotConnected,
    /// Another request to the same relay is under way.
    #[error("a request to this relay is under way")]
    Pending,
    /// The relay refused, or the connection ended.
    #[error("the relay gave no reservation: {0}")]
    Refused(String),
    /// The node has been shut down.
    #[error("the node is shut down")]
    Stopped,
}

/// Why the DHT could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DhtError {
    /// The value is longer than the DHT takes.
    #[error("the value is too long for the DHT")]
    TooLong,
    /// No relay is connected, or none answered in time.
    #[error("no relay took part")]
    NoRelay,
    /// Too many queries are under way.
    #[error("too many queries")]
    Busy,
    /// The node has been shut down.
    #[error("the node is shut down")]
    Stopped,
}

/// A running node; clones share it. It stops when all clones are gone.
#[derive(Debug, Clone)]
pub struct Node {
    peer_id: PeerId,
    commands: mpsc::Sender<Command>,
    circuit_dials: Arc<Semaphore>,
}

/// Starts the swarm on the current tokio runtime.
///
/// # Errors
/// When a transport cannot be set up or an address cannot be listened on.
pub fn start(config: Config) -> Result<(Node, mpsc::Receiver<Event>), NodeError> {
    let (commands, command_queue) = mpsc::channel(COMMANDS);
    let (events, event_queue) = mpsc::channel(EVENTS);
    let task = task::Task::new(config, command_queue, events)?;
    let peer_id = task.peer_id();
    tokio::spawn(task.run());
    let circuit_dials = Arc::new(Semaphore::new(CIRCUIT_DIALS));
    let node = Node {
        peer_id,
        commands,
        circuit_dials,
    };
    Ok((node, event_queue))
}

impl Node {
    /// This node's PeerId.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Dials `peer` at all `addresses`, QUIC first, and waits until one connection is established.
    ///
    /// # Errors
    /// When no address leads to the peer.
    pub async fn dial(
        &self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    ) -> Result<ConnectionId, DialError> {
        let through_relay = addresses.iter().any(targets::is_circuit);
        let _turn = match through_relay {
            true => self.circuit_dials.acquire().await.ok(),
            false => None,
        };
        let name = addresses.iter().find_map(names::name);
        let addresses = names::look_up(addresses).await;
        if let Some(name) = name.filter(|_| addresses.is_empty()) {
            return Err(DialError::UnknownName(name));
        }
        self.ask(|reply| Command::Dial {
            peer,
            addresses,
            reply,
        })
        .await
        .unwrap_or(Err(DialError::Stopped))
    }

    /// Opens a stream on the best connection to `peer`: direct before relayed, newest first.
    ///
    /// # Errors
    /// When no connection may carry the protocol or the remote does not agree.
    pub async fn open(&self, peer: PeerId, protocol: Protocol) -> Result<Stream, OpenError> {
        self.open_at(Target::Peer(peer), protocol).await
    }

    /// Opens a stream on this connection.
    ///
    /// # Errors
    /// When the connection is gone or the remote does not agree.
    pub async fn open_on(
        &self,
        connection: ConnectionId,
        protocol: Protocol,
    ) -> Result<Stream, OpenError> {
        self.open_at(Target::Connection(connection), protocol).await
    }

    /// Whether both sides had admitted each other when the connection was established. This one
    /// remembers; the other one offers pings then.
    pub(crate) async fn carries_everything(&self, connection: ConnectionId) -> bool {
        let here = self.ask(|reply| Command::IsFull { connection, reply });
        here.await == Some(true) && self.open_on(connection, Protocol::Ping).await.is_ok()
    }

    async fn open_at(&self, target: Target, protocol: Protocol) -> Result<Stream, OpenError> {
        self.ask(|reply| Command::Open {
            target,
            protocol,
            reply,
        })
        .await
        .unwrap_or(Err(OpenError::Closed))
    }

    /// Exposes these services to admitted peers and no others, on connections that are there too.
    ///
    /// # Errors
    /// When their names are too long for one message; then those from before stay exposed.
    pub async fn expose(&self, services: Vec<ServiceName>) -> Result<(), TooManyServices> {
        // A node that has been shut down exposes nothing.
        self.ask(|reply| Command::Expose { services, reply })
            .await
            .unwrap_or(Ok(()))
    }

    /// Admits the peer: connections that are established from now on carry everything.
    pub async fn admit(&self, peer: PeerId) {
        self.tell(Tell::Admit(peer, Rank::Member)).await;
    }

    /// Admits the peer as a guest of a member, at a relay: connections that are established from now on reserve and
    /// carry circuits, and offer neither roster, reports, probes, invites nor the DHT. Connections from before stay
    /// what they are.
    pub async fn admit_guest(&self, peer: PeerId) {
        self.tell(Tell::Admit(peer, Rank::Guest)).await;
    }

    /// Takes the peer's admission back and closes all its connections.
    pub async fn expel(&self, peer: PeerId) {
        self.tell(Tell::Expel(peer)).await;
    }

    /// Closes all connections to the peer.
    pub async fn close(&self, peer: PeerId) {
        self.tell(Tell::Close(peer)).await;
    }

    /// Closes this connection.
    pub async fn close_connection(&self, connection: ConnectionId) {
        self.tell(Tell::CloseConnection(connection)).await;
    }

    /// Says what a connection on probation is there for; one that does not fit is closed.
    ///
    /// # Errors
    /// When the pool has no room or the connection is not on probation.
    pub async fn enter(&self, connection: ConnectionId, pool: Pool) -> Result<(), Refused> {
        self.ask(|reply| Command::Enter {
            connection,
            pool,
            reply,
        })
        .await
        .unwrap_or(Err(Refused::Unknown))
    }

    /// Reserves at an admitted relay that is connected, and waits for its answer. `address` is one
    /// of the relay's; the reservation is renewed until the connection ends, then
    /// [`Event::ReservationLost`] comes.
    ///
    /// # Errors
    /// When the relay is not connected or refuses.
    pub async fn reserve(&self, relay: PeerId, address: Multiaddr) -> Result<(), ReserveError> {
        self.ask(|reply| Command::Reserve {
            relay,
            address,
            reply,
        })
        .await
        .unwrap_or(Err(ReserveError::Stopped))
    }

    /// Adds an address under which others reach this node; relays tell it to those who reserve.
    pub async fn add_external_address(&self, address: Multiaddr) {
        self.tell(Tell::AddExternalAddress(address)).await;
    }

    /// A member's invite is open until then, or closed. At a relay, strangers' connections that begin while one is
    /// open may carry one circuit to a member whose invite is open, end with the probation, and never reserve. At a
    /// peer the member is itself: strangers' connections that begin then also carry [`Protocol::Invite`]. Expulsion
    /// closes a member's invite.
    pub async fn invite(&self, member: PeerId, until: Option<Instant>) {
        self.tell(Tell::Invite(member, until)).await;
    }

    /// Replaces the limits of a relay; a peer has none. Numbers count at once, and take nothing from those who are
    /// there; times on probation count at once, for them too. How long a circuit lasts and what it carries counts for
    /// circuits of connections that begin from now on.
    pub async fn limit(&self, limits: RelayLimits) {
        self.tell(Tell::Limit(limits)).await;
    }

    /// Puts `value` (at most 4096 bytes) into the DHT under this node's PeerId, replacing what it put
    /// before. It should be signed: relays keep it unread.
    ///
    /// # Errors
    /// When no relay keeps it.
    pub async fn publish(&self, value: Vec<u8>) -> Result<(), DhtError> {
        self.ask(|reply| Command::Publish { value, reply })
            .await
            .unwrap_or(Err(DhtError::Stopped))
    }

    /// What the relays keep under `peer`, at most one value a relay asked; may be old or forged.
    ///
    /// # Errors
    /// When no relay can be asked.
    pub async fn find(&self, peer: PeerId) -> Result<Vec<Vec<u8>>, DhtError> {
        self.ask(|reply| Command::Find { peer, reply })
            .await
            .unwrap_or(Err(DhtError::Stopped))
    }

    /// The state at this moment.
    ///
    /// # Errors
    /// When the node has been shut down.
    pub async fn snapshot(&self) -> Result<Snapshot, NodeError> {
        self.ask(|reply| Command::Snapshot { reply })
            .await
            .ok_or(NodeError::Stopped)
    }

    /// The connections to admitted peers that carry everything, oldest first for each peer.
    ///
    /// # Errors
    /// When the node has been shut down.
    pub async fn ways(&self) -> Result<Vec<Way>, NodeError> {
        self.ask(|reply| Command::Ways { reply })
            .await
            .ok_or(NodeError::Stopped)
    }

    /// The addresses of this machine at which this node can be dialled now, circuits not among them.
    ///
    /// # Errors
    /// When the node has been shut down.
    pub async fn listening(&self) -> Result<Vec<Multiaddr>, NodeError> {
        self.ask(|reply| Command::Listening { reply })
            .await
            .ok_or(NodeError::Stopped)
    }

    /// Closes all connections and stops; waits until they are closed, one second at most.
    pub async fn shutdown(&self) {
        let _ = self.ask(|reply| Command::Shutdown { reply }).await;
    }

    async fn tell(&self, what: Tell) {
        let _ = self.ask(|reply| Command::Tell { what, reply }).await;
    }

    /// Sends a command and waits for the answer; `None` when the task is gone.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}
