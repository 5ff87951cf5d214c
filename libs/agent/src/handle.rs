//! What others ask of a running agent: ways to peers, verification, services.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peerup_node::path::{self, PathError};
use peerup_node::{Multiaddr, Origin, PeerId, Protocol, Stream};
use peerup_pairing::sas::Fingerprint;
use peerup_protocol::UnixTime;
use peerup_protocol::grade::Path;
use peerup_protocol::id::{GroupId, PeerName};
use peerup_protocol::record::MemberRecord;
use peerup_protocol::service::{Expose, Forward, ServiceName};

use crate::hosting::{self, Invitation, InviteError, InviteState};
use crate::netcheck::Netcheck;
use crate::reach::{self, ReachError};
use crate::services::{ServiceList, ServicesError};
use crate::session::Session;
use crate::shared::Shared;
use crate::status::Badge;
use crate::verify::{self, Comparison, VerifyError};

/// Why another peer can't be asked.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// There is no membership at present.
    #[error("this peer is not a member of a network at present; see peerup status")]
    NotJoined,
    /// It is this peer's own name.
    #[error("{0} is this peer; give another one's name")]
    Own(PeerName),
    /// No member has the name.
    #[error("no member is called {0}; see the members in peerup status")]
    Unknown(PeerName),
    /// No way leads there.
    #[error("{peer}: {source}")]
    Reach {
        /// Its name.
        peer: PeerName,
        /// What failed.
        source: ReachError,
    },
    /// It is there and does not answer.
    #[error("{peer}: {source}")]
    Path {
        /// Its name.
        peer: PeerName,
        /// What failed.
        source: PathError,
    },
}

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// There is no membership at present.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// It can't be made.
    #[error("reachability can't be measured: {0}")]
    Failed(String),
    /// A guest knows nobody who could help.
    #[error("this peer is a guest, and only members measure how they can be reached")]
    Guest,
    /// It took too long.
    #[error("the measurement took over {} s; see the log", MEASURE.as_secs())]
    TimedOut,
}

/// Longest time for a measurement that somebody asks for: one that is under way first, then its own.
const MEASURE: Duration = Duration::from_secs(30);

impl PeerError {
    pub(crate) fn reach(peer: PeerName, source: ReachError) -> Self {
        Self::Reach { peer, source }
    }
}

/// Another peer's answer to a ping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pong {
    /// Its name.
    pub peer: PeerName,
    /// Its identity.
    pub peer_id: PeerId,
    /// Time there and back.
    pub rtt: Duration,
    /// Direct or relayed.
    pub path: Path,
    /// Its address as this side sees it; of a circuit, the way through the relay.
    pub address: String,
    /// Whether a person here has compared with it.
    pub badge: Badge,
}

/// What lies on the way to a peer: the relay, if there is one, then the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// True of a relay.
    pub relay: bool,
    /// The peer's name; `relay-<ordinal>` of a relay.
    pub name: String,
    /// Its identity.
    pub peer_id: PeerId,
    /// Time there and back; `None` when it did not answer.
    pub rtt: Option<Duration>,
    /// Its address as this side sees it.
    pub address: Option<String>,
    /// This side's address as it sees it.
    pub observed: Option<String>,
    /// Whether a person here has compared with it; `None` of a relay.
    pub badge: Option<Badge>,
}

/// A running agent, as others use it; clones are the same.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Measures the time to a peer and back; connects first if need be.
    ///
    /// # Errors
    /// When there is no such peer, no way to it, or no answer.
    pub async fn ping(&self, peer: &PeerName) -> Result<Pong, PeerError> {
        let (session, record) = self.shared.find(peer)?;
        let (rtt, origin) = ping(&session, &record).await?;
        Ok(Pong {
            peer: record.name,
            peer_id: record.peer,
            rtt,
            path: path_of(&origin),
            address: origin.address.to_string(),
            badge: session.badge(&record.peer),
        })
    }

    /// What lies on the way to a peer, each with the time there and back.
    ///
    /// # Errors
    /// When there is no such peer, no way to it, or no answer of it; a relay that does not answer is named all the same.
    pub async fn trace(&self, peer: &PeerName) -> Result<Vec<Hop>, PeerError> {
        let (session, record) = self.shared.find(peer)?;
        let (rtt, origin) = ping(&session, &record).await?;
        let mut hops = Vec::new();
        if let Some(relay) = origin.relay() {
            hops.push(relay_hop(&session, relay).await);
        }
        let observed = trace(&session, &record).await?;
        hops.push(Hop {
            badge: Some(session.badge(&record.peer)),
            relay: false,
            name: record.name.to_string(),
            peer_id: record.peer,
            rtt: Some(rtt),
            address: Some(origin.address.to_string()),
            observed,
        });
        Ok(hops)
    }

    /// Measures anew how this peer can be reached, in full. Several who ask at once get one result.
    ///
    /// # Errors
    /// When there is no membership, or it can't be measured.
    pub async fn measure(&self) -> Result<Netcheck, MeasureError> {
        let session = self.shared.session()?;
        if session.is_guest() {
            return Err(MeasureError::Guest);
        }
        let measured = tokio::time::timeout(MEASURE, session.signals.measured()).await;
        let result = measured.map_err(|_| MeasureError::TimedOut)?;
        (*result).clone().map_err(MeasureError::Failed)
    }

    /// Something that two people can compare: what the peer has begun, else a new one.
    ///
    /// # Errors
    /// When there is no such peer, no way to it, or the exchange fails.
    pub async fn verify(&self, peer: &PeerName) -> Result<Comparison, VerifyError> {
        verify::verify(&self.shared, peer).await
    }

    /// Sixty digits in groups of five, the same at both peers, for two people who cannot be online together.
    ///
    /// # Errors
    /// When there is no such peer.
    pub fn offline_digits(&self, peer: &PeerName) -> Result<String, PeerError> {
        Ok(self.fingerprint(peer)?.1.digits())
    }

    /// Compares what the other person reads out with [`Self::offline_digits`], whole; the peer is verified, durably
    /// when this returns, if they are the same.
    ///
    /// # Errors
    /// When there is no such peer, or the outcome can't be stored.
    pub async fn verify_offline(&self, peer: &PeerName, digits: &str) -> Result<bool, VerifyError> {
        let (record, fingerprint) = self.fingerprint(peer)?;
        if !fingerprint.has_digits(digits) {
            return Ok(false);
        }
        let namespace = self.shared.session()?.membership().namespace().clone();
        let marks = &self.shared.marks;
        marks.set(&namespace, record.peer, &record.name).await?;
        self.shared.marks_changed();
        Ok(true)
    }

    fn fingerprint(&self, peer: &PeerName) -> Result<(MemberRecord, Fingerprint), PeerError> {
        let (session, record) = self.shared.find(peer)?;
        let membership = session.membership();
        let fingerprint = Fingerprint::of(membership.namespace(), &session.me(), &record.peer);
        drop(membership);
        Ok((record, fingerprint))
    }

    /// Offers a service to other members, in place of a former one of the same name.
    ///
    /// # Errors
    /// When there are too many of them.
    pub async fn expose(&self, expose: Expose) -> Result<(), ServicesError> {
        self.shared.services.expose(&self.shared, expose).await
    }

    /// Offers a service no longer, and closes its connections; false when it was not offered.
    ///
    /// # Errors
    /// As [`Self::expose`], which names of fewer services never do.
    pub async fn unexpose(&self, service: &ServiceName) -> Result<bool, ServicesError> {
        self.shared.services.unexpose(&self.shared, service).await
    }

    /// Listens on a port of 127.0.0.1 for connections to a service; where it listens.
    ///
    /// # Errors
    /// When the port is taken or there are too many forwards.
    pub async fn forward(&self, forward: Forward) -> Result<SocketAddr, ServicesError> {
        self.shared.services.forward(&self.shared, forward).await
    }

    /// Listens no longer, and closes the port's connections; false when it was no forward.
    #[must_use]
    pub fn unforward(&self, port: u16) -> bool {
        self.shared.services.unforward(port)
    }

    /// Lets a stranger in as guest of this peer, who brings the code within so many seconds. A relay lets it through
    /// when this returns.
    ///
    /// # Errors
    /// When this peer or its network lets no guests in, too many invites are open, or no relay takes it.
    pub async fn invite(&self, ttl: u64) -> Result<Invitation, InviteError> {
        hosting::invite(&self.shared, ttl).await
    }

    /// How it stands with an invite; over too when nobody knows of it.
    ///
    /// # Errors
    /// When there is no membership.
    pub fn invite_state(&self, id: &GroupId) -> Result<InviteState, PeerError> {
        Ok(self.shared.session()?.hosting.state(id))
    }

    /// The invites that wait for a guest, and when they end.
    ///
    /// # Errors
    /// When there is no membership.
    pub fn invites(&self) -> Result<BTreeMap<GroupId, UnixTime>, PeerError> {
        Ok(self.shared.session()?.hosting.waiting())
    }

    /// Closes an invite that was not used; false if there was nothing to close.
    ///
    /// # Errors
    /// When there is no membership.
    pub async fn withdraw(&self, id: &GroupId) -> Result<bool, PeerError> {
        hosting::withdraw(&self.shared, id).await
    }

    /// Sends a guest away for good, durably when this returns, and closes its connections.
    ///
    /// # Errors
    /// When there is no such guest, or it can't be stored: then it comes back with the next start.
    pub async fn revoke_guest(&self, name: &PeerName) -> Result<(), InviteError> {
        hosting::revoke(&self.shared, name).await
    }

    /// What is offered and forwarded now.
    #[must_use]
    pub fn services(&self) -> ServiceList {
        self.shared.services.list()
    }
}

fn path_of(origin: &Origin) -> Path {
    if origin.relayed {
        Path::Relayed
    } else {
        Path::Direct
    }
}

async fn ping(session: &Session, record: &MemberRecord) -> Result<(Duration, Origin), PeerError> {
    let name = &record.name;
    let mut stream = open(session, record, Protocol::Ping).await?;
    let rtt = path::ping(&mut stream, rand::random()).await;
    let rtt = rtt.map_err(|source| PeerError::Path {
        peer: name.clone(),
        source,
    })?;
    Ok((rtt, stream.origin().clone()))
}

async fn trace(session: &Session, record: &MemberRecord) -> Result<Option<String>, PeerError> {
    let mut stream = open(session, record, Protocol::Trace).await?;
    let answer = path::trace(&mut stream).await;
    let answer = answer.map_err(|source| PeerError::Path {
        peer: record.name.clone(),
        source,
    })?;
    Ok(told(&answer.observed))
}

async fn open(
    session: &Session,
    record: &MemberRecord,
    protocol: Protocol,
) -> Result<Stream, PeerError> {
    let opened = reach::open(session, record.peer, protocol).await;
    opened.map_err(|source| PeerError::reach(record.name.clone(), source))
}

/// A relay that carries circuits is connected; one that does not answer is still on the way.
async fn relay_hop(session: &Session, relay: PeerId) -> Hop {
    let known = session.membership().all_relays();
    let ordinal = known.iter().find(|known| known.peer == relay);
    let mut hop = Hop {
        relay: true,
        name: ordinal.map_or_else(
            || "relay".to_owned(),
            |known| format!("relay-{}", known.ordinal),
        ),
        peer_id: relay,
        rtt: None,
        address: None,
        observed: None,
        badge: None,
    };
    if let Ok(mut stream) = session.node.open(relay, Protocol::Ping).await {
        hop.address = Some(stream.origin().address.to_string());
        hop.rtt = path::ping(&mut stream, rand::random()).await.ok();
    }
    if let Ok(mut stream) = session.node.open(relay, Protocol::Trace).await
        && let Ok(answer) = path::trace(&mut stream).await
    {
        hop.observed = told(&answer.observed);
    }
    hop
}

/// An empty address was too long for the frame. The other side can put any text into a name of DNS, which a terminal must
/// not obey.
fn told(observed: &Multiaddr) -> Option<String> {
    let text = observed.to_string();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    (is_plain && observed.iter().next().is_some()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_side_sees_moves_no_cursor() {
        let told = |text: &str| told(&text.parse().unwrap());
        let plain = "/ip4/192.0.2.7/udp/4001/quic-v1";
        assert_eq!(told(plain).as_deref(), Some(plain));
        assert_eq!(told("/dns4/\u{1b}[2J/tcp/1"), None);
        assert_eq!(told("/dns4/a\u{9b}2J/tcp/1"), None);
        assert_eq!(told(""), None, "too long for the frame");
    }
}
