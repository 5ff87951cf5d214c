//! `presence`: a relay tells who is online at it, and learns its outside addresses and limits.

use kube::ResourceExt;
use peerup_crds::{PeerNetwork, names};
use peerup_protocol::{
    Multiaddr,
    api::{Limits, PresenceAnswer, PresenceRequest},
};

use super::{Api, callers::RelayCaller, problem::Refusal};
use crate::{
    clock,
    context::RelayPresence,
    network::addresses::{self, Side},
};

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
        let addresses = outside(network, relay.ordinal, &self.context.config.cluster_domain);
        Ok(PresenceAnswer {
            addresses,
            limits: limits(network),
        })
    }
}

fn outside(network: &PeerNetwork, ordinal: u8, cluster_domain: &str) -> Vec<Multiaddr> {
    let (namespace, name) = (network.namespace().unwrap_or_default(), network.name_any());
    let replica = names::relay_replica(&name, ordinal);
    let relays = network
        .status
        .as_ref()
        .map(|status| status.relays.as_slice())
        .unwrap_or_default();
    let known = relays
        .iter()
        .find(|relay| relay.name == replica)
        .map(|relay| relay.addresses.as_slice());
    let host = addresses::inside_host(&namespace, &name, ordinal, cluster_domain);
    addresses::of_side(known.unwrap_or_default(), &host, Side::Outside)
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
