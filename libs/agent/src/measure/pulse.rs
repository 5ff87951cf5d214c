//! Whether the relays that are connected are still there: a connection may be dead for a minute before its transport
//! notices, and would be taken for a way to the relay as long. One that is dead is closed, and its link made again.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use futures::future::join_all;
use peerup_node::ConnectionId;
use tokio::time::{sleep, timeout};

use super::facts;
use crate::session::{Session, ToRelay};

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
        let routed = known
            .remote
            .is_none_or(|remote| facts::source(remote).is_some());
        let patience = match prospect(&known, &own, routed) {
            Prospect::Lives => return None,
            Prospect::Open => Some(patience),
            Prospect::Dead => None,
        };
        Some(judge(session, known, patience))
    }))
    .await;
}

/// What can be told of a connection without asking its relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prospect {
    /// It does not leave this machine.
    Lives,
    /// Nothing against it; what was dialed by name can only be asked.
    Open,
    /// Nothing can come back over it any more.
    Dead,
}

/// `own` are this machine's addresses, empty if they can't be read; `routed` says whether it knows a way to the relay.
fn prospect(known: &ToRelay, own: &[IpAddr], routed: bool) -> Prospect {
    if known.remote.is_some_and(|remote| remote.is_loopback()) {
        return Prospect::Lives;
    }
    let left = |source: IpAddr| !own.is_empty() && !own.contains(&source);
    if !routed || known.source.is_some_and(left) {
        return Prospect::Dead;
    }
    Prospect::Open
}

/// Closes it unless its relay answers. Without patience it is dead already.
async fn judge(session: &Session, known: ToRelay, patience: Option<Duration>) {
    let lives = match patience {
        Some(patience) => answers(session, known.connection, patience).await,
        None => false,
    };
    if !lives {
        let relay = known.relay;
        tracing::info!(%relay, "relay does not answer any more, its connection is closed");
        session.close(known.connection).await;
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
    use peerup_protocol::PeerId;

    use super::*;

    fn known(remote: Option<[u8; 4]>, source: Option<IpAddr>) -> ToRelay {
        ToRelay {
            relay: PeerId::random(),
            connection: ConnectionId::new_unchecked(1),
            remote: remote.map(IpAddr::from),
            source,
        }
    }

    const RELAY: Option<[u8; 4]> = Some([203, 0, 113, 1]);

    #[test]
    fn a_connection_dies_with_the_address_that_it_leaves_from() {
        let [ours, gone] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        let of = |source, own: &[IpAddr]| prospect(&known(RELAY, source), own, true);
        assert_eq!(of(Some(ours), &[ours]), Prospect::Open);
        assert_eq!(of(Some(gone), &[ours]), Prospect::Dead);
        assert_eq!(of(None, &[ours]), Prospect::Open, "from where is not known");
        assert_eq!(of(Some(gone), &[]), Prospect::Open, "no list can be read");
    }

    #[test]
    fn without_a_way_to_its_relay_it_is_dead() {
        assert_eq!(prospect(&known(RELAY, None), &[], false), Prospect::Dead);
    }

    #[test]
    fn a_relay_dialed_by_name_is_asked_too() {
        assert_eq!(prospect(&known(None, None), &[], true), Prospect::Open);
    }

    #[test]
    fn loopback_needs_no_question() {
        let home = Some([127, 0, 0, 1]);
        assert_eq!(prospect(&known(home, None), &[], false), Prospect::Lives);
    }
}
