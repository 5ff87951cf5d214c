//! The cheaper look between two full measurements: the same addresses here, and one STUN server that sees the same
//! address there. What filters and mappings are it does not say; that is why full ones come in between.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use peerup_protocol::grade::IpVersion;
use peerup_protocol::stun::{MAX_MESSAGE, Response, request};
use peerup_reachability::Facts;
use peerup_reachability::prober::Answer;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use super::facts;

/// When the question is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What a full measurement has seen, as far as one question can confirm it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Baseline {
    interfaces: BTreeSet<IpAddr>,
    route: Option<IpAddr>,
    /// Whom to ask, and at which address it saw this peer; one for each IP version.
    seen: Vec<(SocketAddr, IpAddr)>,
}

impl Baseline {
    /// Nothing when nobody has answered: then there is nobody to ask.
    pub(super) fn of(facts: &Facts) -> Option<Self> {
        let versions = [IpVersion::V4, IpVersion::V6].into_iter();
        let seen: Vec<_> = versions
            .filter_map(|version| {
                let rounds = &facts.measurement.of(version).rounds;
                let Answer { server, mapped } = rounds.iter().flatten().next()?;
                Some((*server, mapped.ip()))
            })
            .collect();
        (!seen.is_empty()).then(|| Self {
            interfaces: facts.interfaces.iter().copied().collect(),
            route: facts.route,
            seen,
        })
    }

    /// Whether all of it is still so.
    pub(super) async fn holds(&self) -> bool {
        self.is_at_home(&facts::interfaces(), facts::route()) && self.is_seen_alike().await
    }

    async fn is_seen_alike(&self) -> bool {
        for (server, expected) in &self.seen {
            let mapped = timeout(PATIENCE, ask(*server)).await;
            if mapped.ok().flatten() != Some(*expected) {
                return false;
            }
        }
        true
    }

    /// Whether the addresses here are the same.
    fn is_at_home(&self, interfaces: &[IpAddr], route: Option<IpAddr>) -> bool {
        self.interfaces == interfaces.iter().copied().collect() && self.route == route
    }
}

/// At which address the server sees a socket here.
async fn ask(server: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(server).await.ok()?;
    let transaction = rand::random();
    let question = request(&transaction);
    let asking = async {
        for _ in 0..2 {
            // What can't be sent is not answered.
            let _ = socket.send(&question).await;
            sleep(AGAIN).await;
        }
        std::future::pending().await
    };
    let answered = async {
        let mut buffer = vec![0; MAX_MESSAGE];
        loop {
            // An ICMP error of the question comes out here; it is asked again.
            let length = socket.recv(&mut buffer).await.unwrap_or_default();
            let Ok(response) = Response::decode(buffer.get(..length)?) else {
                continue;
            };
            if response.transaction == transaction {
                return Some(response.result.ok()?.ip().to_canonical());
            }
        }
    };
    tokio::select! {
        answer = answered => answer,
        never = asking => never,
    }
}

#[cfg(test)]
mod tests;
