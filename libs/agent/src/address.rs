//! Which addresses of relays are of use from here (pure).
//!
//! The network document carries, for each relay, inside addresses (a name of a Service: `….svc.…`), which only
//! pods can use, and outside ones. A plain `/…/udp/<port>` is STUN: at each host the first is the relay's primary
//! port, the second its alternate.

use multiaddr::Protocol;
use peerup_protocol::Multiaddr;

/// A relay's STUN service at one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StunHost {
    /// DNS name or IP address.
    pub(crate) host: String,
    /// Primary port.
    pub(crate) primary: u16,
    /// Alternate port, if there is one.
    pub(crate) alternate: Option<u16>,
}

/// Addresses for connections, inside ones first for pods and left out for others.
pub(crate) fn dialable(addresses: &[Multiaddr], pod: bool) -> Vec<Multiaddr> {
    let transports = addresses.iter().filter(|address| stun_port(address).is_none());
    let (mut inside, outside): (Vec<_>, Vec<_>) = transports.cloned().partition(is_inside);
    if !pod {
        return outside;
    }
    inside.extend(outside);
    inside
}

/// STUN services, in the same order.
pub(crate) fn stun(addresses: &[Multiaddr], pod: bool) -> Vec<StunHost> {
    let mut hosts: Vec<(bool, StunHost)> = Vec::new();
    for address in addresses {
        let (Some(host), Some(port)) = (host(address), stun_port(address)) else { continue };
        match hosts.iter_mut().find(|(_, known)| known.host == host) {
            Some((_, known)) => known.alternate = known.alternate.or(Some(port)),
            None => hosts.push((is_inside(address), StunHost { host, primary: port, alternate: None })),
        }
    }
    hosts.retain(|(inside, _)| pod || !inside);
    hosts.sort_by_key(|(inside, _)| !inside);
    hosts.into_iter().map(|(_, host)| host).collect()
}

fn stun_port(address: &Multiaddr) -> Option<u16> {
    let parts: Vec<_> = address.iter().collect();
    match parts.as_slice() {
        [_, Protocol::Udp(port)] => Some(*port),
        _ => None,
    }
}

fn host(address: &Multiaddr) -> Option<String> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.to_string()),
        Protocol::Ip6(ip) => Some(ip.to_string()),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => Some(name.into_owned()),
        _ => None,
    }
}

/// `<pod>.<service>.<namespace>.svc.…`: a name that only the cluster's DNS knows.
fn is_inside(address: &Multiaddr) -> bool {
    let dns = match address.iter().next() {
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => name.into_owned(),
        _ => return false,
    };
    dns.split('.').skip(2).take(2).any(|label| label == "svc")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Vec<Multiaddr> {
        let texts = [
            "/ip4/1.2.3.4/tcp/30001",
            "/ip4/1.2.3.4/udp/30001/quic-v1",
            "/ip4/1.2.3.4/udp/30078",
            "/ip4/1.2.3.4/udp/30079",
            "/dns4/crew-relay-0.crew-relays.shop.svc.cluster.local/tcp/4001",
            "/dns4/crew-relay-0.crew-relays.shop.svc.cluster.local/udp/3478",
            "/dns4/crew-relay-0.crew-relays.shop.svc.cluster.local/udp/3479",
            "/dns4/relay.example.org/udp/3478",
        ];
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn texts(addresses: Vec<Multiaddr>) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pod_begins_inside() {
        assert_eq!(
            texts(dialable(&addresses(), true)),
            [
                "/dns4/crew-relay-0.crew-relays.shop.svc.cluster.local/tcp/4001",
                "/ip4/1.2.3.4/tcp/30001",
                "/ip4/1.2.3.4/udp/30001/quic-v1",
            ]
        );
    }

    #[test]
    fn outside_peers_leave_inside_addresses_alone() {
        assert_eq!(
            texts(dialable(&addresses(), false)),
            ["/ip4/1.2.3.4/tcp/30001", "/ip4/1.2.3.4/udp/30001/quic-v1"]
        );
        assert_eq!(
            stun(&addresses(), false),
            [
                StunHost { host: "1.2.3.4".to_owned(), primary: 30078, alternate: Some(30079) },
                StunHost { host: "relay.example.org".to_owned(), primary: 3478, alternate: None },
            ]
        );
    }

    #[test]
    fn stun_ports_are_paired_by_host() {
        let hosts = stun(&addresses(), true);
        assert_eq!(hosts.len(), 3);
        assert_eq!(hosts[0].host, "crew-relay-0.crew-relays.shop.svc.cluster.local");
        assert_eq!((hosts[0].primary, hosts[0].alternate), (3478, Some(3479)));
    }
}
