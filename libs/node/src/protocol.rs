//! The stream protocols and who is offered which.

use libp2p::StreamProtocol;
use peerup_protocol::names::ProtocolNames;

use crate::config::Role;

/// A stream protocol of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Exchange of records; also on gated connections.
    Member,
    /// Pairing handshake, served by relays; also on gated connections.
    Pair,
    /// Roster and renewals, served by relays.
    Roster,
    /// Reports of outside peers, served by relays.
    Report,
}

impl Protocol {
    /// Whether a connection to a peer that is not admitted may carry it.
    #[must_use]
    pub fn before_admission(self) -> bool {
        match self {
            Self::Member | Self::Pair => true,
            Self::Roster | Self::Report => false,
        }
    }
}

/// A protocol with its name on the wire.
pub(crate) type Named = (Protocol, StreamProtocol);

/// Names of one network, and what this node offers to others.
#[derive(Debug, Clone)]
pub(crate) struct Offers {
    names: Vec<Named>,
    /// Offered to everyone.
    pub(crate) gated: Vec<Named>,
    /// Offered to admitted peers.
    pub(crate) full: Vec<Named>,
}

impl Offers {
    /// Fails when a name is not a valid protocol name, which `ProtocolNames` rules out.
    pub(crate) fn new(
        names: &ProtocolNames,
        role: &Role,
    ) -> Result<Self, libp2p::swarm::InvalidProtocol> {
        let names = vec![
            (
                Protocol::Member,
                StreamProtocol::try_from_owned(names.member())?,
            ),
            (
                Protocol::Pair,
                StreamProtocol::try_from_owned(names.pair())?,
            ),
            (
                Protocol::Roster,
                StreamProtocol::try_from_owned(names.roster())?,
            ),
            (
                Protocol::Report,
                StreamProtocol::try_from_owned(names.report())?,
            ),
        ];
        let full: Vec<Named> = names
            .iter()
            .filter(|(protocol, _)| serves(role, *protocol))
            .cloned()
            .collect();
        let gated = full
            .iter()
            .filter(|(protocol, _)| protocol.before_admission())
            .cloned()
            .collect();
        Ok(Self { names, gated, full })
    }

    /// The protocol's name on the wire.
    pub(crate) fn name(&self, protocol: Protocol) -> Option<StreamProtocol> {
        self.names
            .iter()
            .find(|(p, _)| *p == protocol)
            .map(|(_, name)| name.clone())
    }
}

fn serves(role: &Role, protocol: Protocol) -> bool {
    match (protocol, role) {
        (Protocol::Member, Role::Peer | Role::Relay(_))
        | (Protocol::Pair | Protocol::Roster | Protocol::Report, Role::Relay(_)) => true,
        (Protocol::Pair | Protocol::Roster | Protocol::Report, Role::Peer) => false,
    }
}
