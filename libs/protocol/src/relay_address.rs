//! Addresses of relays, as a network document carries them (pure).
//!
//! For each relay there are inside addresses (a name of a Service: `….svc.…`), which only pods can use, and outside
//! ones. A plain `/<host>/udp/<port>` is STUN: at each host the first is the relay's primary port, the second its
//! alternate.

use multiaddr::{Multiaddr, Protocol};

/// How a host is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKind {
    /// By an IPv4 address.
    Ip4,
    /// By an IPv6 address.
    Ip6,
    /// By a name that DNS knows.
    Dns,
}

/// The host that an address begins with: an IP address in its usual text, or a DNS name.
#[must_use]
pub fn host(address: &Multiaddr) -> Option<(HostKind, String)> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some((HostKind::Ip4, ip.to_string())),
        Some(Protocol::Ip6(ip)) => Some((HostKind::Ip6, ip.to_string())),
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => {
            Some((HostKind::Dns, name.into_owned()))
        }
        _ => None,
    }
}

/// The port of a STUN address; nothing of an address for connections.
#[must_use]
pub fn stun_port(address: &Multiaddr) -> Option<u16> {
    let mut parts = address.iter().skip(1);
    match (parts.next(), parts.next()) {
        (Some(Protocol::Udp(port)), None) => Some(port),
        _ => None,
    }
}

/// `<pod>.<service>.<namespace>.svc.…`: a name that only the cluster's DNS knows.
#[must_use]
pub fn is_inside(address: &Multiaddr) -> bool {
    match host(address) {
        Some((HostKind::Dns, name)) => name.split('.').skip(2).take(2).any(|label| label == "svc"),
        Some((HostKind::Ip4 | HostKind::Ip6, _)) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_tells_its_host_and_what_it_is_for() {
        let inside = "crew-relay-0.crew-relays.shop.svc.cluster.local";
        for (text, expected) in [
            (
                "/ip4/1.2.3.4/udp/3478",
                (Some((HostKind::Ip4, "1.2.3.4")), Some(3478), false),
            ),
            (
                "/ip6/2a00::1/udp/4001/quic-v1",
                (Some((HostKind::Ip6, "2a00::1")), None, false),
            ),
            (
                "/dns4/relay.example.org/tcp/4001",
                (Some((HostKind::Dns, "relay.example.org")), None, false),
            ),
            (
                &format!("/dns4/{inside}/udp/3479"),
                (Some((HostKind::Dns, inside)), Some(3479), true),
            ),
            ("/memory/7", (None, None, false)),
            (
                "/ip4/1.2.3.4",
                (Some((HostKind::Ip4, "1.2.3.4")), None, false),
            ),
        ] {
            let address: Multiaddr = text.parse().unwrap();
            let host = host(&address);
            let host = host.as_ref().map(|(kind, name)| (*kind, name.as_str()));
            assert_eq!(
                (host, stun_port(&address), is_inside(&address)),
                expected,
                "{text}"
            );
        }
    }
}
