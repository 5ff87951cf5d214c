//! Asks relays for probes. A relay sends to the address that the asker's own connection comes from, so it is asked
//! over a direct connection of the IP version that is measured; one is made for that where there is none. When the
//! relay sees the connection elsewhere than the socket that is measured (a pod that is inside for one and outside for
//! the other, a NAT with several addresses), a probe would take another way, and it is not asked.

use std::net::IpAddr;

use multiaddr::Protocol as Part;
use peerup_node::io::{FrameError, read_frame, write_frame};
use peerup_node::path::{self, PathError};
use peerup_node::{ConnectionId, DialError, Multiaddr, OpenError, Origin, PeerId, Protocol};
use peerup_protocol::frame::{MAX_FRAME, ProbeAnswer, ProbeAsk};
use peerup_protocol::grade::IpVersion;
use peerup_protocol::wire::DecodeError;
use tokio::sync::Mutex;

use crate::address;
use crate::session::Session;

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
    Open(#[from] OpenError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
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
    ways: Mutex<Vec<Way>>,
}

impl<'a> Relays<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        Self {
            session,
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
        let asked = self.exchange(version, relay, ask, mapped).await;
        asked
            .inspect_err(|error| tracing::debug!(%relay, %error, "relay does not probe"))
            .ok()
    }

    async fn exchange(
        &self,
        version: IpVersion,
        relay: PeerId,
        ask: ProbeAsk,
        mapped: IpAddr,
    ) -> Result<ProbeAnswer, AskError> {
        let way = self.way(version, relay).await?;
        if way.seen != Some(mapped) {
            return Err(AskError::Elsewhere(way.seen, mapped));
        }
        let node = &self.session.node;
        let mut stream = node.open_on(way.connection, Protocol::Probe).await?;
        write_frame(&mut stream, &ask.encode()).await?;
        Ok(ProbeAnswer::decode(
            &read_frame(&mut stream, MAX_FRAME).await?,
        )?)
    }

    async fn way(&self, version: IpVersion, relay: PeerId) -> Result<Way, AskError> {
        let mut ways = self.ways.lock().await;
        let mut known = ways.iter();
        if let Some(way) = known.find(|way| (way.relay, way.version) == (relay, version)) {
            return Ok(*way);
        }
        let (connection, is_made) = match self.session.direct_to(&relay, version) {
            Some(connection) => (connection, false),
            None => (self.dial(version, relay).await?, true),
        };
        let mut way = Way {
            relay,
            version,
            connection,
            seen: None,
            is_made,
        };
        let seen = self.seen(connection).await;
        way.seen = *seen.as_ref().unwrap_or(&None);
        // Also when it is of no use: what was made is closed.
        ways.push(way);
        seen.map(|_| way)
    }

    async fn dial(&self, version: IpVersion, relay: PeerId) -> Result<ConnectionId, AskError> {
        let relays = self.session.membership().all_relays();
        let known = relays.iter().find(|known| known.peer == relay);
        let mut addresses = address::dialable(
            &known.ok_or(AskError::NoRelay)?.addresses,
            self.session.is_pod(),
        );
        addresses.retain(|address| may_be(version, address));
        Ok(self.session.node.dial(relay, addresses).await?)
    }

    /// Where the relay sees a connection.
    async fn seen(&self, connection: ConnectionId) -> Result<Option<IpAddr>, AskError> {
        let node = &self.session.node;
        let mut stream = node.open_on(connection, Protocol::Trace).await?;
        let answer = path::trace(&mut stream).await?;
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

/// Whether an address is of the IP version, or a name of any.
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
