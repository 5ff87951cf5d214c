//! Which addresses of relays are of use from here (pure).
//!
//! What they mean says `peerup_protocol::relay_address`.

use peerup_protocol::Multiaddr;
use peerup_protocol::relay_address::{HostKind, host, is_inside, stun_port};

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

/// A relay's STUN service, inside or outside: at its first host of each kind, since an address of one IP version
/// says nothing about the other.
pub(crate) fn stun(addresses: &[Multiaddr], inside: bool) -> Vec<StunHost> {
    let mut found: Vec<(HostKind, StunHost)> = Vec::new();
    for address in addresses {
        let (Some((kind, host)), Some(port)) = (host(address), stun_port(address)) else {
            continue;
        };
        if is_inside(address) != inside {
            continue;
        }
        match found.iter_mut().find(|(known, _)| *known == kind) {
            None => {
                let alternate = None;
                let primary = port;
                found.push((
                    kind,
                    StunHost {
                        host,
                        primary,
                        alternate,
                    },
                ));
            }
            Some((_, known)) if known.host == host && known.alternate.is_none() => {
                known.alternate = Some(port);
            }
            Some(_) => (),
        }
    }
    found.into_iter().map(|(_, host)| host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn addresses() -> Vec<Multiaddr> {
        parsed(&[
            "/ip4/1.2.3.4/tcp/30001",
            "/ip4/1.2.3.4/udp/30001/quic-v1",
            "/ip4/1.2.3.4/udp/30078",
            "/ip4/1.2.3.4/udp/30079",
            "/dns4/crew-relay-0.crew-relays.shop.svc.cluster.local/tcp/4001",
            "/dns4/crew-relay-0.crew-relays.shop.svc.cluster.local/udp/3478",
            "/dns4/crew-relay-0.crew-relays.shop.svc.cluster.local/udp/3479",
        ])
    }

    fn stun_host(host: &str, primary: u16, alternate: Option<u16>) -> StunHost {
        StunHost {
            host: host.to_owned(),
            primary,
            alternate,
        }
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
        assert_eq!(
            stun(&addresses(), false),
            [stun_host("1.2.3.4", 30078, Some(30079))]
        );
        let inside = "crew-relay-0.crew-relays.shop.svc.cluster.local";
        assert_eq!(
            stun(&addresses(), true),
            [stun_host(inside, 3478, Some(3479))]
        );
        assert_eq!(stun(&addresses()[..2], false), []);
    }

    #[test]
    fn each_kind_of_host_has_its_stun_service() {
        let addresses = parsed(&[
            "/ip4/1.2.3.4/udp/1",
            "/ip6/2a00::1/udp/2",
            "/ip4/5.6.7.8/udp/3",
            "/ip6/2a00::1/udp/4",
            "/ip6/2a00::1/udp/5",
            "/dns4/relay.example.org/udp/6",
        ]);
        assert_eq!(
            stun(&addresses, false),
            [
                stun_host("1.2.3.4", 1, None),
                stun_host("2a00::1", 2, Some(4)),
                stun_host("relay.example.org", 6, None),
            ]
        );
    }
}
