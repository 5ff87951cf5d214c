//! Asks relays for probes. A relay sends to the address that the asker's own connection comes from, so it is asked
//! over a direct connection of the IP version that is measured; one is made for that where there is none.

use std::time::Duration;

use multiaddr::Protocol as Part;
use peerup_node::io::{FrameError, read_frame, write_frame};
use peerup_node::{ConnectionId, DialError, Multiaddr, OpenError, PeerId, Protocol};
use peerup_protocol::frame::{MAX_FRAME, ProbeAnswer, ProbeAsk};
use peerup_protocol::grade::IpVersion;
use peerup_protocol::wire::DecodeError;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::address;
use crate::session::Session;

/// Longest wait until a connection is closed.
const CLOSING: Duration = Duration::from_secs(1);

/// Why a relay was not asked, or did not answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("the relay is not known any more")]
    NoRelay,
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The relays of one measurement, and the connections that were made for it.
pub(super) struct Relays<'a> {
    session: &'a Session,
    made: Mutex<Vec<(PeerId, IpVersion, ConnectionId)>>,
}

impl<'a> Relays<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        Self {
            session,
            made: Mutex::default(),
        }
    }

    /// What the relay says; `None` when it could not be asked.
    pub(super) async fn ask(
        &self,
        version: IpVersion,
        relay: PeerId,
        ask: ProbeAsk,
    ) -> Option<ProbeAnswer> {
        let asked = self.exchange(version, relay, ask).await;
        asked
            .inspect_err(|error| tracing::debug!(%relay, %error, "relay does not probe"))
            .ok()
    }

    async fn exchange(
        &self,
        version: IpVersion,
        relay: PeerId,
        ask: ProbeAsk,
    ) -> Result<ProbeAnswer, AskError> {
        let connection = self.connection(version, relay).await?;
        let node = &self.session.node;
        let mut stream = node.open_on(connection, Protocol::Probe).await?;
        write_frame(&mut stream, &ask.encode()).await?;
        Ok(ProbeAnswer::decode(
            &read_frame(&mut stream, MAX_FRAME).await?,
        )?)
    }

    async fn connection(
        &self,
        version: IpVersion,
        relay: PeerId,
    ) -> Result<ConnectionId, AskError> {
        let mut made = self.made.lock().await;
        let known = made
            .iter()
            .find(|(peer, of, _)| (peer, of) == (&relay, &version))
            .map(|(_, _, connection)| *connection);
        if let Some(connection) = known.or_else(|| self.session.direct_to(&relay, version)) {
            return Ok(connection);
        }
        let relays = self.session.membership().all_relays();
        let known = relays.iter().find(|known| known.peer == relay);
        let mut addresses = address::dialable(
            &known.ok_or(AskError::NoRelay)?.addresses,
            self.session.is_pod(),
        );
        addresses.retain(|address| may_be(version, address));
        let connection = self.session.node.dial(relay, addresses).await?;
        made.push((relay, version, connection));
        Ok(connection)
    }

    /// Closes what was made for the measurement, and waits until it is closed: it must not look like a change of the
    /// connections to relays.
    pub(super) async fn close(&self) {
        for (_, _, connection) in self.made.lock().await.drain(..) {
            self.session.node.close_connection(connection).await;
            let closed = timeout(CLOSING, self.session.until_closed(connection)).await;
            if closed.is_err() {
                tracing::debug!("a connection for probes is still closing");
            }
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
