//! Asks relays for probes. A relay sends to the address that the asker's own connection comes from, so it is asked
//! over a direct connection of the IP version that is measured, which it sees where the measured socket is seen. One
//! is made for that where there is none: a pod may hold its relay from outside, through a NodePort that translates its
//! address. What is seen elsewhere even so (a NAT with several addresses) would have probes take another way, and is
//! not asked.

use std::net::IpAddr;

use multiaddr::Protocol as Part;
use peerup_node::path::{self, PathError};
use peerup_node::{ConnectionId, DialError, Multiaddr, Origin, PeerId, Protocol};
use peerup_protocol::frame::{ProbeAnswer, ProbeAsk};
use peerup_protocol::grade::IpVersion;
use peerup_protocol::relay_address::is_inside;
use tokio::sync::Mutex;

use crate::address;
use crate::session::Session;
use crate::session::exchange::{self, ExchangeError, SHORT};

/// Why a relay was not asked, or did not answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("the relay is not known any more")]
    NoRelay,
    #[error("the relay sees the connection at {0:?}, the socket is at {1}")]
    Elsewhere(Option<IpAddr>, IpAddr),
    #[error(transparent)]
    Trace(#[from] PathError),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

/// A connection for probes.
#[derive(Debug, Clone, Copy)]
struct Way {
    relay: PeerId,
    version: IpVersion,
    connection: ConnectionId,
    /// Where the relay sees it; nothing through another relay.
    seen: Option<IpAddr>,
    /// Whether it was made for the measurement.
    is_made: bool,
}

/// The relays of one measurement, and how they are asked.
pub(super) struct Relays<'a> {
    session: &'a Session,
    /// Whether the STUN services that are asked are inside.
    inside: bool,
    ways: Mutex<Vec<Way>>,
}

impl<'a> Relays<'a> {
    pub(super) fn new(session: &'a Session, inside: bool) -> Self {
        Self {
            session,
            inside,
            ways: Mutex::default(),
        }
    }

    /// What the relay says about a socket that is seen at `mapped`; `None` when it could not be asked.
    pub(super) async fn ask(
        &self,
        version: IpVersion,
        relay: PeerId,
        ask: ProbeAsk,
        mapped: IpAddr,
    ) -> Option<ProbeAnswer> {
        let asked = self.try_ask(version, relay, ask, mapped).await;
        asked
            .inspect_err(|error| tracing::debug!(%relay, %error, "relay does not probe"))
            .ok()
    }

    async fn try_ask(
        &self,
        version: IpVersion,
        relay: PeerId,
        ask: ProbeAsk,
        mapped: IpAddr,
    ) -> Result<ProbeAnswer, AskError> {
        let way = self.way(version, relay, mapped).await?;
        if way.seen != Some(mapped) {
            return Err(AskError::Elsewhere(way.seen, mapped));
        }
        let node = &self.session.node;
        let opened = node.open_on(way.connection, Protocol::Probe).await;
        Ok(exchange::ask(opened, &ask.encode(), SHORT, ProbeAnswer::decode).await?)
    }

    /// The connection to a relay over which it can be asked, if there is or can be one.
    async fn way(
        &self,
        version: IpVersion,
        relay: PeerId,
        mapped: IpAddr,
    ) -> Result<Way, AskError> {
        let mut ways = self.ways.lock().await;
        let mut known = ways.iter();
        if let Some(way) = known.find(|way| (way.relay, way.version) == (relay, version)) {
            return Ok(*way);
        }
        let of = |connection, seen, is_made| Way {
            relay,
            version,
            connection,
            seen,
            is_made,
        };
        if let Some(connection) = self.session.direct_to(&relay, version)
            && let Ok(Some(seen)) = self.seen(connection).await
            && seen == mapped
        {
            let way = of(connection, Some(seen), false);
            ways.push(way);
            return Ok(way);
        }
        let connection = self.dial(version, relay).await?;
        // At once, since a lane's time may be over before the relay says how it sees it: what was made is closed.
        let made = ways.len();
        ways.push(of(connection, None, true));
        let seen = self.seen(connection).await?;
        ways[made].seen = seen;
        Ok(ways[made])
    }

    /// Where the STUN services are, so that the connection is seen as they see the socket.
    async fn dial(&self, version: IpVersion, relay: PeerId) -> Result<ConnectionId, AskError> {
        let relays = self.session.membership().all_relays();
        let known = relays.iter().find(|known| known.peer == relay);
        let mut addresses = address::dialable(
            &known.ok_or(AskError::NoRelay)?.addresses,
            self.session.is_pod(),
        );
        addresses.retain(|address| is_inside(address) == self.inside && may_be(version, address));
        Ok(self.session.node.dial(relay, addresses).await?)
    }

    /// Where the relay sees a connection.
    async fn seen(&self, connection: ConnectionId) -> Result<Option<IpAddr>, AskError> {
        let node = &self.session.node;
        let opened = node.open_on(connection, Protocol::Trace).await;
        let answer = path::trace(&mut opened.map_err(ExchangeError::Open)?).await?;
        let origin = Origin {
            address: answer.observed,
            relayed: answer.relayed,
        };
        Ok(origin.ip().map(|ip| ip.to_canonical()))
    }

    /// Closes what was made for the measurement, and waits until it is closed: it must not look like a change of the
    /// connections to relays.
    pub(super) async fn close(&self) {
        let ways = std::mem::take(&mut *self.ways.lock().await);
        for Way { connection, .. } in ways.into_iter().filter(|way| way.is_made) {
            self.session.close(connection).await;
        }
    }
}

/// Whether an address, or a name, is of this IP version.
fn may_be(version: IpVersion, address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Part::Ip4(_) | Part::Dns4(_)) => version == IpVersion::V4,
        Some(Part::Ip6(_) | Part::Dns6(_)) => version == IpVersion::V6,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_asked_over_the_version_that_is_measured() {
        for (address, version) in [
            ("/ip4/1.2.3.4/tcp/4001", Some(IpVersion::V4)),
            ("/dns4/relay.example/udp/4001/quic-v1", Some(IpVersion::V4)),
            ("/ip6/2a00:1::1/tcp/4001", Some(IpVersion::V6)),
            ("/dns6/relay.example/tcp/4001", Some(IpVersion::V6)),
            ("/memory/7", None),
        ] {
            let address: Multiaddr = address.parse().unwrap();
            for asked in [IpVersion::V4, IpVersion::V6] {
                assert_eq!(
                    may_be(asked, &address),
                    version == Some(asked),
                    "{address} {asked}"
                );
            }
        }
    }
}
