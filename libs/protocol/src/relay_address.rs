//! Addresses of relays, as a network document carries them (pure).
//!
//! For each relay there are inside addresses (a name of a Service: `….svc.…`), which only pods can use, and outside
//! ones. A plain `/<host>/udp/<port>` is STUN: at each host the first is the relay's primary port, the second its
//! alternate.

use multiaddr::{Multiaddr, Protocol};

/// What an address of a relay is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Connections, over TCP or QUIC.
    Connection,
    /// STUN requests.
    Stun,
}

/// What an address is for: a host (IP address, or name of one IP version) with tcp, quic-v1, or udp for STUN. Nothing of
/// any other, which no peer can use.
#[must_use]
pub fn purpose(address: &Multiaddr) -> Option<Purpose> {
    let parts: Vec<_> = address.iter().collect();
    match parts.as_slice() {
        [host, end @ ..] if is_host(host) => match end {
            [Protocol::Udp(_)] => Some(Purpose::Stun),
            _ => is_transport(end).then_some(Purpose::Connection),
        },
        _ => None,
    }
}

/// An IP address, or a name whose IP version is known.
pub(crate) fn is_host(part: &Protocol<'_>) -> bool {
    if let Protocol::Dns4(name) | Protocol::Dns6(name) = part {
        return is_dns_name(name);
    }
    matches!(part, Protocol::Ip4(_) | Protocol::Ip6(_))
}

/// What connections run over, and nothing else.
pub(crate) fn is_transport(parts: &[Protocol<'_>]) -> bool {
    matches!(
        parts,
        [Protocol::Tcp(_)] | [Protocol::Udp(_), Protocol::QuicV1]
    )
}

fn is_dns_name(name: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.' || byte == b'_';
    !name.is_empty() && name.len() <= 253 && name.bytes().all(plain)
}

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

/// The port of a STUN address; nothing of any other.
#[must_use]
pub fn stun_port(address: &Multiaddr) -> Option<u16> {
    purpose(address).filter(|purpose| *purpose == Purpose::Stun)?;
    match address.iter().last() {
        Some(Protocol::Udp(port)) => Some(port),
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
    fn only_what_peers_can_use_has_a_purpose() {
        for (text, expected) in [
            ("/ip4/1.2.3.4/tcp/1", Some(Purpose::Connection)),
            ("/dns6/a.example/udp/1/quic-v1", Some(Purpose::Connection)),
            ("/dns4/a.example/udp/1", Some(Purpose::Stun)),
            ("/dns/a.example/tcp/1", None),
            ("/dnsaddr/a.example", None),
            ("/dns4/a b/tcp/1", None),
            ("/ip4/1.2.3.4", None),
            ("/ip4/1.2.3.4/udp/1/quic", None),
            ("/ip4/1.2.3.4/tcp/1/ws", None),
            ("/ip4/1.2.3.4/udp/1/quic-v1/webtransport", None),
            ("/memory/7", None),
        ] {
            let address: Multiaddr = text.parse().unwrap();
            assert_eq!(purpose(&address), expected, "{text}");
        }
    }

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
