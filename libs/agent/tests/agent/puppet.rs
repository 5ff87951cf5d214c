//! A peer that does as a test says.

use std::sync::Arc;

use peerup_node::io::{read_frame, write_frame};
use peerup_node::member::{self, Presented};
use peerup_node::{
    Config, ConnectionId, Event, Multiaddr, Node, PeerId, Protocol, Role, Stream, path,
};
use peerup_pairing::membership::Refusal;
use peerup_protocol::frame::{DirectAddress, DirectOffer, MAX_FRAME};
use peerup_protocol::id::PeerName;
use peerup_protocol::names::ProtocolNames;
use peerup_protocol::record::Signed;
use peerup_protocol::secret::Secret;
use tokio::sync::mpsc;

use super::Peer;
use super::relay::Network;
use super::wait::in_time;

/// A peer that is no agent: it answers records and pings, and hands over everything else.
pub(crate) struct Puppet {
    network: Arc<Network>,
    pub(crate) node: Node,
    record: Signed,
    listening: Vec<Multiaddr>,
    connections: mpsc::Receiver<(ConnectionId, bool)>,
    pub(crate) streams: mpsc::Receiver<(Protocol, Stream)>,
}

/// What it shows and thinks: everybody is a member.
struct Card(Signed);

impl member::Membership for Card {
    fn presented(&self) -> Presented {
        Presented {
            credential: self.0.clone(),
            revocations: None,
        }
    }

    fn check(&self, _: &PeerId, _: &Signed) -> Result<member::Standing, Refusal> {
        Ok(member::Standing::Admitted)
    }

    fn learn(&self, _: Signed) -> Result<(), Refusal> {
        Ok(())
    }
}

impl Puppet {
    /// Joins as somebody whom `other` asks, or who asks `other`, reserves, and is connected by a circuit.
    pub(crate) async fn meet(
        network: &Arc<Network>,
        other: &Peer,
        is_asked: bool,
        listen: &[&str],
    ) -> Self {
        let seed = loop {
            let seed = Secret::new(rand::random());
            if (peerup_agent::own_id(&seed) > other.id) == is_asked {
                break seed;
            }
        };
        let (node, mut events) = peerup_node::start(Config {
            seed,
            names: ProtocolNames::new(&network.net(), &Network::namespace()),
            role: Role::Peer,
            listen: listen.iter().map(|at| at.parse().unwrap()).collect(),
        })
        .unwrap();
        let mut listening = Vec::new();
        while listening.len() < listen.len() {
            if let Event::Listening { address } = events.recv().await.unwrap() {
                listening.push(address);
            }
        }
        let record = network.issue(node.peer_id(), &PeerName::parse("puppet").unwrap());
        let (told, connections) = mpsc::channel(64);
        let (handed, streams) = mpsc::channel(64);
        let relay = network.relay_id();
        tokio::spawn(serve(
            node.clone(),
            relay,
            events,
            record.clone(),
            told,
            handed,
        ));
        let puppet = Self {
            network: Arc::clone(network),
            node,
            record,
            listening,
            connections,
            streams,
        };
        let at = network.code(9).responders[0].addresses.clone();
        puppet.connect(relay, at.clone()).await;
        puppet.node.reserve(relay, at[0].clone()).await.unwrap();
        other.knows("puppet").await;
        puppet.circuit(other.id).await;
        puppet
    }

    async fn connect(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> ConnectionId {
        let card = Card(self.record.clone());
        let connected = member::connect(&self.node, &card, peer, addresses).await;
        connected.unwrap()
    }

    pub(crate) async fn circuit(&self, peer: PeerId) -> ConnectionId {
        let relay = self.network.code(9).responders[0].clone();
        let text = format!("{}/p2p/{}/p2p-circuit", relay.addresses[0], relay.peer);
        self.connect(peer, vec![text.parse().unwrap()]).await
    }

    /// The next stream of this kind.
    pub(crate) async fn stream(&mut self, wanted: &Protocol) -> Stream {
        in_time("a stream", async {
            loop {
                let (protocol, stream) = self.streams.recv().await.unwrap();
                if protocol == *wanted {
                    return stream;
                }
            }
        })
        .await
    }

    /// The next connection that goes without the relay, or with it.
    pub(crate) async fn connection(&mut self, relayed: bool) -> ConnectionId {
        in_time("a connection", async {
            loop {
                let (connection, is_relayed) = self.connections.recv().await.unwrap();
                if relayed == is_relayed {
                    return connection;
                }
            }
        })
        .await
    }

    /// Waits until it is asked, and tells these addresses.
    pub(crate) async fn tell(&mut self, addresses: &[DirectAddress]) -> (Stream, DirectOffer) {
        let mut stream = self.stream(&Protocol::Direct).await;
        let theirs = read_frame(&mut stream, MAX_FRAME).await.unwrap();
        let offer = DirectOffer {
            addresses: addresses.to_vec(),
            side: None,
        };
        write_frame(&mut stream, &offer.encode()).await.unwrap();
        (stream, DirectOffer::decode(&theirs).unwrap())
    }

    pub(crate) fn own_addresses(&self) -> Vec<DirectAddress> {
        let typed = self.listening.iter().map(DirectAddress::from_multiaddr);
        typed.map(Option::unwrap).collect()
    }
}

async fn serve(
    node: Node,
    relay: PeerId,
    mut events: mpsc::Receiver<Event>,
    record: Signed,
    told: mpsc::Sender<(ConnectionId, bool)>,
    handed: mpsc::Sender<(Protocol, Stream)>,
) {
    let card = Card(record);
    while let Some(event) = events.recv().await {
        match event {
            Event::Inbound {
                peer,
                connection,
                protocol,
                mut stream,
                ..
            } => {
                if protocol == Protocol::Member {
                    let _ = member::serve(&node, &mut stream, peer, connection, &card).await;
                } else if protocol == Protocol::Ping {
                    tokio::spawn(async move { path::answer_pings(&mut stream).await });
                } else {
                    handed.send((protocol, stream)).await.unwrap();
                }
            }
            Event::Connected {
                peer,
                connection,
                origin,
                ..
            } if peer != relay => {
                let _ = told.try_send((connection, origin.relayed));
            }
            Event::Connected { .. }
            | Event::Disconnected { .. }
            | Event::Listening { .. }
            | Event::Observed { .. }
            | Event::ReservationAccepted { .. }
            | Event::ReservationLost { .. } => (),
        }
    }
}
