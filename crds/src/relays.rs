//! Where a network's relays are reached, as its status lists them: by pods inside the cluster, by everybody else outside.

use kube::ResourceExt as _;
use peerup_protocol::{
    Multiaddr,
    code::{MAX_ADDRESSES, Responder},
    relay_address::{Purpose, purpose},
};

use crate::{PeerNetwork, RelayStatus, names};

/// From where somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A pod of the cluster.
    Inside,
    /// A machine anywhere else.
    Outside,
}

/// The DNS name of a relay's pod up to the cluster's domain, with the dot at its end. `relay` is the pod's name.
#[must_use]
pub fn inside_host(namespace: &str, network: &str, relay: &str) -> String {
    let headless = names::relay_headless(network);
    format!("{relay}.{headless}.{namespace}.svc.")
}

/// The addresses of a relay of this network that are of use on one side; texts that are no addresses are left out.
#[must_use]
pub fn addresses(network: &PeerNetwork, relay: &RelayStatus, side: Side) -> Vec<Multiaddr> {
    let namespace = network.namespace().unwrap_or_default();
    let host = inside_host(&namespace, &network.name_any(), &relay.name);
    let inside = format!("/dns4/{host}");
    let wanted = match side {
        Side::Inside => true,
        Side::Outside => false,
    };
    let texts = relay
        .addresses
        .iter()
        .filter(|text| text.starts_with(&inside) == wanted);
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// Who answers a code of this network, and where; relays without an address on that side are left out.
#[must_use]
pub fn responders(network: &PeerNetwork, side: Side) -> Vec<Responder> {
    let status = network.status.as_ref();
    let relays = status.into_iter().flat_map(|status| &status.relays);
    let responder = |relay: &RelayStatus| {
        let mut addresses = addresses(network, relay, side);
        addresses.retain(|address| purpose(address) == Some(Purpose::Connection));
        addresses.truncate(MAX_ADDRESSES);
        let peer = relay.peer_id.parse().ok()?;
        (!addresses.is_empty()).then_some(Responder { peer, addresses })
    };
    relays.filter_map(responder).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn codes_carry_only_what_is_dialled_on_their_side() {
        let inside = "/dns4/main-relay-0.main-relays.shop.svc.cluster.local";
        let outside = "/ip4/10.1.0.4";
        let ends = ["/udp/4001/quic-v1", "/tcp/4001", "/udp/3478", "/udp/3479"];
        let all: Vec<_> = [inside, outside]
            .iter()
            .flat_map(|host| ends.map(|end| format!("{host}{end}")))
            .collect();
        let peer = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        let relay = |name: &str, addresses: &[String]| json!({"name": name, "peerID": peer, "state": "Ready", "addresses": addresses});
        let network: PeerNetwork = serde_json::from_value(json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork",
            "metadata": {"name": "main", "namespace": "shop"}, "spec": {},
            "status": {"relays": [
                relay("main-relay-0", &all),
                // Another's inside host is an outside one as far as this relay goes.
                relay("main-relay-1", &["/dns4/other.svc.cluster.local/tcp/1".to_owned()]),
            ]},
        }))
        .unwrap();
        let of = |side| -> Vec<Vec<String>> {
            let texts = |responder: Responder| {
                let addresses = responder.addresses.iter();
                addresses.map(ToString::to_string).collect()
            };
            responders(&network, side).into_iter().map(texts).collect()
        };
        let dialled = |host: &str| vec![format!("{host}{}", ends[0]), format!("{host}{}", ends[1])];
        assert_eq!(of(Side::Inside), [dialled(inside)]);
        let other = vec!["/dns4/other.svc.cluster.local/tcp/1".to_owned()];
        assert_eq!(of(Side::Outside), [dialled(outside), other]);
    }
}
