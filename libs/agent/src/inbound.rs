//! What the node tells: streams that others open, each served beside, a bounded number of each kind; connections that
//! come and go.

use std::future::Future;
use std::sync::Arc;

use peerup_node::path::{self, PathError};
use peerup_node::{ConnectionId, Event, PeerId, Protocol, Stream, member};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::direct;
use crate::hosting;
use crate::services;
use crate::session::Session;
use crate::verify;

/// Member exchanges at once; more are reset.
const MAX_EXCHANGES: usize = 64;
/// Strangers with an invite at once; more are reset.
const MAX_STRANGERS: usize = 8;
/// Pings, traces and comparisons at once; more are reset.
const MAX_QUESTIONS: usize = 64;
/// Rounds for a direct connection at once that others begin; more are reset.
const MAX_DIRECT: usize = 8;

/// Tasks that serve streams; they end with it.
struct Tasks {
    exchanges: JoinSet<()>,
    strangers: JoinSet<()>,
    questions: JoinSet<()>,
    direct: JoinSet<()>,
    services: JoinSet<()>,
}

/// Reads the node's events until it stops.
pub(crate) async fn run(session: &Arc<Session>, mut events: mpsc::Receiver<Event>) {
    let mut tasks = Tasks {
        exchanges: JoinSet::new(),
        strangers: JoinSet::new(),
        questions: JoinSet::new(),
        direct: JoinSet::new(),
        services: JoinSet::new(),
    };
    while let Some(event) = events.recv().await {
        match event {
            Event::Inbound {
                protocol, stream, ..
            } => tasks.begin(session, protocol, stream),
            Event::Observed { peer, address } => session.observed(peer, &address),
            Event::Listening { address } => tracing::debug!(%address, "listening"),
            Event::Connected {
                peer,
                connection,
                origin,
                ..
            } => session.connected(peer, connection, &origin),
            Event::Disconnected { connection, .. } => session.disconnected(connection),
            Event::ReservationAccepted { .. } | Event::ReservationLost { .. } => {
                session.surroundings_changed();
            }
        }
    }
}

impl Tasks {
    fn begin(&mut self, session: &Arc<Session>, protocol: Protocol, stream: Stream) {
        let own = Arc::clone(session);
        match protocol {
            Protocol::Member => spawn(&mut self.exchanges, MAX_EXCHANGES, exchange(own, stream)),
            Protocol::Ping => spawn(&mut self.questions, MAX_QUESTIONS, ping(stream)),
            Protocol::Trace => spawn(&mut self.questions, MAX_QUESTIONS, trace(stream)),
            Protocol::Verify => spawn(&mut self.questions, MAX_QUESTIONS, async move {
                verify::serve(&own, stream).await;
            }),
            Protocol::Direct => spawn(&mut self.direct, MAX_DIRECT, async move {
                direct::serve(&own, stream).await;
            }),
            Protocol::Service(service) => {
                let max = session.shared.services.max_inbound();
                let served = services::inbound::serve(own, service, stream);
                spawn(&mut self.services, max, served);
            }
            // Offered while an invite is open only.
            Protocol::Invite => spawn(
                &mut self.strangers,
                MAX_STRANGERS,
                hosting::serve(own, stream),
            ),
            // Relays offer these.
            Protocol::Pair | Protocol::Roster | Protocol::Report | Protocol::Probe => (),
        }
    }
}

/// Without room the stream is dropped, and that resets it.
fn spawn(tasks: &mut JoinSet<()>, max: usize, task: impl Future<Output = ()> + Send + 'static) {
    while tasks.try_join_next().is_some() {}
    if tasks.len() < max {
        tasks.spawn(task);
    }
}

async fn exchange(session: Arc<Session>, mut stream: Stream) {
    let (peer, connection): (PeerId, ConnectionId) = (stream.peer(), stream.connection());
    match member::serve(&session.node, &mut stream, peer, connection, &*session).await {
        Ok(_) => {
            session.settle(peer).await;
            session.shaken();
        }
        Err(error) => {
            tracing::debug!(%peer, %error, "peer is not accepted");
            session.node.close_connection(connection).await;
        }
    }
}

async fn ping(mut stream: Stream) {
    log(stream.peer(), path::answer_pings(&mut stream).await);
}

async fn trace(mut stream: Stream) {
    log(stream.peer(), path::answer_trace(&mut stream).await);
}

fn log(peer: PeerId, answered: Result<(), PathError>) {
    if let Err(error) = answered {
        tracing::debug!(%peer, %error, "not answered");
    }
}
