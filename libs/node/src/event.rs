//! What a node tells.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p's enums are open; the rest does not concern this file"
)]

use std::net::IpAddr;

use libp2p::{core::ConnectedPoint, multiaddr::Protocol as Part, swarm::ConnectionId};
use peerup_protocol::{Multiaddr, PeerId};

use crate::{protocol::Protocol, stream::Stream, targets};

/// Where a connection comes from or leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The remote address; of a circuit, the way through the relay.
    pub address: Multiaddr,
    /// Whether a relay lies between.
    pub relayed: bool,
}

impl Origin {
    pub(crate) fn of(endpoint: &ConnectedPoint) -> Self {
        let relayed = endpoint.is_relayed();
        let address = match endpoint {
            // Of an inbound circuit the remote address is its PeerId alone.
            ConnectedPoint::Listener {
                local_addr,
                send_back_addr,
            } if relayed => local_addr.iter().chain(send_back_addr).collect(),
            _ => endpoint.get_remote_address().clone(),
        };
        Self { address, relayed }
    }

    /// The relay of a circuit.
    #[must_use]
    pub fn relay(&self) -> Option<PeerId> {
        targets::through(&self.address)
    }

    /// The remote's IP address; `None` for a circuit.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        if self.relayed {
            None
        } else {
            ip_of(&self.address)
        }
    }

    /// Whether it runs over QUIC.
    #[must_use]
    pub fn is_quic(&self) -> bool {
        self.address.iter().any(|part| part == Part::QuicV1)
    }
}

/// The first IP address in a multiaddr.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Part::Ip4(ip) => Some(ip.into()),
        Part::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// Something that happened on the network. Inbound streams come from the connections themselves,
/// so the first may come before its connection's [`Event::Connected`].
#[derive(Debug)]
pub enum Event {
    /// A socket is open at this address.
    Listening {
        /// The address, with the port that the system chose.
        address: Multiaddr,
    },
    /// A connection is established.
    Connected {
        /// The remote, proved by the transport's handshake.
        peer: PeerId,
        /// The connection.
        connection: ConnectionId,
        /// Where it leads.
        origin: Origin,
        /// Whether this node dialled.
        dialled: bool,
        /// Whether the peer was admitted, so that all protocols are there.
        admitted: bool,
    },
    /// A connection is closed.
    Disconnected {
        /// The remote.
        peer: PeerId,
        /// The connection.
        connection: ConnectionId,
        /// Connections to the same peer that are left.
        remaining: u32,
    },
    /// The remote opened a stream.
    Inbound {
        /// The remote.
        peer: PeerId,
        /// The connection that carries it.
        connection: ConnectionId,
        /// Where the connection comes from.
        origin: Origin,
        /// What was agreed on.
        protocol: Protocol,
        /// The stream.
        stream: Stream,
    },
    /// A remote told under which address it sees this node: as it is on the wire, the port not guessed.
    Observed {
        /// Who saw it.
        peer: PeerId,
        /// What it saw.
        address: Multiaddr,
    },
    /// A relay holds a reservation for this peer, anew or again.
    ReservationAccepted {
        /// The relay.
        relay: PeerId,
        /// Whether it was there before.
        renewed: bool,
    },
    /// The reservation at the relay is gone; reserve again.
    ReservationLost {
        /// The relay.
        relay: PeerId,
    },
}
