//! Under which addresses others reach this relay: inside ones follow from the host name in the settings and the
//! ports that are open, outside ones come from the operator. Without one a relay does not serve circuits.

use std::collections::BTreeSet;
use std::net::IpAddr;

use peerup_node::Node;
use peerup_protocol::Multiaddr;
use tokio::sync::Mutex;

/// More than any relay has; beyond, none is added.
const MAX_ADDRESSES: usize = 64;

/// Host name inside, and what the node has been told.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// As the beginning of a multiaddr.
    host: String,
    told: Mutex<BTreeSet<Multiaddr>>,
}

impl Addresses {
    /// `host` is a DNS name or an IP address.
    pub(crate) fn new(host: &str) -> Self {
        let host = match host.parse() {
            Ok(IpAddr::V4(ip)) => format!("/ip4/{ip}"),
            Ok(IpAddr::V6(ip)) => format!("/ip6/{ip}"),
            Err(_) => format!("/dns4/{host}"),
        };
        Self {
            host,
            told: Mutex::default(),
        }
    }

    /// A socket is open at `address`: its port is reached under the inside host.
    pub(crate) async fn listening(&self, node: &Node, address: &Multiaddr) {
        if let Some(inside) = self.inside(address) {
            self.add(node, inside).await;
        }
    }

    /// Tells the node an address, once.
    pub(crate) async fn add(&self, node: &Node, address: Multiaddr) {
        let mut told = self.told.lock().await;
        if told.len() < MAX_ADDRESSES && told.insert(address.clone()) {
            tracing::info!(%address, "address");
            node.add_external_address(address).await;
        }
    }

    /// The inside host with what follows the IP address in `listening`.
    fn inside(&self, listening: &Multiaddr) -> Option<Multiaddr> {
        let text = listening.to_string();
        let mut parts = text.splitn(4, '/');
        let family = parts.nth(1)?;
        let rest = parts.nth(1)?;
        let matching =
            self.host.starts_with("/dns4/") || self.host.starts_with(&format!("/{family}/"));
        matching
            .then(|| format!("{}/{rest}", self.host).parse().ok())
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(host: &str, listening: &str) -> Option<String> {
        let inside = Addresses::new(host).inside(&listening.parse().unwrap());
        inside.map(|address| address.to_string())
    }

    #[test]
    fn the_host_stands_before_transport_and_port() {
        assert_eq!(
            inside("relay-0.relays.shop.svc", "/ip4/10.1.2.3/tcp/4001").as_deref(),
            Some("/dns4/relay-0.relays.shop.svc/tcp/4001")
        );
        assert_eq!(
            inside("127.0.0.1", "/ip4/10.1.2.3/udp/4001/quic-v1").as_deref(),
            Some("/ip4/127.0.0.1/udp/4001/quic-v1")
        );
    }

    #[test]
    fn families_are_not_mixed() {
        assert_eq!(inside("127.0.0.1", "/ip6/::1/tcp/4001"), None);
        assert_eq!(
            inside("::1", "/ip6/::1/tcp/4001").as_deref(),
            Some("/ip6/::1/tcp/4001")
        );
    }

    #[test]
    fn what_is_not_a_listener_has_no_inside_address() {
        assert_eq!(inside("relay", "/memory/7"), None);
    }
}
