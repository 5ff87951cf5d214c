//! The task that owns the swarm: obeys commands, turns what the swarm says into
//! events.

mod swarm_events;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use libp2p::{
    Swarm,
    core::transport::ListenerId,
    identity::Keypair,
    multiaddr::Protocol as Part,
    swarm::{
        ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use peerup_protocol::{Multiaddr, PeerId, service::ServiceName};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use crate::{
    behaviour::{self, Behaviour, Shared},
    carried::Carried,
    circuits::Circuits,
    config::{Config, RelayLimits},
    counters::{Connections, Counters, Snapshot, Way},
    dht::Queries,
    event::Event,
    gate::Gate,
    invites::Invites,
    members::{Members, Rank},
    node::{DhtError, DialError, NodeError, ReserveError},
    probation::{Pool, Refused},
    protocol::{Protocol, TooManyServices},
    streams::{Link, OpenReply, Target},
    targets,
};

/// Events that wait until the reader has room; then the swarm is not polled.
const OUTBOX: usize = 64;
/// Time to close all connections at the end.
const SHUTDOWN: Duration = Duration::from_secs(1);

type Reply<T> = oneshot::Sender<T>;

/// What the handle asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Dial {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: Reply<Result<ConnectionId, DialError>>,
    },
    Open {
        target: Target,
        protocol: Protocol,
        reply: OpenReply,
    },
    IsFull {
        connection: ConnectionId,
        reply: Reply<bool>,
    },
    Expose {
        services: Vec<ServiceName>,
        reply: Reply<Result<(), TooManyServices>>,
    },
    Tell {
        what: Tell,
        reply: Reply<()>,
    },
    Enter {
        connection: ConnectionId,
        pool: Pool,
        reply: Reply<Result<(), Refused>>,
    },
    Reserve {
        relay: PeerId,
        address: Multiaddr,
        reply: Reply<Result<(), ReserveError>>,
    },
    Publish {
        value: Vec<u8>,
        reply: Reply<Result<(), DhtError>>,
    },
    Find {
        peer: PeerId,
        reply: Reply<Result<Vec<Vec<u8>>, DhtError>>,
    },
    Snapshot {
        reply: Reply<Snapshot>,
    },
    Ways {
        reply: Reply<Vec<Way>>,
    },
    Listening {
        reply: Reply<Vec<Multiaddr>>,
    },
    Shutdown {
        reply: Reply<()>,
    },
}

/// What is done at once and answers nothing.
#[derive(Debug)]
pub(crate) enum Tell {
    Admit(PeerId, Rank),
    Expel(PeerId),
    Close(PeerId),
    CloseConnection(ConnectionId),
    AddExternalAddress(Multiaddr),
    Limit(RelayLimits),
    Invite(PeerId, Option<Instant>),
}

/// A reservation that is asked for (with somebody waiting) or held.
struct Reservation {
    relay: PeerId,
    waiting: Option<Reply<Result<(), ReserveError>>>,
}

pub(crate) struct Task {
    swarm: Swarm<Behaviour>,
    members: Members,
    invites: Invites,
    counters: Arc<Counters>,
    carried: Carried,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    outbox: VecDeque<Event>,
    dials: HashMap<ConnectionId, Reply<Result<ConnectionId, DialError>>>,
    reservations: HashMap<ListenerId, Reservation>,
    queries: Queries,
}

impl Task {
    pub(crate) fn new(
        config: Config,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, NodeError> {
        let Config {
            seed,
            names,
            role,
            listen,
        } = config;
        let (members, invites) = (Members::default(), Invites::default());
        let counters = Arc::new(Counters::default());
        let carried = Carried::default();
        let key = Keypair::ed25519_from_bytes(*seed.expose())
            .map_err(|error| NodeError::Transport(error.to_string()))?;
        let shared = Shared {
            members: members.clone(),
            invites: invites.clone(),
            counters: Arc::clone(&counters),
            carried: carried.clone(),
            events: events.clone(),
        };
        let mut swarm = behaviour::swarm(key, &names, &role, shared)?;
        for address in listen {
            swarm
                .listen_on(address.clone())
                .map_err(|error| NodeError::Listen {
                    address,
                    source: std::io::Error::other(error.to_string()),
                })?;
        }
        Ok(Self {
            swarm,
            members,
            invites,
            counters,
            carried,
            commands,
            events,
            outbox: VecDeque::new(),
            dials: HashMap::new(),
            reservations: HashMap::new(),
            queries: Queries::default(),
        })
    }

    pub(crate) fn peer_id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Runs until it is told to stop, all handles are gone, or nobody reads the events.
    pub(crate) async fn run(mut self) {
        let events = self.events.clone();
        let stopped = loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    None => break None,
                    Some(Command::Shutdown { reply }) => break Some(reply),
                    Some(command) => self.obey(command),
                },
                room = events.reserve(), if !self.outbox.is_empty() => match room {
                    Err(_) => break None,
                    Ok(room) => if let Some(event) = self.outbox.pop_front() {
                        room.send(event);
                    },
                },
                event = self.swarm.select_next_some(), if self.outbox.len() < OUTBOX => {
                    self.on_swarm_event(event);
                }
            }
        };
        self.close_all().await;
        if let Some(reply) = stopped {
            let _ = reply.send(());
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Dial {
                peer,
                addresses,
                reply,
            } => self.dial(peer, addresses, reply),
            Command::Open {
                target,
                protocol,
                reply,
            } => self.behaviour().streams.open(target, &protocol, reply),
            Command::IsFull { connection, reply } => {
                let mut links = self.swarm.behaviour().streams.links();
                answer(reply, links.any(|link| link.id == connection && link.full));
            }
            Command::Expose { services, reply } => {
                answer(reply, self.behaviour().streams.expose(services));
            }
            Command::Tell { what, reply } => {
                self.tell(what);
                answer(reply, ());
            }
            Command::Enter {
                connection,
                pool,
                reply,
            } => answer(reply, self.behaviour().probation.enter(connection, pool)),
            Command::Reserve {
                relay,
                address,
                reply,
            } => self.reserve(relay, address, reply),
            Command::Publish { value, reply } => {
                let own = self.peer_id();
                let kad = &mut self.swarm.behaviour_mut().gate.inner_mut().dht;
                self.queries.publish(kad, own, value, reply);
            }
            Command::Find { peer, reply } => {
                let kad = &mut self.swarm.behaviour_mut().gate.inner_mut().dht;
                self.queries.find(kad, &peer, reply);
            }
            Command::Snapshot { reply } => answer(reply, self.snapshot()),
            Command::Ways { reply } => answer(reply, self.ways()),
            Command::Listening { reply } => {
                let all = self.swarm.listeners().cloned();
                answer(reply, all.filter(|at| !targets::is_circuit(at)).collect());
            }
            Command::Shutdown { reply } => drop(reply),
        }
    }

    fn tell(&mut self, what: Tell) {
        match what {
            Tell::Admit(peer, rank) => self.members.insert(peer, rank),
            Tell::Expel(peer) => {
                self.members.remove(&peer);
                self.invites.set(peer, None, Instant::now());
                self.close(peer);
            }
            Tell::Close(peer) => self.close(peer),
            Tell::CloseConnection(connection) => {
                self.swarm.close_connection(connection);
            }
            Tell::AddExternalAddress(address) => self.swarm.add_external_address(address),
            Tell::Limit(limits) => self.behaviour().limit(&limits),
            Tell::Invite(peer, until) => self.invites.set(peer, until, Instant::now()),
        }
    }

    fn behaviour(&mut self) -> &mut Behaviour {
        self.swarm.behaviour_mut()
    }

    fn close(&mut self, peer: PeerId) {
        // An error means that there is no connection.
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    fn dial(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: Reply<Result<ConnectionId, DialError>>,
    ) {
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(targets::choose(addresses))
            .build();
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(connection, reply);
            }
            Err(error) => {
                let _ = reply.send(Err(swarm_events::dial_error(&error)));
            }
        }
    }

    fn reserve(
        &mut self,
        relay: PeerId,
        address: Multiaddr,
        reply: Reply<Result<(), ReserveError>>,
    ) {
        if let Some(known) = self
            .reservations
            .values()
            .find(|known| known.relay == relay)
        {
            let pending = known.waiting.is_some();
            let _ = reply.send(if pending {
                Err(ReserveError::Pending)
            } else {
                Ok(())
            });
            return;
        }
        let links = self.swarm.behaviour().streams.links_to(&relay);
        if !links.iter().any(|link| link.full && !link.origin.relayed) {
            let _ = reply.send(Err(ReserveError::NotConnected));
            return;
        }
        let through = match address.iter().last() {
            Some(Part::P2p(_)) => address.clone(),
            _ => address.clone().with(Part::P2p(relay)),
        };
        match self.swarm.listen_on(through.with(Part::P2pCircuit)) {
            Ok(listener) => {
                self.swarm
                    .behaviour_mut()
                    .gate
                    .inner_mut()
                    .dht
                    .add_address(&relay, address);
                self.reservations.insert(
                    listener,
                    Reservation {
                        relay,
                        waiting: Some(reply),
                    },
                );
            }
            Err(error) => {
                let _ = reply.send(Err(ReserveError::Refused(error.to_string())));
            }
        }
    }

    fn ways(&self) -> Vec<Way> {
        let links = self.swarm.behaviour().streams.links();
        let full = links.filter(|link| link.full);
        full.map(|link| Way {
            connection: link.id,
            peer: link.peer,
            relayed: link.origin.relayed,
            streams: link.streams(),
        })
        .collect()
    }

    fn snapshot(&self) -> Snapshot {
        let behaviour = self.swarm.behaviour();
        let (full, gated): (Vec<&Link>, Vec<&Link>) =
            behaviour.streams.links().partition(|link| link.full);
        let mut members: HashMap<PeerId, bool> = HashMap::new();
        for link in &full {
            *members.entry(link.peer).or_default() |= !link.origin.relayed;
        }
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort_unstable();
        let circuits = behaviour.circuits.as_ref().map(Gate::inner);
        let mut reservations: Vec<PeerId> = match circuits {
            Some(circuits) => circuits.reservations(),
            None => self
                .reservations
                .values()
                .filter(|r| r.waiting.is_none())
                .map(|r| r.relay)
                .collect(),
        };
        reservations.sort_unstable();
        Snapshot {
            connections: count(&full),
            gated: count(&gated),
            admitted: self.members.len(),
            members,
            reservations,
            circuits: circuits.map_or(0, Circuits::circuits),
            carried_bytes: self.carried.total(),
            probation: behaviour.probation.counts(),
            denied: self.counters.denied(),
        }
    }

    /// Closes what is open, so that remotes learn of the end at once.
    async fn close_all(&mut self) {
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let _ = timeout(SHUTDOWN, async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        })
        .await;
    }
}

/// Whoever asked may be gone.
fn answer<T>(reply: Reply<T>, value: T) {
    let _ = reply.send(value);
}

fn count(links: &[&Link]) -> Connections {
    let mut connections = Connections::default();
    for link in links {
        if link.origin.relayed {
            connections.relayed += 1;
        } else if link.origin.is_quic() {
            connections.quic += 1;
        } else {
            connections.tcp += 1;
        }
    }
    connections
}
