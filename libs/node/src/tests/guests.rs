//! Strangers while an invite is open: one circuit, to the inviter, and nothing else.

use std::time::Duration;

use futures::StreamExt;
use libp2p::{identify, multiaddr::Protocol as Part, swarm::SwarmEvent};
use tokio::time::{Instant, timeout};

use super::{
    strangers::{StrangerEvent, stranger},
    support::{DEADLINE, LONG, NAMESPACE, QUIC, Running, TCP, befriend, limits, names, seed},
};
use crate::{
    ConnectionId, DialError, OpenError, ProbationLimits, Protocol, RelayLimits, ReserveError, Role,
};

const HOP: &str = "/libp2p/circuit/relay/0.2.0/hop";

pub(super) fn soon() -> Option<Instant> {
    Some(Instant::now() + LONG)
}

async fn relay(probation: ProbationLimits) -> Running {
    let limits = RelayLimits {
        probation,
        ..limits()
    };
    Running::start(seed(), Role::Relay(limits), &[TCP, QUIC]).await
}

/// A member with a reservation.
pub(super) async fn member(relay: &Running) -> Running {
    let member = Running::peer().await;
    befriend(&member, relay, relay.tcp()).await;
    let address = relay.tcp()[0].clone();
    member.node.reserve(relay.id(), address).await.unwrap();
    member
}

/// A member with a reservation whose invite is open, there and at the relay.
pub(super) async fn inviter(relay: &Running) -> Running {
    let inviter = member(relay).await;
    inviter.node.invite(inviter.id(), soon()).await;
    relay.node.invite(inviter.id(), soon()).await;
    inviter
}

/// A stranger that trusts the relay, as its code says, and has dialled it.
async fn guest(relay: &Running) -> Running {
    let guest = Running::peer().await;
    guest.node.admit(relay.id()).await;
    guest.node.dial(relay.id(), relay.tcp()).await.unwrap();
    guest
}

async fn dial(guest: &Running, relay: &Running, to: &Running) -> Result<ConnectionId, DialError> {
    guest.node.dial(to.id(), relay.circuit(to.id())).await
}

/// What a program that knows nothing of the network sees at the relay.
async fn seen(relay: &Running) -> identify::Info {
    let mut stranger = stranger();
    stranger.dial(relay.tcp()[0].clone()).unwrap();
    timeout(DEADLINE, async {
        loop {
            if let SwarmEvent::Behaviour(StrangerEvent::Identify(identify::Event::Received {
                info,
                ..
            })) = stranger.select_next_some().await
            {
                return info;
            }
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn without_an_open_invite_a_stranger_gets_no_hop() {
    let relay = Running::relay().await;
    let a = member(&relay).await;
    let early = guest(&relay).await;
    let refused = dial(&early, &relay, &a).await;
    assert!(matches!(refused, Err(DialError::Failed(_))), "{refused:?}");
    relay.node.invite(a.id(), soon()).await;
    let refused = dial(&early, &relay, &a).await;
    assert!(
        matches!(refused, Err(DialError::Failed(_))),
        "a connection that began before: {refused:?}"
    );
    for closed in [None, Some(Instant::now())] {
        relay.node.invite(a.id(), soon()).await;
        relay.node.invite(a.id(), closed).await;
        let info = seen(&relay).await;
        assert!(info.protocols.iter().all(|name| name.as_ref() != HOP));
    }
    assert_eq!(relay.node.snapshot().await.unwrap().circuits, 0);
}

#[tokio::test]
async fn with_one_it_sees_hop_and_no_namespace() {
    let relay = Running::relay().await;
    let _a = inviter(&relay).await;
    let info = seen(&relay).await;
    let mut protocols: Vec<String> = info.protocols.iter().map(ToString::to_string).collect();
    protocols.sort();
    let mut expected = vec![
        "/ipfs/id/1.0.0".into(),
        "/ipfs/id/push/1.0.0".into(),
        HOP.into(),
        names().member(),
        names().pair(),
    ];
    expected.sort();
    assert_eq!(protocols, expected);
    assert!(!format!("{info:?}").contains(NAMESPACE));
}

#[tokio::test]
async fn one_circuit_to_the_inviter_and_no_second() {
    let relay = Running::relay().await;
    let mut a = inviter(&relay).await;
    let mut joiner = guest(&relay).await;
    let connection = dial(&joiner, &relay, &a).await.unwrap();
    let state = relay.state(|s| s.circuits == 1).await;
    assert_eq!(
        (state.probation.probationary, state.probation.arriving),
        (1, 0)
    );
    let stream = joiner.node.open_on(connection, Protocol::Invite).await;
    let (peer, _, _) = a.inbound(Protocol::Invite).await;
    assert_eq!(peer, joiner.id());
    for protocol in [Protocol::Roster, Protocol::Ping, Protocol::Verify] {
        let refused = joiner.node.open_on(connection, protocol).await;
        assert!(matches!(refused, Err(OpenError::Unsupported)));
    }
    drop(stream.unwrap());
    joiner.node.close_connection(connection).await;
    joiner.disconnected(a.id()).await;
    relay.state(|s| s.circuits == 0).await;
    let second = dial(&joiner, &relay, &a).await;
    assert!(matches!(second, Err(DialError::Failed(_))), "{second:?}");
    assert_eq!(relay.node.snapshot().await.unwrap().circuits, 0);
}

#[tokio::test]
async fn only_the_inviter_is_reached() {
    let relay = Running::relay().await;
    let _a = inviter(&relay).await;
    let (mut b, absent) = (member(&relay).await, Running::peer().await);
    for to in [&b, &absent] {
        let joiner = guest(&relay).await;
        let refused = dial(&joiner, &relay, to).await;
        assert!(matches!(refused, Err(DialError::Failed(_))), "{refused:?}");
        let (_, again) = (refused, dial(&joiner, &relay, &b).await);
        assert!(again.is_err(), "the one circuit is spent");
    }
    let state = relay.state(|s| s.denied.circuit == 4).await;
    assert_eq!(state.circuits, 0);
    b.node.close(relay.id()).await;
    b.disconnected(relay.id()).await;
    assert_eq!(b.node.snapshot().await.unwrap().gated, Default::default());
}

#[tokio::test]
async fn whoever_is_expelled_invites_no_more() {
    let relay = Running::relay().await;
    let a = inviter(&relay).await;
    relay.node.expel(a.id()).await;
    let info = seen(&relay).await;
    assert!(info.protocols.iter().all(|name| name.as_ref() != HOP));
}

#[tokio::test]
async fn a_guest_never_reserves() {
    let relay = Running::relay().await;
    let a = inviter(&relay).await;
    let joiner = guest(&relay).await;
    let address = relay.tcp()[0].clone();
    let refused = joiner.node.reserve(relay.id(), address).await;
    assert!(matches!(refused, Err(ReserveError::Refused(_))));
    let state = relay.state(|s| s.denied.reservation == 1).await;
    assert_eq!(state.reservations, vec![a.id()]);
    // Nor does a program of its own.
    let mut stranger = stranger();
    let through = relay.tcp()[0]
        .clone()
        .with(Part::P2p(relay.id()))
        .with(Part::P2pCircuit);
    stranger.listen_on(through).unwrap();
    let refused = timeout(DEADLINE, async {
        loop {
            if let SwarmEvent::ListenerClosed { reason, .. } = stranger.select_next_some().await {
                return reason;
            }
        }
    });
    refused.await.unwrap().unwrap_err();
    relay.state(|s| s.denied.reservation == 2).await;
}

#[tokio::test]
async fn a_circuit_ends_with_the_probation() {
    let short = ProbationLimits {
        arriving_timeout: Duration::from_secs(2),
        timeout: Duration::from_secs(5),
        ..ProbationLimits::default()
    };
    let mut relay = relay(short).await;
    let a = inviter(&relay).await;
    let started = Instant::now();
    let (silent, mut joiner) = (guest(&relay).await, guest(&relay).await);
    dial(&joiner, &relay, &a).await.unwrap();
    relay.disconnected(silent.id()).await;
    assert!(started.elapsed() >= Duration::from_secs(2));
    relay.disconnected(joiner.id()).await;
    assert!(started.elapsed() >= Duration::from_secs(5));
    timeout(DEADLINE, joiner.disconnected(a.id()))
        .await
        .unwrap();
    let state = relay.state(|s| s.circuits == 0).await;
    assert_eq!((state.denied.late, state.probation.probationary), (2, 0));
}

#[tokio::test]
async fn guests_take_places_of_those_who_pair() {
    let one = ProbationLimits {
        max_probationary: 1,
        ..ProbationLimits::default()
    };
    let relay = relay(one).await;
    let a = inviter(&relay).await;
    let (first, second) = (guest(&relay).await, guest(&relay).await);
    dial(&first, &relay, &a).await.unwrap();
    let refused = dial(&second, &relay, &a).await;
    assert!(matches!(refused, Err(DialError::Failed(_))), "{refused:?}");
    assert_eq!(relay.node.snapshot().await.unwrap().circuits, 1);
}

#[tokio::test]
async fn a_guests_circuit_carries_little() {
    use futures::{AsyncReadExt, AsyncWriteExt};
    let relay = Running::relay().await;
    let mut a = inviter(&relay).await;
    let joiner = guest(&relay).await;
    let connection = dial(&joiner, &relay, &a).await.unwrap();
    let mut ours = joiner
        .node
        .open_on(connection, Protocol::Invite)
        .await
        .unwrap();
    let (_, _, mut theirs) = a.inbound(Protocol::Invite).await;
    let (sent, mut got) = (vec![7; 1 << 20], Vec::new());
    let both = futures::future::join(ours.write_all(&sent), theirs.read_to_end(&mut got));
    let _ = timeout(DEADLINE, both).await.unwrap();
    assert!(got.len() < 256 << 10, "{}", got.len());
    relay.state(|s| s.circuits == 0).await;
}

/// The relay may be somebody else's, or lie.
#[tokio::test]
async fn a_peer_without_an_invite_offers_member_and_closes_after_three_seconds() {
    let relay = Running::relay().await;
    let mut a = member(&relay).await;
    relay.node.invite(a.id(), soon()).await;
    let joiner = guest(&relay).await;
    let started = Instant::now();
    let connection = dial(&joiner, &relay, &a).await.unwrap();
    let refused = joiner.node.open_on(connection, Protocol::Invite).await;
    assert!(matches!(refused, Err(OpenError::Unsupported)));
    let member = joiner.node.open_on(connection, Protocol::Member).await;
    let _member = (member.unwrap(), a.inbound(Protocol::Member).await);
    a.disconnected(joiner.id()).await;
    let took = started.elapsed();
    // Probation would end after fifteen.
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(14));
}

#[tokio::test]
async fn an_inviter_keeps_a_guest_that_pairs_for_the_probation() {
    let relay = Running::relay().await;
    let mut a = inviter(&relay).await;
    let joiner = guest(&relay).await;
    let started = Instant::now();
    let connection = dial(&joiner, &relay, &a).await.unwrap();
    let stream = joiner.node.open_on(connection, Protocol::Invite).await;
    let (_, inbound, _theirs) = a.inbound(Protocol::Invite).await;
    a.node
        .enter(inbound, crate::Pool::Probationary)
        .await
        .unwrap();
    a.disconnected(joiner.id()).await;
    assert!(started.elapsed() >= Duration::from_secs(14));
    drop(stream);
}
