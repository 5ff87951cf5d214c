//! The connections of a session, as the swarm tells of them.

use std::net::IpAddr;
use std::time::Duration;

use peerup_node::{ConnectionId, Origin, Protocol, path};
use peerup_protocol::PeerId;
use peerup_protocol::grade::IpVersion;
use peerup_reachability::{Link, Transport};
use tokio::time::timeout;

use super::{Session, lock};
use crate::measure::facts;

/// Longest wait until a connection that was closed is gone.
const CLOSING: Duration = Duration::from_secs(1);

/// A connection as it was made.
#[derive(Debug)]
pub(super) struct Held {
    peer: PeerId,
    origin: Origin,
    /// The address of this machine from which it leaves; neither of its transports survives another one. Nothing of a
    /// circuit, or of what was dialed by name.
    source: Option<IpAddr>,
    /// The address of this machine from which most connections left when it was made.
    route: Option<IpAddr>,
}

impl Held {
    /// Whether a connection to there would leave from the same address now. Where what was dialed by name leads is not
    /// known: it stands and falls with most others.
    fn leaves_as_before(&self) -> bool {
        match self.origin.ip() {
            Some(remote) => facts::source(remote) == self.source,
            None => facts::route() == self.route,
        }
    }
}

/// A direct connection to a relay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToRelay {
    pub(crate) relay: PeerId,
    pub(crate) connection: ConnectionId,
    /// Where it leads, unless it was dialed by name.
    pub(crate) remote: Option<IpAddr>,
    /// From where it left when it began.
    pub(crate) source: Option<IpAddr>,
}

impl Session {
    pub(crate) fn connected(&self, peer: PeerId, connection: ConnectionId, origin: &Origin) {
        let direct = origin.ip().filter(|_| !origin.relayed);
        let held = Held {
            peer,
            origin: origin.clone(),
            source: direct.and_then(facts::source),
            route: facts::route(),
        };
        lock(&self.connections).insert(connection, held);
        self.surroundings_changed();
    }

    pub(crate) fn disconnected(&self, connection: ConnectionId) {
        lock(&self.connections).remove(&connection);
        self.surroundings_changed();
    }

    /// How relays are connected: IP version and transport of each connection.
    pub(crate) fn relay_links(&self) -> Vec<Link> {
        let membership = self.membership();
        let connections = lock(&self.connections);
        connections
            .values()
            .filter(|held| membership.is_relay(&held.peer))
            .filter_map(|held| link(&held.origin))
            .collect()
    }

    /// A direct connection to `peer` over this IP version, as one would be made now: none from an address that packets
    /// to there do not leave from any more.
    pub(crate) fn direct_to(&self, peer: &PeerId, version: IpVersion) -> Option<ConnectionId> {
        let connections = lock(&self.connections);
        let mut all = connections.iter();
        all.find(|(_, held)| {
            held.peer == *peer
                && link(&held.origin).is_some_and(|link| link.version == version)
                && held.leaves_as_before()
        })
        .map(|(connection, _)| *connection)
    }

    /// Whether a connection to `peer` goes without a relay.
    pub(crate) fn is_direct(&self, peer: &PeerId) -> bool {
        let connections = lock(&self.connections);
        let mut all = connections.values();
        all.any(|held| held.peer == *peer && !held.origin.relayed)
    }

    /// The newest circuit to `peer`.
    pub(crate) fn circuit_to(&self, peer: &PeerId) -> Option<ConnectionId> {
        let connections = lock(&self.connections);
        let mut newest = connections.iter().rev();
        newest
            .find(|(_, held)| held.peer == *peer && held.origin.relayed)
            .map(|(connection, _)| *connection)
    }

    /// Direct connections to relays.
    pub(crate) fn relay_connections(&self) -> Vec<ToRelay> {
        let membership = self.membership();
        let connections = lock(&self.connections);
        connections
            .iter()
            .filter(|(_, held)| membership.is_relay(&held.peer) && !held.origin.relayed)
            .map(|(connection, held)| ToRelay {
                relay: held.peer,
                connection: *connection,
                remote: held.origin.ip(),
                source: held.source,
            })
            .collect()
    }

    /// Closes a connection, and waits until it is no more, or [`CLOSING`].
    pub(crate) async fn close(&self, connection: ConnectionId) {
        self.node.close_connection(connection).await;
        let closed = timeout(CLOSING, self.until_closed(connection)).await;
        if closed.is_err() {
            tracing::debug!(?connection, "the connection is still closing");
        }
    }

    /// Whether a ping comes back on this very connection; callers bound the time.
    pub(crate) async fn answers(&self, connection: ConnectionId) -> bool {
        let Ok(mut stream) = self.node.open_on(connection, Protocol::Ping).await else {
            return false;
        };
        path::ping(&mut stream, rand::random()).await.is_ok()
    }

    /// Waits until the connection is no more.
    pub(crate) async fn until_closed(&self, connection: ConnectionId) {
        let mut surroundings = self.watch_surroundings();
        while lock(&self.connections).contains_key(&connection) {
            if surroundings.changed().await.is_err() {
                return;
            }
        }
    }

    /// The position of the relay that carries the newest circuit to `peer`.
    pub(super) fn through(&self, peer: &PeerId, relays: &[PeerId]) -> Option<usize> {
        let connections = lock(&self.connections);
        let mut circuits = connections.values().rev().filter_map(|held| {
            let relay = held.origin.relay().filter(|_| held.peer == *peer)?;
            relays.iter().position(|known| *known == relay)
        });
        circuits.next()
    }
}

/// Nothing for a circuit.
fn link(origin: &Origin) -> Option<Link> {
    if origin.relayed {
        return None;
    }
    let is_v6 = matches!(
        origin.address.iter().next()?,
        multiaddr::Protocol::Ip6(_) | multiaddr::Protocol::Dns6(_)
    );
    let version = if is_v6 { IpVersion::V6 } else { IpVersion::V4 };
    let transport = if origin.is_quic() {
        Transport::Quic
    } else {
        Transport::Tcp
    };
    Some(Link { version, transport })
}
