//! What a node is started with.

use std::time::Duration;

use peerup_protocol::{Multiaddr, names::ProtocolNames, secret::Secret};

use crate::probation::ProbationLimits;

/// Settings of a node; nothing is read from anywhere else.
#[derive(Debug)]
pub struct Config {
    /// Seed of the Ed25519 identity key.
    pub seed: Secret<32>,
    /// Stream names of the network.
    pub names: ProtocolNames,
    /// Peer or relay.
    pub role: Role,
    /// Addresses to listen on, such as `/ip4/0.0.0.0/tcp/4001`.
    pub listen: Vec<Multiaddr>,
}

/// What a node is in its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A member's end: relay client, DHT client.
    Peer,
    /// A relay: serves reservations, circuits, the DHT and pairing.
    Relay(RelayLimits),
}

/// Limits of a relay, all of them from the PeerNetwork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayLimits {
    /// Reservations at once.
    pub max_reservations: usize,
    /// Circuits at once.
    pub max_circuits: usize,
    /// Life of a circuit; zero is as long as possible.
    pub circuit_timeout: Duration,
    /// Bytes of a circuit, both directions together; zero is unlimited.
    pub circuit_data_limit: u64,
    /// Connections of peers that are not members yet.
    pub probation: ProbationLimits,
}
