//! Filtering probes: one datagram with the asker's nonce, to the address that its own connection comes from.
//!
//! What has to be true for silence to mean something: the datagram leaves from an address under which the asker
//! knows this relay. Inside a cluster it does. Behind a node's or a load balancer's address it does not: a relay that
//! is known outside by addresses of which none is its own says `Untestable` to askers outside.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use multiaddr::Protocol as Part;
use peerup_protocol::frame::{ProbeAnswer, ProbeAsk};
use peerup_protocol::stun::limiter::{Limiter, Rate};
use peerup_protocol::{Multiaddr, PeerId};
use peerup_reachability::address::is_global;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::addresses::Addresses;
use crate::stun::Stun;

/// Probes of one peer: a measurement needs eight at most.
const PEER: Rate = Rate {
    interval: Duration::from_secs(1),
    burst: 16,
};
/// Probes to one address: many peers may share it.
const SOURCE: Rate = Rate {
    interval: Duration::from_millis(50),
    burst: 64,
};
/// Longest time to look up an outside name.
const LOOKUP: Duration = Duration::from_secs(1);

/// Sends probes within limits.
#[derive(Debug)]
pub(crate) struct Probing {
    stun: Arc<Stun>,
    addresses: Arc<Addresses>,
    limits: Mutex<Limits>,
    started: Instant,
}

#[derive(Debug, Default)]
struct Limits {
    peers: Limiter<PeerId>,
    sources: Limiter<IpAddr>,
}

impl Limits {
    fn allow(&mut self, now: Duration, peer: PeerId, source: IpAddr) -> bool {
        self.peers.allow(now, peer, PEER) && self.sources.allow(now, source, SOURCE)
    }
}

impl Probing {
    pub(crate) fn new(stun: Arc<Stun>, addresses: Arc<Addresses>) -> Self {
        Self {
            stun,
            addresses,
            limits: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// Does what a peer asks for whose connection comes from `source`.
    pub(crate) async fn send(&self, peer: PeerId, source: IpAddr, ask: &ProbeAsk) -> ProbeAnswer {
        let source = source.to_canonical();
        let allowed = self
            .limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .allow(self.started.elapsed(), peer, source);
        if !allowed {
            return ProbeAnswer::Limited;
        }
        let outside = resolve(self.addresses.outside().await).await;
        if ask.port == 0 || !is_testable(source, &outside, &own()) {
            return ProbeAnswer::Untestable;
        }
        let to = SocketAddr::new(source, ask.port);
        if self.stun.probe(ask.from, to, &ask.nonce) {
            ProbeAnswer::Sent
        } else {
            ProbeAnswer::Untestable
        }
    }
}

/// Whether a datagram to `asker` leaves from an address under which it knows this relay. Askers with an address that
/// is not globally routable are inside, or on the same private network.
fn is_testable(asker: IpAddr, outside: &[IpAddr], own: &[IpAddr]) -> bool {
    if !is_global(asker) {
        return true;
    }
    let mut known = outside
        .iter()
        .filter(|ip| ip.is_ipv4() == asker.is_ipv4())
        .peekable();
    known.peek().is_none() || known.any(|ip| own.contains(ip))
}

/// Addresses of this machine's interfaces.
fn own() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.iter().map(if_addrs::Interface::ip).collect(),
        Err(error) => {
            tracing::warn!(%error, "interfaces can't be read");
            Vec::new()
        }
    }
}

/// The IP addresses that outside addresses stand for; a name that is not found stands for none.
async fn resolve(addresses: Vec<Multiaddr>) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for address in addresses {
        match address.iter().next() {
            Some(Part::Ip4(ip)) => found.push(ip.into()),
            Some(Part::Ip6(ip)) => found.push(ip.into()),
            Some(Part::Dns(name) | Part::Dns4(name) | Part::Dns6(name)) => {
                if let Ok(Ok(ips)) = timeout(LOOKUP, lookup_host((&*name, 0))).await {
                    found.extend(ips.map(|ip| ip.ip().to_canonical()));
                }
            }
            _ => (),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn behind_anothers_address_strangers_outside_are_not_tested() {
        let own = ips(&["10.1.0.7", "11.0.0.1", "fd00::7"]);
        for (asker, outside, testable) in [
            ("10.1.0.9", &["203.0.114.1"][..], true),
            ("fd00::9", &["203.0.114.1"], true),
            ("100.64.0.9", &["203.0.114.1"], true),
            ("11.0.0.9", &["11.0.0.1"], true),
            ("11.0.0.9", &["203.0.114.1", "11.0.0.1"], true),
            ("11.0.0.9", &["203.0.114.1"], false),
            ("11.0.0.9", &[], true),
            ("2a00:1::9", &["11.0.0.1"], true),
            ("2a00:1::9", &["11.0.0.1", "2a00:1::1"], false),
        ] {
            let asker: IpAddr = asker.parse().unwrap();
            assert_eq!(
                is_testable(asker, &ips(outside), &own),
                testable,
                "{asker} {outside:?}"
            );
        }
    }

    #[test]
    fn a_peer_and_an_address_have_a_burst_and_a_rate() {
        let mut limits = Limits::default();
        let source: IpAddr = "11.0.0.9".parse().unwrap();
        let peer = PeerId::random();
        let at = |limits: &mut Limits, seconds| {
            let now = Duration::from_secs(seconds);
            (0..99).filter(|_| limits.allow(now, peer, source)).count()
        };
        assert_eq!((at(&mut limits, 0), at(&mut limits, 2)), (16, 2));
        let others = (0..99).filter(|_| {
            let now = Duration::from_secs(2);
            limits.allow(now, PeerId::random(), source)
        });
        assert_eq!(others.count(), 62, "those of one address have 64 together");
    }
}
