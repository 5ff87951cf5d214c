//! Which of the given addresses are dialled (pure).

use std::collections::BTreeSet;

use libp2p::multiaddr::Protocol as Part;
use peerup_protocol::{Multiaddr, PeerId};

/// Addresses of one dial.
const MAX: usize = 32;

/// Each address once, at most [`MAX`], and of the circuits one through each relay: they would all
/// use the same connection to it.
pub(crate) fn choose(addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let (mut relays, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut chosen = addresses;
    chosen.retain(|address| match through(address) {
        Some(relay) => relays.insert(relay),
        None => seen.insert(address.to_vec()),
    });
    chosen.truncate(MAX);
    chosen
}

/// Whether the address leads through a relay.
pub(crate) fn is_circuit(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Part::P2pCircuit)
}

/// The relay of a circuit.
pub(crate) fn through(address: &Multiaddr) -> Option<PeerId> {
    let parts = address.iter().take_while(|part| *part != Part::P2pCircuit);
    let last = parts.last().filter(|_| is_circuit(address))?;
    if let Part::P2p(relay) = last {
        Some(relay)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn one_circuit_a_relay() {
        let (a, b) = (PeerId::random(), PeerId::random());
        let circuits = [
            format!("/ip4/10.0.0.1/tcp/1/p2p/{a}/p2p-circuit"),
            format!("/dns4/relay/udp/1/quic-v1/p2p/{a}/p2p-circuit/p2p/{b}"),
            format!("/ip4/10.0.0.1/tcp/1/p2p/{b}/p2p-circuit"),
        ];
        let [first, second, third] = circuits.each_ref().map(String::as_str);
        let direct = "/ip4/10.0.0.9/tcp/1";
        let chosen = choose(parse(&[direct, first, second, third, direct]));
        assert_eq!(chosen, parse(&[direct, first, third]));
    }

    #[test]
    fn a_direct_address_may_end_in_its_peer() {
        let texts = [1, 2].map(|port| format!("/ip4/10.0.0.1/tcp/{port}/p2p/{}", PeerId::random()));
        let addresses = parse(&texts.each_ref().map(String::as_str));
        assert_eq!(choose(addresses.clone()), addresses);
    }

    #[test]
    fn at_most_thirty_two() {
        let many = (0..100).map(|port| format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap());
        assert_eq!(choose(many.collect()).len(), MAX);
    }
}
