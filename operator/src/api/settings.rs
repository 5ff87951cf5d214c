//! What a peer must know to measure and report as its network wants it.

use peerup_crds::PeerNetwork;
use peerup_protocol::{api::Settings, grade::Scope};

/// Settings of a pod in the network.
pub(super) fn of_pod(network: &PeerNetwork) -> Settings {
    let reachability = &network.spec.reachability;
    Settings {
        scope: reachability.scope,
        internal_cidrs: reachability.internal_cidrs.clone(),
        probe_period_seconds: reachability.probe_period_seconds,
        report_period_seconds: reachability.report_period_seconds,
        offline_after_seconds: reachability.offline_after_seconds,
        stabilization_seconds: reachability.stabilization_seconds,
        stun_servers: reachability.stun_servers.clone(),
    }
}

/// Settings of a peer outside the cluster: for it the Internet is the world that matters.
pub(super) fn of_outside(network: &PeerNetwork) -> Settings {
    Settings {
        scope: Scope::Internet,
        ..of_pod(network)
    }
}
