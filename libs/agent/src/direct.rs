//! Direct connections beside circuits. Of two peers that are connected through a relay the one with the smaller
//! PeerId asks; both tell where they can be dialled, the asker tries that, then the other side. What is dialled is
//! held to few addresses, rarely, with growing pauses: another member must not make this peer its port scanner.
//!
//! ```text
//! run ── ways ──▶ plan ──▶ exchange::ask    over the circuit   exchange::serve
//!                  │                                              │
//!                  │         addresses: which are told and dialled │
//!                  └──▶ close a circuit on which nothing is left  ◀┘
//! ```
//! A direct connection is made by the ordinary exchange of records. New streams take it by themselves; those on the
//! circuit end there.

mod addresses;
mod exchange;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peerup_node::{ConnectionId, Multiaddr, PeerId, Way};
use peerup_protocol::frame::DirectSide;
use peerup_reachability::pair::Side;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::session::{Session, lock};
use addresses::Seen;
use plan::{Plan, Step};

pub(crate) use exchange::serve;

/// Least pause between two looks.
const QUIET: Duration = Duration::from_millis(200);
/// Peers of which it is known how they are reached.
const MAX_SIDES: usize = 1024;
/// Time for a ping on a connection that may be dead.
const CHECK: Duration = Duration::from_secs(3);

/// What the tasks of one session share.
#[derive(Debug)]
pub(crate) struct Direct {
    plan: Mutex<Plan>,
    /// Where relays see this peer.
    seen: Mutex<Seen>,
    /// Peers whose direct connection did not answer.
    doubted: Mutex<BTreeSet<PeerId>>,
    /// How others say that they are reached.
    sides: Mutex<BTreeMap<PeerId, Side>>,
}

impl Direct {
    pub(crate) fn new(me: PeerId) -> Self {
        Self {
            plan: Mutex::new(Plan::new(me)),
            seen: Mutex::default(),
            doubted: Mutex::default(),
            sides: Mutex::default(),
        }
    }

    /// A relay tells at which address it sees a connection of this peer; `relays` are all that there are.
    pub(crate) fn observed(&self, relay: PeerId, address: &Multiaddr, relays: &[PeerId]) {
        lock(&self.seen).take(relay, address, relays);
    }

    /// A direct connection to the peer did not answer.
    pub(crate) fn doubt(&self, peer: PeerId) {
        lock(&self.doubted).insert(peer);
    }

    /// How the peer said that it is reached, when it told its addresses last.
    pub(crate) fn side(&self, peer: &PeerId) -> Option<Side> {
        lock(&self.sides).get(peer).copied()
    }

    fn told(&self, peer: PeerId, side: Option<DirectSide>) {
        let mut sides = lock(&self.sides);
        match side {
            Some(side) if sides.len() < MAX_SIDES || sides.contains_key(&peer) => {
                sides.insert(peer, side.into());
            }
            Some(_) => (),
            None => {
                sides.remove(&peer);
            }
        }
    }

    /// Forgets what peers told that are gone.
    fn forget(&self, is_gone: impl Fn(&PeerId) -> bool) {
        let mut known: Vec<PeerId> = lock(&self.sides).keys().copied().collect();
        known.retain(is_gone);
        for peer in known {
            lock(&self.sides).remove(&peer);
        }
    }

    fn network_changed(&self) {
        lock(&self.seen).clear();
        lock(&self.plan).network_changed(Instant::now());
    }
}

/// Looks for direct connections for as long as the session lasts.
pub(crate) async fn run(session: &Arc<Session>) -> Infallible {
    let mut surroundings = session.watch_surroundings();
    let mut network = session.signals.watch_network();
    let mut tasks = JoinSet::new();
    loop {
        surroundings.mark_unchanged();
        while tasks.try_join_next().is_some() {}
        let next = look(session, &mut tasks).await;
        sleep(QUIET).await;
        tokio::select! {
            _ = surroundings.changed() => (),
            Some(_) = tasks.join_next() => (),
            () = sleep_until(next) => (),
            Ok(()) = network.changed() => {
                session.direct.network_changed();
                let ways = ways(session).await;
                let direct = ways.into_iter().filter(|way| !way.relayed);
                lock(&session.direct.doubted).extend(direct.map(|way| way.peer));
            }
        }
    }
}

/// Begins what is due; when to look again at latest.
async fn look(session: &Arc<Session>, tasks: &mut JoinSet<()>) -> Instant {
    let ways = ways(session).await;
    let doubted = std::mem::take(&mut *lock(&session.direct.doubted));
    session.direct.forget(|peer| session.member(peer).is_none());
    for way in &ways {
        if !way.relayed && doubted.contains(&way.peer) {
            tasks.spawn(check(Arc::clone(session), way.connection));
        }
    }
    let (steps, next) = lock(&session.direct.plan).look(&ways, Instant::now(), rand::random());
    for step in steps {
        match step {
            Step::Ask(peer, circuit) => {
                tasks.spawn(round(Arc::clone(session), peer, circuit));
            }
            Step::Close(circuit) => {
                tracing::debug!(%circuit, "circuit is not needed any more");
                session.node.close_connection(circuit).await;
            }
        }
    }
    next
}

/// The connections to other members; relays are reached by [`crate::link`].
async fn ways(session: &Session) -> Vec<Way> {
    let mut ways = session.node.ways().await.unwrap_or_default();
    ways.retain(|way| session.member(&way.peer).is_some());
    ways
}

async fn round(session: Arc<Session>, peer: PeerId, circuit: ConnectionId) {
    let asked = exchange::ask(&session, peer, circuit).await;
    let connected = asked.unwrap_or_else(|error| {
        tracing::debug!(%peer, %error, "no direct connection");
        false
    });
    ended(&session, peer, connected);
}

fn ended(session: &Session, peer: PeerId, connected: bool) {
    if connected {
        tracing::debug!(%peer, "direct connection");
    }
    lock(&session.direct.plan).ended(peer, connected, Instant::now(), rand::random());
    session.surroundings_changed();
}

/// Closes a connection that does not carry a ping: the next stream goes another way.
async fn check(session: Arc<Session>, connection: ConnectionId) {
    let answered = timeout(CHECK, session.answers(connection)).await;
    if !answered.unwrap_or(false) {
        tracing::debug!(%connection, "direct connection does not answer, it is closed");
        session.node.close_connection(connection).await;
    }
}
