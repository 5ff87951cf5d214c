//! One link a relay, for as long as the relay is one of this peer's: connect and exchange records, hold a
//! reservation, follow the roster; and again with jittered pauses of 1 to 30 s, for ever.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use peerup_node::io::{FrameError, read_frame_within, write_frame};
use peerup_node::member::ConnectError;
use peerup_node::path::{self, PathError};
use peerup_node::{ConnectionId, Multiaddr, OpenError, PeerId, Protocol};
use peerup_pairing::membership::Refusal;
use peerup_protocol::frame::{MAX_LONG_FRAME, RosterAnswer};
use peerup_protocol::wire::DecodeError;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::address;
use crate::backoff::Backoff;
use crate::clock::{LOOK, now, timestamp};
use crate::hosting;
use crate::membership::RelayAt;
use crate::roster::{Roster, RosterError};
use crate::session::Session;
use crate::status::Phase;

/// A relay that has nothing to tell for so long is asked anew; the lists are signed every five minutes.
const SILENCE: Duration = Duration::from_secs(3600);
/// Longest time to connect, both dials and the exchange.
const CONNECT: Duration = Duration::from_secs(30);
/// A try that takes longer is given up when the network of this machine changes: it may go out where nothing is.
const QUICK: Duration = Duration::from_secs(1);
/// How often a guest, which has nothing to ask a relay for, looks whether it is still there.
const PULSE: Duration = Duration::from_secs(15);

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("no address of the relay can be dialled from here")]
    NoAddress,
    #[error("no connection in time")]
    TimedOut,
    #[error("the network of this machine changed")]
    NetworkChanged,
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("no roster: {0}")]
    Open(#[from] OpenError),
    #[error("the connection ended: {0}")]
    Frame(#[from] FrameError),
    #[error("the roster is not understood: {0}")]
    Decode(#[from] DecodeError),
    #[error("the relay's list is not accepted: {0}")]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Roster(#[from] RosterError),
    #[error("the relay does not answer: {0}")]
    Path(#[from] PathError),
    #[error("the relay answered something else than a roster")]
    Unexpected,
}

/// Keeps one link for each of this peer's relays.
pub(crate) async fn run(session: &Arc<Session>) -> Infallible {
    let mut lists = session.watch_lists();
    let mut tasks = JoinSet::new();
    let mut links: BTreeMap<PeerId, AbortHandle> = BTreeMap::new();
    loop {
        lists.mark_unchanged();
        let relays = session.membership().my_relays();
        links.retain(|peer, link| {
            let stays = relays.iter().any(|relay| relay.peer == *peer);
            if !stays {
                link.abort();
            }
            stays
        });
        for relay in relays {
            links
                .entry(relay.peer)
                .or_insert_with(|| tasks.spawn(keep(Arc::clone(session), relay.peer)));
        }
        while tasks.try_join_next().is_some() {}
        if lists.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl LinkError {
    /// Whether the relay told something that cannot be, so that it is to tell everything anew.
    const fn is_nonsense(&self) -> bool {
        match self {
            Self::Decode(_) | Self::Refused(_) | Self::Roster(_) | Self::Unexpected => true,
            Self::NoAddress
            | Self::TimedOut
            | Self::NetworkChanged
            | Self::Connect(_)
            | Self::Open(_)
            | Self::Path(_)
            | Self::Frame(_) => false,
        }
    }
}

async fn keep(session: Arc<Session>, peer: PeerId) {
    let mut backoff = Backoff::default();
    // Outlives the connections: whoever comes back asks for what it missed.
    let mut roster = Roster::default();
    let mut network = session.signals.watch_network();
    loop {
        until_valid(&session).await;
        network.mark_unchanged();
        let relay = session
            .membership()
            .all_relays()
            .into_iter()
            .find(|relay| relay.peer == peer);
        // A newer document does not name it: `run` ends this link in a moment.
        let Some(relay) = relay else { return };
        let Err(error) = once(&session, &relay, &mut backoff, &mut roster).await;
        if error.is_nonsense() {
            roster = Roster::default();
        }
        show(&session, peer, false);
        let pause = backoff.after_failure(rand::random());
        tracing::info!(relay = relay.ordinal, %error, ?pause, "relay link is made again");
        // On another network there is no reason to wait, also when the link has ended for the change.
        tokio::select! {
            () = tokio::time::sleep(pause) => (),
            () = changed(&mut network) => backoff.reset(),
        }
    }
}

async fn changed(network: &mut watch::Receiver<()>) {
    if network.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// With an expired record nothing but a renewal is possible, which is not done here. A clock that was ahead and is set
/// right makes the record valid again without a word.
async fn until_valid(session: &Session) {
    let mut lists = session.watch_lists();
    while !session.membership().holds(now()) {
        if let Ok(Err(_)) = tokio::time::timeout(LOOK, lists.changed()).await {
            return;
        }
    }
}

async fn once(
    session: &Arc<Session>,
    relay: &RelayAt,
    backoff: &mut Backoff,
    roster: &mut Roster,
) -> Result<Infallible, LinkError> {
    let addresses = address::dialable(&relay.addresses, session.is_pod());
    let first = addresses.first().cloned().ok_or(LinkError::NoAddress)?;
    session.node.close(relay.peer).await;
    let connection = connect(session, relay.peer, addresses).await?;
    backoff.reset();
    tracing::info!(relay = relay.ordinal, "relay connected");
    session.shaken();
    joined(session);
    show(session, relay.peer, true);
    if session.is_guest() {
        return tokio::select! {
            ended = stay(session, connection) => ended,
            never = reserve(session, relay.peer, first) => match never {},
        };
    }
    tokio::select! {
        ended = follow(session, connection, roster) => ended,
        never = reserve(session, relay.peer, first) => match never {},
        never = hosting::keep_registered(session, relay.peer) => match never {},
    }
}

async fn connect(
    session: &Session,
    relay: PeerId,
    addresses: Vec<Multiaddr>,
) -> Result<ConnectionId, LinkError> {
    let mut network = session.signals.watch_network();
    let elsewhere = async {
        tokio::time::sleep(QUICK).await;
        changed(&mut network).await;
    };
    let connected = session.connect(relay, addresses);
    tokio::select! {
        connected = tokio::time::timeout(CONNECT, connected) => {
            connected.map_err(|_| LinkError::TimedOut)?.map_err(Into::into)
        }
        () = elsewhere => Err(LinkError::NetworkChanged),
    }
}

fn joined(session: &Session) {
    session.board.update(|status| {
        status.phase = Phase::Joined;
        status.problem = None;
        status.joined_time.get_or_insert_with(|| timestamp(now()));
        status.join_duration_seconds.get_or_insert_with(|| {
            let elapsed = jiff::Timestamp::now().duration_since(status.started_time);
            elapsed.as_secs_f64().max(0.0)
        });
    });
}

fn show(session: &Session, relay: PeerId, connected: bool) {
    let peer_id = relay.to_string();
    session.board.update(|status| {
        for relay in status
            .relays
            .iter_mut()
            .filter(|relay| relay.peer_id == peer_id)
        {
            relay.connected = connected;
            relay.reserved &= connected;
        }
    });
    session.surroundings_changed();
}

/// Asks for the reservation whenever it may be gone; asking for one that is there costs nothing.
async fn reserve(session: &Session, relay: PeerId, address: Multiaddr) -> Infallible {
    let mut surroundings = session.watch_surroundings();
    let mut backoff = Backoff::default();
    loop {
        surroundings.mark_unchanged();
        match session.node.reserve(relay, address.clone()).await {
            Ok(()) => {
                backoff.reset();
                if surroundings.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            Err(error) => {
                let pause = backoff.after_failure(rand::random());
                tracing::info!(%error, ?pause, "no reservation");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// A guest gets no roster: it stays until the connection ends.
async fn stay(session: &Session, connection: ConnectionId) -> Result<Infallible, LinkError> {
    loop {
        let _ = tokio::time::timeout(PULSE, session.until_closed(connection)).await;
        let mut stream = session.node.open_on(connection, Protocol::Ping).await?;
        path::ping(&mut stream, rand::random()).await?;
    }
}

/// Follows the roster until the connection ends.
async fn follow(
    session: &Session,
    connection: ConnectionId,
    roster: &mut Roster,
) -> Result<Infallible, LinkError> {
    loop {
        let mut stream = session.node.open_on(connection, Protocol::Roster).await?;
        roster.restart();
        write_frame(&mut stream, &roster.ask().encode()).await?;
        loop {
            let frame = match read_frame_within(&mut stream, MAX_LONG_FRAME, SILENCE).await {
                Ok(frame) => frame,
                Err(FrameError::TimedOut) => break,
                Err(error) => return Err(error.into()),
            };
            match RosterAnswer::decode(&frame)? {
                RosterAnswer::Page(page) => {
                    if roster.take(page)? {
                        session.take_roster(roster);
                    }
                }
                RosterAnswer::Lists {
                    revocations,
                    document,
                } => session.take_lists(revocations, document)?,
                RosterAnswer::Record(_) | RosterAnswer::Refused => {
                    return Err(LinkError::Unexpected);
                }
            }
        }
    }
}
