//! Whether the relays that are connected are still there: a connection may be dead for a minute before its transport
//! notices, and would be taken for a way to the relay as long. One that is dead is closed, and its link made again.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use futures::future::join_all;
use peerup_node::ConnectionId;
use tokio::time::{sleep, timeout};

use super::facts;
use crate::session::Session;

/// How long an answer may take after the network of this machine changed.
const AFTER_CHANGE: Duration = Duration::from_secs(3);
/// How long it may take when no STUN server has answered.
const AFTER_SILENCE: Duration = Duration::from_secs(5);

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
    let own = facts::interfaces();
    let connections = session.relay_connections().into_iter();
    join_all(connections.filter_map(|known| {
        let remote = known.remote.filter(|ip| !ip.is_loopback())?;
        let may_live = may_live(known.source, &own) && facts::source(remote).is_some();
        Some(judge(
            session,
            known.connection,
            remote,
            may_live.then_some(patience),
        ))
    }))
    .await;
}

/// Whether anything can still come back to the address from which a connection leaves, as far as that is known.
fn may_live(source: Option<IpAddr>, own: &[IpAddr]) -> bool {
    own.is_empty() || source.is_none_or(|source| own.contains(&source))
}

/// Without patience it is dead already.
async fn judge(
    session: &Session,
    connection: ConnectionId,
    remote: IpAddr,
    patience: Option<Duration>,
) {
    let lives = match patience {
        Some(patience) => answers(session, connection, patience).await,
        None => false,
    };
    if !lives {
        tracing::info!(%remote, "relay does not answer any more, its connection is closed");
        session.close(connection).await;
    }
}

/// Whether one of two pings comes back. The second one begins while the first may still be under way.
async fn answers(session: &Session, connection: ConnectionId, patience: Duration) -> bool {
    let first = session.answers(connection);
    let second = async {
        sleep(patience / 3).await;
        session.answers(connection).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_dies_with_the_address_that_it_leaves_from() {
        let [ours, gone] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        assert!(may_live(Some(ours), &[ours]));
        assert!(!may_live(Some(gone), &[ours]));
        assert!(may_live(None, &[ours]), "from where is not known");
        assert!(may_live(Some(gone), &[]), "what there is can't be read");
    }
}
