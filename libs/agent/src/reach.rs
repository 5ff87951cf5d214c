//! The way to another peer when somebody needs it: a connection that is there, else a circuit through one of the
//! peer's relays, also when a direct connection does not answer; records are exchanged before anything else, and one
//! task dials while others wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use multiaddr::Protocol as Part;
use peerup_node::member::ConnectError;
use peerup_node::{ConnectionId, Multiaddr, OpenError, PeerId, Protocol, Stream};

use crate::address;
use crate::membership::RelayAt;
use crate::session::{Session, lock};

/// Longest time to connect a peer: waiting for another task's try, relays that are not this peer's, both dials, the
/// exchange.
pub(crate) const CONNECT: Duration = Duration::from_secs(20);

/// Time in which two that are being connected have exchanged their records, and have dialled again.
const EXCHANGE: Duration = Duration::from_millis(200);

/// Why a peer is not reached.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// No relay of the peer can be used from here.
    #[error("no relay of the peer is reached; see the relays in peerup status")]
    NoRelay,
    /// The connection failed.
    #[error("the peer is not reached: {0}")]
    Connect(#[from] ConnectError),
    /// It took too long.
    #[error("the peer is not reached in time; is it running?")]
    TimedOut,
    /// The connection is there, and the stream failed.
    #[error("the peer is connected and does not answer: {0}")]
    Open(#[from] OpenError),
}

/// Peers that are being dialled, each by one task.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<BTreeMap<PeerId, Arc<tokio::sync::Mutex<()>>>>);

/// One task's place in the queue of a peer.
struct Turn<'a> {
    turns: &'a Turns,
    peer: PeerId,
    queue: Arc<tokio::sync::Mutex<()>>,
}

impl Turns {
    fn of(&self, peer: PeerId) -> Turn<'_> {
        let queue = Arc::clone(lock(&self.0).entry(peer).or_default());
        Turn {
            turns: self,
            peer,
            queue,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = lock(&self.turns.0);
        // This one and the map's: nobody else waits.
        if Arc::strong_count(&self.queue) <= 2 {
            turns.remove(&self.peer);
        }
    }
}

/// Opens a stream on the best connection, and connects first when there is none.
///
/// # Errors
/// When the peer is not reached or does not agree to the stream.
pub(crate) async fn open(
    session: &Session,
    peer: PeerId,
    protocol: Protocol,
) -> Result<Stream, ReachError> {
    match session.node.open(peer, protocol.clone()).await {
        Ok(stream) => return Ok(stream),
        // It was not there, or it ended just now.
        Err(OpenError::NotConnected | OpenError::Closed | OpenError::Io(_)) => (),
        // Or it is about to: the other side has not admitted this one there, and will be dialled again.
        Err(OpenError::Unsupported) => tokio::time::sleep(EXCHANGE).await,
        // The network of one side may have changed without a word.
        Err(OpenError::TimedOut) if session.is_direct(&peer) => {
            session.direct.doubt(peer);
            session.surroundings_changed();
            let circuit = around(session, peer).await?;
            return Ok(session.node.open_on(circuit, protocol).await?);
        }
        Err(error @ (OpenError::TimedOut | OpenError::Busy)) => return Err(error.into()),
    }
    connect(session, peer).await?;
    Ok(session.node.open(peer, protocol).await?)
}

/// Connects unless a connection is there that carries everything.
///
/// # Errors
/// When no way leads to the peer, or one side does not accept the other.
pub(crate) async fn connect(session: &Session, peer: PeerId) -> Result<(), ReachError> {
    let turn = session.turns.of(peer);
    let reached = tokio::time::timeout(CONNECT, async {
        let _mine = turn.queue.lock().await;
        if connected(session).await.contains(&peer) {
            return Ok(());
        }
        dial(session, peer).await.map(drop)
    });
    reached.await.unwrap_or(Err(ReachError::TimedOut))
}

/// A circuit, whatever else there is.
async fn around(session: &Session, peer: PeerId) -> Result<ConnectionId, ReachError> {
    let turn = session.turns.of(peer);
    let reached = tokio::time::timeout(CONNECT, async {
        let _mine = turn.queue.lock().await;
        match session.circuit_to(&peer) {
            Some(circuit) => Ok(circuit),
            None => dial(session, peer).await,
        }
    });
    reached.await.unwrap_or(Err(ReachError::TimedOut))
}

async fn connected(session: &Session) -> Vec<PeerId> {
    let snapshot = session.node.snapshot().await;
    let members = snapshot
        .map(|snapshot| snapshot.members)
        .unwrap_or_default();
    members.into_iter().map(|(peer, _)| peer).collect()
}

async fn dial(session: &Session, peer: PeerId) -> Result<ConnectionId, ReachError> {
    let relays = session.relays_to(&peer);
    let connected = connected(session).await;
    let mut addresses = Vec::new();
    for relay in relays {
        if connected.contains(&relay.peer) || meet(session, &relay).await {
            addresses.extend(circuits(&relay, session.is_pod()));
        }
    }
    if addresses.is_empty() {
        return Err(ReachError::NoRelay);
    }
    let connection = session.connect(peer, addresses).await?;
    session.shaken();
    Ok(connection)
}

/// A relay that is the other peer's and not this one's.
async fn meet(session: &Session, relay: &RelayAt) -> bool {
    let addresses = address::dialable(&relay.addresses, session.is_pod());
    let met = session.connect(relay.peer, addresses).await;
    met.inspect_err(|error| tracing::debug!(relay = relay.ordinal, %error, "relay is not reached"))
        .is_ok()
}

/// Ways to a peer through the relay.
fn circuits(relay: &RelayAt, pod: bool) -> Vec<Multiaddr> {
    let addresses = address::dialable(&relay.addresses, pod).into_iter();
    addresses
        .map(|address| address.with(Part::P2p(relay.peer)).with(Part::P2pCircuit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_dials_and_nobody_is_remembered_afterwards() {
        let turns = Turns::default();
        let (one, other) = (PeerId::random(), PeerId::random());
        let first = turns.of(one);
        let held = first.queue.lock().await;
        let second = turns.of(one);
        assert!(second.queue.try_lock().is_err(), "the second waits");
        assert!(turns.of(other).queue.try_lock().is_ok());
        drop(held);
        drop(first);
        assert_eq!(lock(&turns.0).len(), 1, "the second is still there");
        assert!(second.queue.try_lock().is_ok());
        drop(second);
        assert!(lock(&turns.0).is_empty());
    }
}
