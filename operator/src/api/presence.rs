//! `presence`: a relay tells who is online at it, and learns its outside addresses and limits.

use kube::ResourceExt;
use peerup_crds::{
    PeerNetwork, names,
    relays::{self, Side},
};
use peerup_protocol::{
    Multiaddr,
    api::{Limits, PresenceAnswer, PresenceRequest},
};

use super::{Api, callers::RelayCaller, problem::Refusal};
use crate::{clock, context::RelayPresence};

impl Api {
    pub(super) fn presence(
        &self,
        relay: &RelayCaller,
        request: PresenceRequest,
    ) -> Result<PresenceAnswer, Refusal> {
        let network = &relay.network;
        let told = RelayPresence {
            online: request.online.into_iter().collect(),
            reservations: request.reservations,
            time: clock::now(),
        };
        self.context
            .presence
            .record(&network.uid().unwrap_or_default(), relay.ordinal, told);
        let addresses = outside(network, relay.ordinal);
        Ok(PresenceAnswer {
            addresses,
            limits: limits(network),
        })
    }
}

fn outside(network: &PeerNetwork, ordinal: u8) -> Vec<Multiaddr> {
    let replica = names::relay_replica(&network.name_any(), ordinal);
    let mut all = network.status.iter().flat_map(|status| &status.relays);
    all.find(|relay| relay.name == replica)
        .map(|relay| relays::addresses(network, relay, Side::Outside))
        .unwrap_or_default()
}

fn limits(network: &PeerNetwork) -> Limits {
    let (managed, pairing) = (&network.spec.relay.managed, &network.spec.pairing);
    Limits {
        max_reservations: managed.max_reservations,
        max_circuits: managed.max_circuits,
        circuit_timeout_seconds: managed.circuit_timeout_seconds,
        circuit_data_limit: managed.circuit_data_limit,
        max_probationary_peers: pairing.max_probationary_peers,
        probation_timeout_seconds: pairing.probation_timeout_seconds,
    }
}
