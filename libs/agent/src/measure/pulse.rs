//! Whether the relays that are connected are still there: a connection may be dead for a minute before its transport
//! notices, and would be taken for a way to the relay as long. One that is dead is closed, and its link made again.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use futures::future::join_all;
use peerup_node::{ConnectionId, Protocol, path};
use tokio::time::{sleep, timeout};

use super::facts;
use crate::session::Session;

/// How long an answer may take after the network of this machine changed.
const AFTER_CHANGE: Duration = Duration::from_secs(3);
/// How long it may take when no STUN server has answered.
const AFTER_SILENCE: Duration = Duration::from_secs(5);
/// Longest wait until a connection that was closed is gone.
const CLOSING: Duration = Duration::from_secs(1);

/// Looks at the relays whenever the network of this machine has changed.
pub(super) async fn run(session: &Session) -> Infallible {
    let mut network = session.signals.watch_network();
    loop {
        if network.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        check(session, AFTER_CHANGE).await;
    }
}

/// Looks at the relays since no STUN server has answered; afterwards only those that live are connected.
pub(super) async fn after_silence(session: &Session) {
    check(session, AFTER_SILENCE).await;
}

/// Two pings to each relay that is connected; without an answer to either in time the connection is closed.
async fn check(session: &Session, patience: Duration) {
    let connections = session.relay_connections().into_iter();
    join_all(connections.filter_map(|(connection, remote)| {
        let remote = remote.filter(|ip| !ip.is_loopback())?;
        Some(judge(session, connection, remote, patience))
    }))
    .await;
}

async fn judge(session: &Session, connection: ConnectionId, remote: IpAddr, patience: Duration) {
    // Without a route nothing can come back, and there is nothing to wait for.
    let lives = facts::source(remote).is_some() && answers(session, connection, patience).await;
    if !lives {
        tracing::info!(%remote, "relay does not answer any more, its connection is closed");
        session.node.close_connection(connection).await;
        let gone = timeout(CLOSING, session.until_closed(connection)).await;
        if gone.is_err() {
            tracing::debug!(%remote, "the connection is still closing");
        }
    }
}

/// Whether one of two pings comes back. The second one begins while the first may still be under way.
async fn answers(session: &Session, connection: ConnectionId, patience: Duration) -> bool {
    let first = ping(session, connection);
    let second = async {
        sleep(patience / 3).await;
        ping(session, connection).await
    };
    tokio::pin!(first, second);
    let any = async {
        tokio::select! {
            answered = &mut first => answered || second.await,
            answered = &mut second => answered || first.await,
        }
    };
    timeout(patience, any).await.unwrap_or(false)
}

async fn ping(session: &Session, connection: ConnectionId) -> bool {
    let Ok(mut stream) = session.node.open_on(connection, Protocol::Ping).await else {
        return false;
    };
    path::ping(&mut stream, rand::random()).await.is_ok()
}
