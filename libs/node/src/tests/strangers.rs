//! What a program that knows nothing of the network learns from a relay, and from a peer.

use std::time::Duration;

use futures::StreamExt;
use libp2p::{
    SwarmBuilder, identify,
    multiaddr::Protocol as Part,
    noise, relay,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use tokio::time::timeout;

use peerup_protocol::id::NetworkId;

use super::support::{Card, DEADLINE, NAMESPACE, Running, TCP, limits, names, seed};
use crate::{
    OpenError, Protocol, Role,
    member::{self, ConnectError, MemberError},
};

#[derive(NetworkBehaviour)]
pub(super) struct Stranger {
    identify: identify::Behaviour,
    relay: relay::client::Behaviour,
}

pub(super) fn stranger() -> libp2p::Swarm<Stranger> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )
        .unwrap()
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key, relay| Stranger {
            identify: identify::Behaviour::new(identify::Config::new("x".into(), key.public())),
            relay,
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

/// What somebody tells a stranger of itself: nothing but these protocols.
async fn tells_only(told: &Running, mut expected: Vec<String>) {
    told.node
        .add_external_address("/ip4/198.51.100.7/tcp/4001".parse().unwrap())
        .await;
    let mut stranger = stranger();
    stranger.dial(told.tcp()[0].clone()).unwrap();
    let info = timeout(DEADLINE, async {
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
    .unwrap();
    let mut protocols: Vec<String> = info.protocols.iter().map(ToString::to_string).collect();
    protocols.sort();
    expected.extend(["/ipfs/id/1.0.0".into(), "/ipfs/id/push/1.0.0".into()]);
    expected.sort();
    assert_eq!(protocols, expected);
    assert_eq!(info.listen_addrs, vec![]);
    assert_eq!(
        (info.agent_version.as_str(), info.protocol_version.as_str()),
        ("peerup", "peerup/1")
    );
    assert!(!format!("{info:?}").contains(NAMESPACE));
}

#[tokio::test]
async fn a_stranger_sees_identify_member_and_pair_and_no_namespace() {
    let relay = Running::relay().await;
    tells_only(&relay, vec![names().member(), names().pair()]).await;
}

#[tokio::test]
async fn at_a_peer_a_stranger_sees_identify_and_member() {
    let peer = Running::start(seed(), Role::Peer, &[TCP]).await;
    tells_only(&peer, vec![names().member()]).await;
}

#[tokio::test]
async fn a_stranger_gets_no_reservation() {
    let relay = Running::relay().await;
    let mut stranger = stranger();
    let through = relay.tcp()[0]
        .clone()
        .with(Part::P2p(relay.id()))
        .with(Part::P2pCircuit);
    stranger.listen_on(through).unwrap();
    timeout(DEADLINE, async {
        loop {
            match stranger.select_next_some().await {
                SwarmEvent::ListenerClosed { reason, .. } => {
                    assert!(reason.is_err());
                    return;
                }
                SwarmEvent::Behaviour(StrangerEvent::Relay(event)) => panic!("{event:?}"),
                _ => {}
            }
        }
    })
    .await
    .unwrap();
    assert_eq!(relay.node.snapshot().await.unwrap().reservations, vec![]);
}

/// Two networks of one name at one place: what is spoken before admission has the network's tag, so that nobody gets as
/// far as to show a record.
#[tokio::test]
async fn two_networks_at_one_place_never_meet() {
    let other = NetworkId([0x0e; 16]);
    let theirs = [Role::Relay(limits()), Role::Peer];
    for role in theirs {
        let ours = Running::start(seed(), Role::Peer, &[TCP]).await;
        let theirs = Running::start_in(other, seed(), role, &[TCP]).await;
        for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
            let card = Card::member(from, 1, &[to]);
            let refused = member::connect(&from.node, &card, to.id(), to.tcp()).await;
            assert!(
                matches!(
                    refused,
                    Err(ConnectError::Member(MemberError::Open(
                        OpenError::Unsupported
                    )))
                ),
                "{refused:?}"
            );
            let connection = from.node.dial(to.id(), to.tcp()).await.unwrap();
            let refused = from.node.open_on(connection, Protocol::Pair).await;
            assert!(matches!(refused, Err(OpenError::Unsupported)));
        }
        for node in [&ours.node, &theirs.node] {
            assert_eq!(node.snapshot().await.unwrap().admitted, 0);
        }
    }
}
