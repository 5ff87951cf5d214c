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
    let transports = addresses
        .iter()
        .filter(|address| stun_port(address).is_none());
    let (mut inside, outside): (Vec<_>, Vec<_>) = transports.cloned().partition(is_inside);
    if !pod {
        return outside;
    }
    inside.extend(outside);
    inside
}

/// A relay's STUN service: at its first host inside, or at its first host outside.
pub(crate) fn stun(addresses: &[Multiaddr], inside: bool) -> Option<StunHost> {
    let services = addresses
        .iter()
        .filter(|address| is_inside(address) == inside);
    let mut found: Option<StunHost> = None;
    for address in services {
        let (Some(host), Some(port)) = (host(address), stun_port(address)) else {
            continue;
        };
        match &mut found {
            None => {
                found = Some(StunHost {
                    host,
                    primary: port,
                    alternate: None,
                })
            }
            Some(known) if known.host == host => {
                known.alternate = Some(port);
                break;
            }
            Some(_) => (),
        }
    }
    found
}

fn stun_port(address: &Multiaddr) -> Option<u16> {
    let parts: Vec<_> = address.iter().collect();
    match parts.as_slice() {
        [_, Protocol::Udp(port)] => Some(*port),
        _ => None,
    }
}

fn host(address: &Multiaddr) -> Option<String> {
    let first = address.iter().next()?;
    if let Protocol::Ip4(ip) = first {
        return Some(ip.to_string());
    }
    if let Protocol::Ip6(ip) = first {
        return Some(ip.to_string());
    }
    dns(address)
}

fn dns(address: &Multiaddr) -> Option<String> {
    let first = address.iter().next()?;
    if let Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) = first {
        return Some(name.into_owned());
    }
    None
}

/// `<pod>.<service>.<namespace>.svc.…`: a name that only the cluster's DNS knows.
fn is_inside(address: &Multiaddr) -> bool {
    dns(address).is_some_and(|name| name.split('.').skip(2).take(2).any(|label| label == "svc"))
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
    }

    #[test]
    fn stun_ports_are_paired_at_the_first_host() {
        let outside = stun(&addresses(), false).unwrap();
        assert_eq!(
            outside,
            StunHost {
                host: "1.2.3.4".to_owned(),
                primary: 30078,
                alternate: Some(30079)
            }
        );
        let inside = stun(&addresses(), true).unwrap();
        assert_eq!(
            inside.host,
            "crew-relay-0.crew-relays.shop.svc.cluster.local"
        );
        assert_eq!((inside.primary, inside.alternate), (3478, Some(3479)));
        assert_eq!(stun(&addresses()[..2], false), None);
    }
}
