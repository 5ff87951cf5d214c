//! Limits of a relay that change while it runs.

use futures::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::support::{DEADLINE, Running, TCP, befriend, echo, limits, seed};
use crate::{DialError, Protocol, RelayLimits, ReserveError, Role, Stream};

async fn relay(limits: RelayLimits) -> Running {
    Running::start(seed(), Role::Relay(limits), &[TCP]).await
}

/// A member of `relay` that knows `others`.
async fn member(relay: &Running, others: &[&Running]) -> Running {
    let member = Running::peer().await;
    befriend(&member, relay, relay.tcp()).await;
    for other in others {
        member.node.admit(other.id()).await;
        other.node.admit(member.id()).await;
    }
    member
}

async fn reserve(member: &Running, relay: &Running) -> Result<(), ReserveError> {
    let address = relay.tcp()[0].clone();
    member.node.reserve(relay.id(), address).await
}

#[tokio::test]
async fn more_and_fewer_reservations() {
    let with = |max_reservations| RelayLimits {
        max_reservations,
        ..limits()
    };
    let relay = relay(with(1)).await;
    let (a, b, c) = (
        member(&relay, &[]).await,
        member(&relay, &[]).await,
        member(&relay, &[]).await,
    );
    reserve(&a, &relay).await.unwrap();
    reserve(&b, &relay).await.unwrap_err();
    relay.node.limit(with(2)).await;
    reserve(&b, &relay).await.unwrap();
    relay.node.limit(with(1)).await;
    reserve(&c, &relay).await.unwrap_err();
    let state = relay.state(|s| s.denied.reservation == 2).await;
    assert_eq!(state.reservations.len(), 2, "nothing is taken away");
    for gone in [&a, &b] {
        reserve(&c, &relay).await.unwrap_err();
        gone.node.close(relay.id()).await;
        relay.state(|s| !s.reservations.contains(&gone.id())).await;
    }
    reserve(&c, &relay).await.unwrap();
}

#[tokio::test]
async fn more_circuits() {
    let with = |max_circuits| RelayLimits {
        max_circuits,
        ..limits()
    };
    let relay = relay(with(1)).await;
    let a = member(&relay, &[]).await;
    reserve(&a, &relay).await.unwrap();
    let (b, c) = (member(&relay, &[&a]).await, member(&relay, &[&a]).await);
    let circuit = || relay.circuit(a.id());
    b.node.dial(a.id(), circuit()).await.unwrap();
    relay.state(|s| s.circuits == 1).await;
    let refused = c.node.dial(a.id(), circuit()).await;
    assert!(matches!(refused, Err(DialError::Failed(_))), "{refused:?}");
    relay.node.limit(with(2)).await;
    c.node.dial(a.id(), circuit()).await.unwrap();
    relay.state(|s| s.circuits == 2).await;
}

/// Sends through a new circuit from `from` to `to`; gives the stream's both ends.
async fn through(relay: &Running, from: &Running, to: &mut Running) -> (Stream, Stream) {
    let circuit = relay.circuit(to.id());
    let connection = from.node.dial(to.id(), circuit).await.unwrap();
    let ours = from.node.open_on(connection, Protocol::Member).await;
    let (_, _, theirs) = to.inbound(Protocol::Member).await;
    (ours.unwrap(), theirs)
}

#[tokio::test]
async fn a_data_limit_holds_for_connections_that_begin_later() {
    let relay = relay(limits()).await;
    let mut a = member(&relay, &[]).await;
    reserve(&a, &relay).await.unwrap();
    let b = member(&relay, &[&a]).await;
    let (ours, theirs) = through(&relay, &b, &mut a).await;
    relay
        .node
        .limit(RelayLimits {
            circuit_data_limit: 100_000,
            ..limits()
        })
        .await;
    echo(ours, theirs, 200_000).await;

    let c = member(&relay, &[&a]).await;
    let (mut ours, mut theirs) = through(&relay, &c, &mut a).await;
    let (sent, mut got) = (vec![7; 200_000], Vec::new());
    let both = futures::future::join(ours.write_all(&sent), theirs.read_to_end(&mut got));
    let _ = timeout(DEADLINE, both).await.unwrap();
    assert!(got.len() < sent.len());
    relay.state(|s| s.circuits == 1).await;
}
