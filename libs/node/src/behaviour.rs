//! What the swarm is made of. The first three decide about strangers; everything
//! inside the gate sees admitted peers only.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, connection_limits,
    connection_limits::ConnectionLimits,
    identity::Keypair,
    kad, memory_connection_limits, noise, ping, relay,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    yamux,
};
use peerup_protocol::names::ProtocolNames;
use tokio::sync::mpsc;

use crate::{
    carried::Carried,
    circuits::{Circuits, Who},
    config::{RelayLimits, Role},
    counters::Counters,
    dht,
    event::Event,
    gate::Gate,
    invites::Invites,
    members::Members,
    node::NodeError,
    probation::{Pools, ProbationLimits, behaviour::Probation},
    protocol::Offers,
    quiet::Quiet,
    streams::Streams,
    transport,
};

/// An idle connection is closed after this time; a reservation keeps its connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTIONS_PER_PEER: u32 = 8;
const PEER_CONNECTIONS: u32 = 1024;
const PENDING_INBOUND: u32 = 512;
const PENDING_OUTBOUND: u32 = 128;
/// Over this much memory of the process no connection is taken.
const PEER_MEMORY: usize = 512 << 20;
const RELAY_MEMORY: usize = 2 << 30;
/// Connections of a relay beyond one a reservation: members without one, strangers.
const RELAY_SPARE_CONNECTIONS: usize = 1024;

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) gate: Gate<Inner>,
    /// Behind a gate of its own, which also lets those through who may open one circuit.
    pub(crate) circuits: Toggle<Gate<Circuits>>,
    pub(crate) probation: Probation,
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    pub(crate) streams: Streams,
    identify: Quiet,
}

/// For admitted peers only.
#[derive(NetworkBehaviour)]
pub(crate) struct Inner {
    client: Toggle<relay::client::Behaviour>,
    pub(crate) dht: kad::Behaviour<kad::store::MemoryStore>,
    ping: ping::Behaviour,
}

/// What the parts share.
pub(crate) struct Shared {
    pub(crate) members: Members,
    pub(crate) invites: Invites,
    pub(crate) counters: Arc<Counters>,
    pub(crate) carried: Carried,
    pub(crate) events: mpsc::Sender<Event>,
}

pub(crate) fn swarm(
    key: Keypair,
    names: &ProtocolNames,
    role: &Role,
    shared: Shared,
) -> Result<Swarm<Behaviour>, NodeError> {
    let failed = |error: &dyn std::error::Error| NodeError::Transport(error.to_string());
    let offers = Offers::new(names, role).map_err(|error| failed(&error))?;
    let kad_name = StreamProtocol::try_from_owned(names.kad()).map_err(|error| failed(&error))?;
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_other_transport(|key| transport::tcp(key, shared.carried.clone()))
        .map_err(|error| failed(&error))?
        .with_other_transport(|key| transport::quic(key, shared.carried.clone()))
        .map_err(|error| failed(&error))?
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .map_err(|error| failed(&error))?
        .with_behaviour(|key, client| behaviour(key, client, role, offers, kad_name, shared))
        .map_err(|error| failed(&error))?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(IDLE_TIMEOUT)
                .with_smart_dial()
        })
        .build();
    Ok(swarm)
}

fn behaviour(
    key: &Keypair,
    client: relay::client::Behaviour,
    role: &Role,
    offers: Offers,
    kad_name: StreamProtocol,
    Shared {
        members,
        invites,
        counters,
        carried: _,
        events,
    }: Shared,
) -> Behaviour {
    let id = key.public().to_peer_id();
    let (relay, client, probation, connections, memory) = match role {
        Role::Peer => {
            let probation = ProbationLimits::default();
            (None, Some(client), probation, PEER_CONNECTIONS, PEER_MEMORY)
        }
        Role::Relay(limits) => {
            let (probation, connections) = (limits.probation.clone(), relay_connections(limits));
            (Some(limits), None, probation, connections, RELAY_MEMORY)
        }
    };
    let pools = Arc::new(Mutex::new(Pools::new(probation)));
    let who = Who {
        members: members.clone(),
        invites: invites.clone(),
        pools: Arc::clone(&pools),
    };
    let circuits = relay.map(|limits| {
        let circuits = Circuits::new(id, limits, who, Arc::clone(&counters));
        Gate::new(circuits, members.clone(), Arc::clone(&counters)).with_guests(invites.clone())
    });
    let pings = ping::Config::new()
        .with_interval(PING_INTERVAL)
        .with_timeout(PING_TIMEOUT);
    let inner = Inner {
        client: client.into(),
        dht: dht::behaviour(id, kad_name, role),
        ping: ping::Behaviour::new(pings),
    };
    Behaviour {
        gate: Gate::new(inner, members.clone(), Arc::clone(&counters)),
        circuits: circuits.into(),
        probation: Probation::new(members.clone(), pools, Arc::clone(&counters)),
        limits: connection_limits::Behaviour::new(connection_limits(connections)),
        memory: memory_connection_limits::Behaviour::with_max_bytes(memory),
        streams: Streams::new(offers, members, invites.of(id), events, counters),
        identify: Quiet::new(key.public()),
    }
}

impl Behaviour {
    /// Replaces the limits of a relay; does nothing at a peer.
    pub(crate) fn limit(&mut self, limits: &RelayLimits) {
        let Some(circuits) = self.circuits.as_mut() else {
            return;
        };
        circuits.inner_mut().limit(limits);
        self.probation.limit(limits.probation.clone());
        *self.limits.limits_mut() = connection_limits(relay_connections(limits));
    }
}

fn connection_limits(connections: u32) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING_INBOUND))
        .with_max_pending_outgoing(Some(PENDING_OUTBOUND))
        .with_max_established(Some(connections))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER))
}

fn relay_connections(limits: &RelayLimits) -> u32 {
    let connections = limits
        .max_reservations
        .saturating_add(RELAY_SPARE_CONNECTIONS);
    u32::try_from(connections).unwrap_or(u32::MAX)
}
