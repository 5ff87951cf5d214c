//! A relay on loopback with its operator, and peers to talk to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use peerup_node::member::{self, ConnectError, Membership, Presented, Standing};
use peerup_node::{ConnectionId, Event, Node, Role};
use peerup_pairing::membership::{Refusal, check_document};
use peerup_protocol::code::{Code, CodeKind, Responder};
use peerup_protocol::id::{GroupId, Slot, peer_id};
use peerup_protocol::names::ProtocolNames;
use peerup_protocol::record::{MemberRecord, Signed};
use peerup_protocol::secret::Secret;
use peerup_protocol::{Multiaddr, PeerId, SigningKey, UnixTime, VerifyingKey};
use tokio::sync::watch;

use super::operator::{Book, Operator, TOKEN};
use crate::clock::now;
use crate::config::{LogFormat, StunPorts};
use crate::{Config, Relay};

/// Nothing in a test takes longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at something that cannot be waited for.
const LOOK: Duration = Duration::from_millis(20);
/// Seed of the relay's key.
const RELAY: [u8; 32] = [200; 32];

/// Waits until then.
pub(super) async fn until(time: UnixTime) {
    let left = Duration::from_secs(time.saturating_sub(now()));
    tokio::time::sleep(left).await;
}

pub(super) struct Bed {
    pub(super) operator: Operator,
    pub(super) relay: Relay,
    directory: PathBuf,
}

impl Bed {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With an operator that says something else than usual.
    pub(super) async fn start_with(change: impl FnOnce(&mut Book)) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("peerup-relay-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let operator = Operator::start(SigningKey::from_bytes(&RELAY)).await;
        std::fs::write(directory.join("token"), TOKEN).unwrap();
        std::fs::write(directory.join("ca.crt"), &operator.ca).unwrap();
        std::fs::write(directory.join("seed"), RELAY).unwrap();
        change(&mut operator.book());
        let relay = Relay::start(config(&operator, &directory)).await.unwrap();
        Self {
            operator,
            relay,
            directory,
        }
    }

    /// Stops the relay and starts it anew on what it has kept.
    pub(super) async fn restart(self) -> Self {
        let Self {
            operator,
            relay,
            directory,
        } = self;
        relay.stop().await;
        let relay = Relay::start(config(&operator, &directory)).await.unwrap();
        Self {
            operator,
            relay,
            directory,
        }
    }

    pub(super) async fn stop(self) {
        self.relay.stop().await;
        std::fs::remove_dir_all(&self.directory).unwrap();
    }

    /// Two addresses on 127.0.0.1, TCP and QUIC.
    pub(super) async fn addresses(&self) -> Vec<Multiaddr> {
        let mut listening = self.relay.listening();
        let local = |all: &Vec<Multiaddr>| -> Vec<Multiaddr> {
            let local = all
                .iter()
                .filter(|address| address.to_string().contains("127.0.0.1"));
            local.cloned().collect()
        };
        let all = listening.wait_for(|all| local(all).len() == 2);
        local(&tokio::time::timeout(PATIENCE, all).await.unwrap().unwrap())
    }

    /// A member that is connected and holds a reservation.
    pub(super) async fn member(&self, seed: u8, serial: u64) -> (Peer, MemberRecord) {
        let peer = Peer::start(self, seed);
        let record = self.operator.record(peer.id(), serial, 3600);
        self.operator
            .change(|book| book.members.push(record.clone()));
        self.page("/readyz", |_| true).await;
        peer.connect(self, &record).await.unwrap();
        let address = self.addresses().await.remove(0);
        let relay = self.relay.peer_id();
        peer.node.reserve(relay, address).await.unwrap();
        (peer, record)
    }

    /// The way to `peer` through the relay.
    pub(super) async fn circuit(&self, peer: &Peer) -> Vec<Multiaddr> {
        let address = self.addresses().await.remove(0);
        let (relay, peer) = (self.relay.peer_id(), peer.id());
        let text = format!("{address}/p2p/{relay}/p2p-circuit/p2p/{peer}");
        vec![text.parse().unwrap()]
    }

    /// A code that the operator knows, redeemed over QUIC.
    pub(super) async fn code(&self) -> Code {
        let mut addresses = self.addresses().await;
        addresses.retain(|address| address.to_string().contains("quic"));
        let code = Code {
            kind: CodeKind::Group,
            net: self.operator.net(),
            group: GroupId([6; 8]),
            slot: Slot(0),
            secret: Secret::new([8; 16]),
            namespace: Operator::namespace(),
            not_after: u32::MAX,
            responders: vec![Responder {
                peer: self.relay.peer_id(),
                addresses,
            }],
        };
        self.operator.book().code = Some(code.clone());
        code
    }

    /// Waits until the lists on disk are as new as `seq`.
    pub(super) async fn until_kept(&self, seq: u64) {
        let store = crate::store::Store::new(self.directory.clone());
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while store.load().unwrap().is_none_or(|lists| lists.seq < seq) {
            assert!(tokio::time::Instant::now() < deadline, "lists are not kept");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the operator's book is as `is_so` wants it.
    pub(super) async fn until(&self, is_so: impl Fn(&Book) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !is_so(&self.operator.book()) {
            assert!(tokio::time::Instant::now() < deadline, "the operator waits");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the page answers 200 and `is_enough`.
    pub(super) async fn page(&self, page: &str, is_enough: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            last = get(self.relay.http(), page).await;
            if last.starts_with("HTTP/1.1 200") && is_enough(&last) {
                return last;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("{page} stays {last}");
    }
}

pub(super) async fn get(address: SocketAddr, page: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {page} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn config(operator: &Operator, directory: &std::path::Path) -> Config {
    Config {
        network: "shop/crew".to_owned(),
        dht_namespace: Operator::namespace(),
        network_public_key: operator.key.verifying_key(),
        operator_url: operator.url.clone(),
        operator_ca_file: directory.join("ca.crt"),
        token_file: directory.join("token"),
        key_file: directory.join("seed"),
        state_dir: directory.to_owned(),
        inside_host: "127.0.0.1".to_owned(),
        max_reservations: 16,
        max_circuits: 16,
        circuit_timeout_seconds: 0,
        circuit_data_limit: 0,
        max_probationary_peers: 10,
        probation_timeout_seconds: 15,
        listen_port: 0,
        stun_ports: StunPorts {
            primary: 0,
            alternate: 0,
        },
        http_listen: "127.0.0.1:0".parse().unwrap(),
        log: "info".to_owned(),
        log_format: LogFormat::Text,
    }
}

/// A peer's node, whose connections can be watched.
pub(super) struct Peer {
    pub(super) key: SigningKey,
    pub(super) node: Node,
    connections: watch::Receiver<usize>,
}

impl Peer {
    /// Over QUIC it comes from an address of its own: QUIC dials from the socket that it listens on.
    pub(super) fn start(bed: &Bed, seed: u8) -> Self {
        let (node, mut events) = peerup_node::start(peerup_node::Config {
            seed: Secret::new([seed; 32]),
            names: ProtocolNames::new(&bed.operator.net(), &Operator::namespace()),
            role: Role::Peer,
            listen: vec![
                format!("/ip4/127.0.0.{seed}/udp/0/quic-v1")
                    .parse()
                    .unwrap(),
            ],
        })
        .unwrap();
        let (sender, connections) = watch::channel(0);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    Event::Connected { .. } => sender.send_modify(|open| *open += 1),
                    Event::Disconnected { .. } => sender.send_modify(|open| *open -= 1),
                    Event::Inbound { .. }
                    | Event::Listening { .. }
                    | Event::Observed { .. }
                    | Event::ReservationAccepted { .. }
                    | Event::ReservationLost { .. } => {}
                }
            }
        });
        Self {
            key: SigningKey::from_bytes(&[seed; 32]),
            node,
            connections,
        }
    }

    pub(super) fn id(&self) -> PeerId {
        peer_id(&self.key.verifying_key())
    }

    /// Waits until no connection is left.
    pub(super) async fn alone(&self) {
        self.connected(0).await;
    }

    /// Waits until there are so many connections.
    pub(super) async fn connected(&self, count: usize) {
        let mut connections = self.connections.clone();
        let reached = connections.wait_for(|open| *open == count);
        tokio::time::timeout(PATIENCE, reached)
            .await
            .unwrap()
            .unwrap();
    }

    /// Connects as the member of this record.
    pub(super) async fn connect(
        &self,
        bed: &Bed,
        record: &MemberRecord,
    ) -> Result<ConnectionId, ConnectError> {
        let member = self.member(bed, record);
        member::connect(
            &self.node,
            &member,
            bed.relay.peer_id(),
            bed.addresses().await,
        )
        .await
    }

    /// Connects as whoever this credential makes it.
    pub(super) async fn connect_with(
        &self,
        bed: &Bed,
        credential: Signed,
    ) -> Result<ConnectionId, ConnectError> {
        let shown = Member {
            record: credential,
            network: bed.operator.key.verifying_key(),
        };
        let (relay, addresses) = (bed.relay.peer_id(), bed.addresses().await);
        member::connect(&self.node, &shown, relay, addresses).await
    }

    /// Brings a record that is over.
    pub(super) async fn renew(
        &self,
        bed: &Bed,
        record: &MemberRecord,
    ) -> Result<Option<Signed>, ConnectError> {
        let (relay, addresses) = (bed.relay.peer_id(), bed.addresses().await);
        member::renew(&self.node, &self.member(bed, record), relay, addresses).await
    }

    pub(super) fn member(&self, bed: &Bed, record: &MemberRecord) -> Member {
        Member {
            record: bed.operator.sign(record),
            network: bed.operator.key.verifying_key(),
        }
    }
}

/// What a peer shows and whom it believes.
pub(super) struct Member {
    record: Signed,
    network: VerifyingKey,
}

impl Membership for Member {
    fn presented(&self) -> Presented {
        Presented {
            credential: self.record.clone(),
            revocations: None,
        }
    }

    fn check(&self, peer: &PeerId, credential: &Signed) -> Result<Standing, Refusal> {
        let document = check_document(credential, &self.network, now())?;
        let relay = document.relay(peer);
        relay.map(|_| Standing::Admitted).ok_or(Refusal::OtherPeer)
    }

    fn learn(&self, _: Signed) -> Result<(), Refusal> {
        Ok(())
    }
}

impl Member {
    /// Shows the record with another signature.
    pub(super) fn sign_with(&mut self, key: &SigningKey, record: &MemberRecord) {
        self.record = Signed::sign(key, record.encode());
    }
}
