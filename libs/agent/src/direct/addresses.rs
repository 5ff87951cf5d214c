//! Which addresses are told and which of those that are told are dialled (pure).

use std::collections::BTreeMap;
use std::net::IpAddr;

use multiaddr::Protocol as Part;
use peerup_node::{Multiaddr, PeerId};
use peerup_protocol::frame::{DirectAddress, DirectTransport, MAX_DIRECT_ADDRESSES};

/// How far an address is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Near {
    /// Loopback: on the same machine.
    Machine,
    /// On the same link.
    Link,
    /// Anywhere, as far as a type tells.
    Elsewhere,
}

impl Near {
    /// How near the relay is by which two peers have met: what is nearer than that is not theirs in common.
    pub(super) fn of_circuit(circuit: &Multiaddr) -> Self {
        match circuit.iter().next() {
            Some(Part::Ip4(ip)) => Self::of(ip.into()),
            Some(Part::Ip6(ip)) => Self::of(ip.into()),
            _ => Self::Elsewhere,
        }
    }

    fn of(ip: IpAddr) -> Self {
        let is_link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        if ip.is_loopback() {
            Self::Machine
        } else if is_link_local {
            Self::Link
        } else {
            Self::Elsewhere
        }
    }

    /// Whether two who met here can mean the same by the address.
    fn covers(self, address: &DirectAddress) -> bool {
        let needed = Self::of(address.ip());
        needed == Self::Elsewhere || needed == self
    }
}

/// Where each relay sees connections of this peer, the last of each kind; those of one IP version have one IP address,
/// the newest.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<(PeerId, DirectTransport, bool), DirectAddress>);

impl Seen {
    pub(super) fn take(&mut self, relay: PeerId, address: &Multiaddr, relays: &[PeerId]) {
        self.0.retain(|(known, ..), _| relays.contains(known));
        let Some(address) = DirectAddress::from_multiaddr(address) else {
            return;
        };
        if relays.contains(&relay) {
            let is_v6 = address.ip().is_ipv6();
            self.0.retain(|(known, _, version), seen| {
                *known != relay || *version != is_v6 || seen.ip() == address.ip()
            });
            let kind = (relay, address.transport(), address.ip().is_ipv6());
            self.0.insert(kind, address);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn all(&self) -> Vec<DirectAddress> {
        self.0.values().copied().collect()
    }
}

/// What this peer tells: where it listens, first at the addresses from which its `routes` start, then where relays see
/// it, as far as it listens there with the same transport and IP version, then at its other addresses.
pub(super) fn to_tell(
    listening: &[Multiaddr],
    seen: &[DirectAddress],
    routes: &[IpAddr],
    near: Near,
) -> Vec<DirectAddress> {
    let listening: Vec<DirectAddress> = listening
        .iter()
        .filter_map(DirectAddress::from_multiaddr)
        .collect();
    let kind = |address: &DirectAddress| (address.transport(), address.ip().is_ipv6());
    let is_served = |seen: &&DirectAddress| listening.iter().any(|own| kind(own) == kind(seen));
    let (first, rest): (Vec<_>, Vec<_>) =
        listening.iter().partition(|own| routes.contains(&own.ip()));
    let ordered = first
        .into_iter()
        .chain(seen.iter().filter(is_served))
        .chain(rest);
    few(ordered.copied(), near)
}

/// What is dialled of what the other side tells; never this peer itself.
pub(super) fn to_dial(
    told: &[DirectAddress],
    listening: &[Multiaddr],
    near: Near,
) -> Vec<Multiaddr> {
    let chosen = few(told.iter().copied(), near).into_iter();
    let addresses = chosen.map(|address| address.multiaddr());
    addresses
        .filter(|address| !listening.contains(address))
        .collect()
}

fn few(addresses: impl Iterator<Item = DirectAddress>, near: Near) -> Vec<DirectAddress> {
    let mut chosen = Vec::new();
    for address in addresses.filter(|address| near.covers(address)) {
        if chosen.len() < MAX_DIRECT_ADDRESSES && !chosen.contains(&address) {
            chosen.push(address);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn direct(texts: &[&str]) -> Vec<DirectAddress> {
        let all = parsed(texts);
        let typed = all.iter().map(DirectAddress::from_multiaddr);
        typed.map(Option::unwrap).collect()
    }

    fn texts(addresses: &[DirectAddress]) -> Vec<String> {
        addresses
            .iter()
            .map(|address| address.multiaddr().to_string())
            .collect()
    }

    fn near(relay: &str) -> Near {
        let circuit = format!("{relay}/p2p/{}/p2p-circuit", PeerId::random());
        Near::of_circuit(&circuit.parse().unwrap())
    }

    #[test]
    fn what_is_nearer_than_the_relay_is_nobodys() {
        let told = direct(&[
            "/ip4/127.0.0.1/tcp/4001",
            "/ip6/::1/udp/4001/quic-v1",
            "/ip4/169.254.1.1/tcp/4001",
            "/ip6/fe80::1/tcp/4001",
            "/ip4/10.0.0.1/tcp/4001",
        ]);
        let dialled = |near| to_dial(&told, &[], near).len();
        for (relay, expected) in [
            ("/ip4/192.0.2.1/tcp/4001", 1),
            ("/ip4/10.0.0.9/udp/4001/quic-v1", 1),
            ("/dns4/localhost/tcp/4001", 1),
            ("/ip4/127.0.0.1/tcp/4001", 3),
            ("/ip6/fe80::9/tcp/4001", 3),
        ] {
            assert_eq!(dialled(near(relay)), expected, "{relay}");
            let own: Vec<_> = told.iter().map(DirectAddress::multiaddr).collect();
            assert_eq!(to_tell(&own, &[], &[], near(relay)).len(), expected);
        }
    }

    #[test]
    fn the_way_out_comes_first_then_what_relays_see() {
        let listening = parsed(&[
            "/ip4/172.17.0.1/tcp/4001",
            "/ip4/10.0.0.2/tcp/4001",
            "/ip4/10.0.0.2/udp/4001/quic-v1",
            "/ip4/10.0.0.3/tcp/22",
        ]);
        let seen = direct(&[
            "/ip4/192.0.2.7/udp/54001/quic-v1",
            "/ip6/2001:db8::7/tcp/4001",
            "/ip4/10.0.0.2/tcp/4001",
        ]);
        let routes = ["10.0.0.2".parse().unwrap()];
        let told = to_tell(&listening, &seen, &routes, Near::Elsewhere);
        assert_eq!(
            texts(&told),
            [
                "/ip4/10.0.0.2/tcp/4001",
                "/ip4/10.0.0.2/udp/4001/quic-v1",
                "/ip4/192.0.2.7/udp/54001/quic-v1",
                "/ip4/172.17.0.1/tcp/4001",
            ]
        );
        assert_eq!(to_tell(&[], &seen, &routes, Near::Elsewhere), []);
    }

    #[test]
    fn no_more_than_eight_and_never_oneself() {
        let many: Vec<String> = (0..20)
            .map(|last| format!("/ip4/10.0.0.{last}/tcp/4001"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let listening = parsed(&many);
        assert_eq!(to_tell(&listening, &[], &[], Near::Elsewhere).len(), 8);
        let told = direct(&many);
        assert_eq!(to_dial(&told, &[], Near::Elsewhere).len(), 8);
        assert_eq!(
            to_dial(&told[..8], &listening[1..], Near::Elsewhere).len(),
            1
        );
        assert_eq!(to_dial(&[told[0]; 5], &[], Near::Elsewhere).len(), 1);
    }

    #[test]
    fn only_relays_are_believed_and_the_last_of_each_kind() {
        let (relay, stranger) = (PeerId::random(), PeerId::random());
        let mut seen = Seen::default();
        for (who, address) in [
            (relay, "/ip4/192.0.2.7/tcp/1500"),
            (relay, "/ip4/192.0.2.8/tcp/1600"),
            (stranger, "/ip4/192.0.2.9/udp/1700/quic-v1"),
            (relay, "/ip4/192.0.2.8/udp/1800/quic-v1"),
            (relay, "/ip4/192.0.2.8/udp/53/quic-v1"),
        ] {
            seen.take(who, &address.parse().unwrap(), &[relay]);
        }
        assert_eq!(
            texts(&seen.all()),
            ["/ip4/192.0.2.8/udp/1800/quic-v1", "/ip4/192.0.2.8/tcp/1600"]
        );
        for address in ["/ip6/2001:db8::1/tcp/1600", "/ip4/192.0.2.9/tcp/1900"] {
            seen.take(relay, &address.parse().unwrap(), &[relay]);
        }
        assert_eq!(
            texts(&seen.all()),
            ["/ip4/192.0.2.9/tcp/1900", "/ip6/2001:db8::1/tcp/1600"],
            "of another address nothing is left"
        );
        seen.take(relay, &"/ip4/192.0.2.8/tcp/1600".parse().unwrap(), &[]);
        assert!(seen.all().is_empty(), "it is a relay no longer");
    }
}
