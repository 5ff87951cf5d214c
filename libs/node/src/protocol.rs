//! The stream protocols and who is offered which.
//!
//! A service has a name of its own on the wire (`/peerup/<ns>/svc/<service>/1.0.0`).
//! Negotiation of libp2p compares whole names, so a listener cannot take any
//! service and refuse afterwards: it offers exactly those it exposes, and to the
//! dialer [`crate::OpenError::Unsupported`] means that there is no such service.

use std::sync::{Arc, PoisonError, RwLock};

use libp2p::{StreamProtocol, swarm::InvalidProtocol};
use peerup_protocol::{names::ProtocolNames, service::ServiceName};

use crate::config::Role;

/// Bytes of the names of all exposed services: an admitted peer's identify message, which lists
/// them, has 4096.
const MAX_SERVICE_NAMES: usize = 2048;

/// A stream protocol of the network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Exchange of records; also on gated connections.
    Member,
    /// Pairing handshake, served by relays; also on gated connections.
    Pair,
    /// Registration of an invite, served by relays to admitted peers; the handshake with an inviter, served by peers
    /// on gated connections that began while their own invite was open.
    Invite,
    /// Roster and renewals, served by relays.
    Roster,
    /// Reports of outside peers, served by relays.
    Report,
    /// Filtering probes, served by relays.
    Probe,
    /// Comparison by emoji, served by peers.
    Verify,
    /// Round trip time, served by all.
    Ping,
    /// How the other side sees the connection, served by all.
    Trace,
    /// Addresses without a relay, served by peers.
    Direct,
    /// Bytes of a service, served by peers that expose it.
    Service(ServiceName),
}

impl Protocol {
    /// Whether a connection to a peer that is not admitted may carry it.
    #[must_use]
    pub fn before_admission(&self) -> bool {
        match self {
            Self::Member | Self::Pair | Self::Invite => true,
            Self::Roster
            | Self::Report
            | Self::Probe
            | Self::Verify
            | Self::Ping
            | Self::Trace
            | Self::Direct
            | Self::Service(_) => false,
        }
    }
}

/// A protocol with its name on the wire; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Named(Arc<(Protocol, StreamProtocol)>);

impl Named {
    fn new(protocol: Protocol, name: String) -> Result<Self, InvalidProtocol> {
        let name = StreamProtocol::try_from_owned(name)?;
        Ok(Self(Arc::new((protocol, name))))
    }

    pub(crate) fn protocol(&self) -> &Protocol {
        &self.0.0
    }

    pub(crate) fn name(&self) -> &StreamProtocol {
        &self.0.1
    }
}

/// The names of the exposed services are too long for one message, or one of them is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the names of all exposed services together have over {MAX_SERVICE_NAMES} bytes; expose fewer or give them shorter names"
)]
pub struct TooManyServices;

/// The services that are exposed at present; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Services(Arc<RwLock<Arc<[Named]>>>);

impl Services {
    fn get(&self) -> Arc<[Named]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, services: Arc<[Named]>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = services;
    }
}

/// What is offered on one connection.
#[derive(Debug, Clone)]
pub(crate) struct Offered {
    fixed: Arc<[Named]>,
    /// Not on gated connections.
    services: Option<Services>,
}

impl Offered {
    /// The names of this moment.
    pub(crate) fn now(&self) -> Vec<Named> {
        let services = self.services.as_ref().map(Services::get);
        let services = services.iter().flat_map(|services| services.iter());
        self.fixed.iter().chain(services).cloned().collect()
    }
}

/// Names of one network, and what this node offers to others.
#[derive(Debug, Clone)]
pub(crate) struct Offers {
    names: ProtocolNames,
    gated: Arc<[Named]>,
    /// At a relay, on connections of guests.
    guests: Arc<[Named]>,
    /// On gated connections that begin while this peer's own invite is open.
    invited: Arc<[Named]>,
    full: Arc<[Named]>,
    services: Services,
}

impl Offers {
    /// Fails when a name is not a valid protocol name, which `ProtocolNames` rules out.
    pub(crate) fn new(names: &ProtocolNames, role: &Role) -> Result<Self, InvalidProtocol> {
        let served = FIXED.into_iter().filter(|protocol| serves(role, protocol));
        let full: Vec<Named> = served
            .map(|protocol| Named::new(protocol.clone(), text(names, &protocol)))
            .collect::<Result<_, _>>()?;
        let mut gated = full.clone();
        gated.retain(|named| for_strangers(named.protocol()));
        let mut guests = full.clone();
        guests.retain(|named| for_guests(named.protocol()));
        let mut invited = gated.clone();
        if *role == Role::Peer {
            invited.push(Named::new(Protocol::Invite, names.invite())?);
        }
        Ok(Self {
            names: names.clone(),
            gated: gated.into(),
            guests: guests.into(),
            invited: invited.into(),
            full: full.into(),
            services: Services::default(),
        })
    }

    /// What a connection carries whose remote is admitted.
    pub(crate) fn to_members(&self) -> Offered {
        Offered {
            fixed: Arc::clone(&self.full),
            services: Some(self.services.clone()),
        }
    }

    /// What a connection of a guest carries at a relay.
    pub(crate) fn to_guests(&self) -> Offered {
        Offered {
            fixed: Arc::clone(&self.guests),
            services: None,
        }
    }

    /// What a connection carries whose remote is not admitted, while this peer's own invite is open or not.
    pub(crate) fn to_strangers(&self, invited: bool) -> Offered {
        Offered {
            fixed: Arc::clone(if invited { &self.invited } else { &self.gated }),
            services: None,
        }
    }

    /// Exposes these services and no others, on connections that are there too.
    pub(crate) fn expose(&self, services: Vec<ServiceName>) -> Result<(), TooManyServices> {
        let named: Vec<Named> = services
            .into_iter()
            .map(|service| {
                let name = self.names.svc(&service);
                Named::new(Protocol::Service(service), name).map_err(|_| TooManyServices)
            })
            .collect::<Result<_, _>>()?;
        let bytes: usize = named.iter().map(|named| named.name().as_ref().len()).sum();
        if bytes > MAX_SERVICE_NAMES {
            return Err(TooManyServices);
        }
        self.services.set(named.into());
        Ok(())
    }

    /// The protocol's name on the wire.
    pub(crate) fn name(&self, protocol: &Protocol) -> Option<StreamProtocol> {
        StreamProtocol::try_from_owned(text(&self.names, protocol)).ok()
    }
}

/// Those that every node has or has not by its role.
const FIXED: [Protocol; 10] = [
    Protocol::Member,
    Protocol::Pair,
    Protocol::Invite,
    Protocol::Roster,
    Protocol::Report,
    Protocol::Probe,
    Protocol::Verify,
    Protocol::Ping,
    Protocol::Trace,
    Protocol::Direct,
];

fn text(names: &ProtocolNames, protocol: &Protocol) -> String {
    match protocol {
        Protocol::Member => names.member(),
        Protocol::Pair => names.pair(),
        Protocol::Invite => names.invite(),
        Protocol::Roster => names.roster(),
        Protocol::Report => names.report(),
        Protocol::Probe => names.probe(),
        Protocol::Verify => names.verify(),
        Protocol::Ping => names.ping(),
        Protocol::Trace => names.trace(),
        Protocol::Direct => names.direct(),
        Protocol::Service(service) => names.svc(service),
    }
}

fn serves(role: &Role, protocol: &Protocol) -> bool {
    match protocol {
        Protocol::Member | Protocol::Ping | Protocol::Trace => true,
        Protocol::Pair
        | Protocol::Invite
        | Protocol::Roster
        | Protocol::Report
        | Protocol::Probe => {
            matches!(role, Role::Relay(_))
        }
        Protocol::Verify | Protocol::Direct | Protocol::Service(_) => matches!(role, Role::Peer),
    }
}

/// Whether strangers are offered it at any time. An invite is open for a while, and at a relay for members.
fn for_strangers(protocol: &Protocol) -> bool {
    match protocol {
        Protocol::Member | Protocol::Pair => true,
        Protocol::Invite
        | Protocol::Roster
        | Protocol::Report
        | Protocol::Probe
        | Protocol::Verify
        | Protocol::Ping
        | Protocol::Trace
        | Protocol::Direct
        | Protocol::Service(_) => false,
    }
}

/// Whether a relay offers it to guests: they show their grant, may become members, and see whether the relay lives.
fn for_guests(protocol: &Protocol) -> bool {
    match protocol {
        Protocol::Member | Protocol::Pair | Protocol::Ping | Protocol::Trace => true,
        Protocol::Invite
        | Protocol::Roster
        | Protocol::Report
        | Protocol::Probe
        | Protocol::Verify
        | Protocol::Direct
        | Protocol::Service(_) => false,
    }
}
