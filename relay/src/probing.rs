//! Filtering probes: one datagram with the asker's nonce, to the address that its own connection comes from and no
//! other, so that nobody can have one sent to somebody else.
//!
//! What has to be true for silence to mean something: the datagram leaves from an address under which the asker
//! knows this relay. Inside a cluster, and on one private network, it does; whether it does for others is what
//! [`crate::egress`] finds out. Where it does not, the relay says `Untestable`.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use peerup_protocol::PeerId;
use peerup_protocol::frame::{ProbeAnswer, ProbeAsk};
use peerup_protocol::stun::limiter::{Limiter, Rate};
use peerup_reachability::address::is_global;

use crate::egress::{Egress, Leave};
use crate::stun::Stun;

/// Probes of one peer: a measurement needs sixteen at most.
const PEER: Rate = Rate {
    interval: Duration::from_secs(1),
    burst: 16,
};
/// Probes to one address: many peers may share it.
const SOURCE: Rate = Rate {
    interval: Duration::from_millis(50),
    burst: 64,
};
/// Below are the ports of well-known services, and others may stand behind the asker's address.
const LOWEST_PORT: u16 = 1024;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) peer: PeerId,
    /// Where its connection comes from.
    pub(crate) source: IpAddr,
    /// Whether it is a pod of the relay's own cluster.
    pub(crate) is_pod_here: bool,
}

/// Sends probes within limits.
#[derive(Debug)]
pub(crate) struct Probing {
    stun: Arc<Stun>,
    egress: Arc<Egress>,
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
    pub(crate) fn new(stun: Arc<Stun>, egress: Arc<Egress>) -> Self {
        Self {
            stun,
            egress,
            limits: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// Does what a peer asks for.
    pub(crate) fn send(&self, asker: &Asker, ask: &ProbeAsk) -> ProbeAnswer {
        let source = asker.source.to_canonical();
        let allowed = self
            .limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .allow(self.started.elapsed(), asker.peer, source);
        if !allowed {
            return ProbeAnswer::Limited;
        }
        let Some(leave) = leave(asker, &self.egress).filter(|_| ask.port >= LOWEST_PORT) else {
            return ProbeAnswer::Untestable;
        };
        let to = SocketAddr::new(source, ask.port);
        if self.stun.probe(ask.from, to, leave, &ask.nonce) {
            ProbeAnswer::Sent
        } else {
            ProbeAnswer::Untestable
        }
    }
}

/// From where a datagram must leave so that the asker knows its source; nothing where it can't. Askers with an address
/// that is not globally routable are inside, or on the same private network.
fn leave(asker: &Asker, egress: &Egress) -> Option<Leave> {
    let source = asker.source.to_canonical();
    if asker.is_pod_here || !is_global(source) {
        return Some(Leave::Any);
    }
    egress.leave(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_outside_needs_an_address_that_it_knows() {
        let unknown = Egress::default();
        for (source, is_pod_here, expected) in [
            ("10.1.0.9", false, Some(Leave::Any)),
            ("fd00::9", false, Some(Leave::Any)),
            ("100.64.0.9", false, Some(Leave::Any)),
            ("::ffff:10.1.0.9", false, Some(Leave::Any)),
            ("2a00:1::9", true, Some(Leave::Any)),
            ("2a00:1::9", false, None),
            ("11.0.0.9", false, None),
        ] {
            let asker = Asker {
                peer: PeerId::random(),
                source: source.parse().unwrap(),
                is_pod_here,
            };
            assert_eq!(leave(&asker, &unknown), expected, "{source}");
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
