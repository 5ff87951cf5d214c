//! A network with its key, nodes in it, and their events.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{AsyncReadExt, AsyncWriteExt};
use peerup_pairing::membership::{self, Refusal};
use peerup_protocol::{
    Multiaddr, PeerId, SigningKey,
    frame::MemberHello,
    id::{DhtNamespace, NetworkId, PeerName, Serial},
    names::ProtocolNames,
    record::{MemberRecord, Method, NetworkDocument, RecordKind, Relay, Revocations, Signed},
    secret::Secret,
};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    Config, Event, Node, ProbationLimits, Protocol, RelayLimits, Role, Stream,
    member::{KnownList, Membership, Presented, Standing},
};

/// When something that has to come is given up.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);
/// Longer than anything takes that is not to be cut short.
pub(super) const LONG: Duration = Duration::from_secs(20);
pub(super) const NAMESPACE: &str = "my-crew";

pub(super) fn network_key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

pub(super) fn net() -> NetworkId {
    NetworkId::of(&network_key().verifying_key())
}

pub(super) fn namespace() -> DhtNamespace {
    DhtNamespace::parse(NAMESPACE).unwrap()
}

pub(super) fn names() -> ProtocolNames {
    ProtocolNames::new(&net(), &namespace())
}

pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A seed that no other test uses.
pub(super) fn seed() -> [u8; 32] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    seed
}

pub(super) fn limits() -> RelayLimits {
    RelayLimits {
        max_reservations: 64,
        max_circuits: 64,
        circuit_timeout: Duration::ZERO,
        circuit_data_limit: 0,
        probation: ProbationLimits::default(),
    }
}

/// A node and its events.
pub(super) struct Running {
    pub(super) node: Node,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) seed: [u8; 32],
}

pub(super) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(super) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

impl Running {
    pub(super) async fn start(seed: [u8; 32], role: Role, listen: &[&str]) -> Self {
        Self::start_in(net(), seed, role, listen).await
    }

    /// In this network, which has the same name as every other.
    pub(super) async fn start_in(
        net: NetworkId,
        seed: [u8; 32],
        role: Role,
        listen: &[&str],
    ) -> Self {
        let config = Config {
            seed: Secret::new(seed),
            names: ProtocolNames::new(&net, &namespace()),
            role,
            listen: listen
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
        };
        let (node, events) = crate::start(config).unwrap();
        let mut running = Self {
            node,
            events,
            addresses: Vec::new(),
            seed,
        };
        for _ in listen {
            let address = running
                .until(|event| match event {
                    Event::Listening { address } => Some(address),
                    _ => None,
                })
                .await;
            running.node.add_external_address(address.clone()).await;
            running.addresses.push(address);
        }
        running
    }

    pub(super) async fn relay() -> Self {
        Self::start(seed(), Role::Relay(limits()), &[TCP, QUIC]).await
    }

    pub(super) async fn peer() -> Self {
        Self::start(seed(), Role::Peer, &[]).await
    }

    pub(super) fn id(&self) -> PeerId {
        self.node.peer_id()
    }

    pub(super) fn tcp(&self) -> Vec<Multiaddr> {
        vec![self.addresses[0].clone()]
    }

    pub(super) fn quic(&self) -> Vec<Multiaddr> {
        vec![self.addresses[1].clone()]
    }

    pub(super) fn key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.seed)
    }

    /// The way to `peer` through this relay.
    pub(super) fn circuit(&self, peer: PeerId) -> Vec<Multiaddr> {
        let text = format!(
            "{}/p2p/{}/p2p-circuit/p2p/{peer}",
            self.addresses[0],
            self.id()
        );
        vec![text.parse().unwrap()]
    }

    /// The first event that `pick` takes; others are dropped.
    pub(super) async fn until<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        timeout(DEADLINE, async {
            loop {
                if let Some(found) = pick(self.events.recv().await.unwrap()) {
                    return found;
                }
            }
        })
        .await
        .expect("the event comes in time")
    }

    pub(super) async fn inbound(
        &mut self,
        wanted: Protocol,
    ) -> (PeerId, crate::ConnectionId, Stream) {
        self.until(|event| match event {
            Event::Inbound {
                peer,
                connection,
                protocol,
                stream,
                ..
            } if protocol == wanted => Some((peer, connection, stream)),
            _ => None,
        })
        .await
    }

    pub(super) async fn disconnected(&mut self, from: PeerId) -> u32 {
        self.until(|event| match event {
            Event::Disconnected {
                peer, remaining, ..
            } if peer == from => Some(remaining),
            _ => None,
        })
        .await
    }

    /// Polls the node's state until it is as wanted.
    pub(super) async fn state(&self, wanted: impl Fn(&crate::Snapshot) -> bool) -> crate::Snapshot {
        let mut last = None;
        let found = timeout(DEADLINE, async {
            loop {
                let snapshot = self.node.snapshot().await.unwrap();
                if wanted(&snapshot) {
                    return snapshot;
                }
                last = Some(snapshot);
                tokio::task::yield_now().await;
            }
        })
        .await;
        found.unwrap_or_else(|_| panic!("the state does not come: {last:?}"))
    }
}

/// Admits both to each other and dials.
pub(super) async fn befriend(peer: &Running, relay: &Running, addresses: Vec<Multiaddr>) {
    relay.node.admit(peer.id()).await;
    peer.node.admit(relay.id()).await;
    peer.node.dial(relay.id(), addresses).await.unwrap();
}

/// Sends bytes one way and reads them back.
pub(super) async fn echo(mut from: Stream, to: Stream, bytes: usize) {
    let sent: Vec<u8> = (0..bytes).map(|i| (i * 31 % 251) as u8).collect();
    let (mut read, mut write) = to.split();
    let back = tokio::spawn(async move {
        futures::io::copy(&mut read, &mut write).await.unwrap();
        write.close().await.unwrap();
    });
    let expected = sent.clone();
    let (mut echo, mut out) = futures::AsyncReadExt::split(&mut from);
    let mut got = Vec::new();
    let both = futures::future::join(
        async {
            out.write_all(&sent).await.unwrap();
            out.close().await.unwrap();
        },
        async { echo.read_to_end(&mut got).await.unwrap() },
    );
    timeout(DEADLINE, both).await.expect("bytes pass in time");
    back.await.unwrap();
    assert!(
        got == expected,
        "{} of {} bytes came back",
        got.len(),
        expected.len()
    );
}

/// A member's or relay's membership by the book, with what happened to it.
pub(super) struct Card {
    credential: Mutex<Signed>,
    revocations: Mutex<Option<KnownList>>,
    relays: Vec<PeerId>,
}

pub(super) fn record(peer: PeerId, serial: u64, not_after: u64) -> Signed {
    let record = MemberRecord {
        net: net(),
        serial: Serial(serial),
        peer,
        name: PeerName::parse("laptop").unwrap(),
        subject: String::new(),
        method: Method::Code,
        issued: now() - 1000,
        not_after,
    };
    Signed::sign(&network_key(), record.encode())
}

pub(super) fn revoked(epoch: u64, serials: &[u64]) -> KnownList {
    let list = Revocations {
        net: net(),
        epoch,
        issued: now(),
        serials: serials.iter().copied().map(Serial).collect(),
    };
    let signed = Signed::sign(&network_key(), list.encode());
    KnownList {
        epoch,
        issued: list.issued,
        signed,
    }
}

impl Card {
    /// A member's, valid for a while.
    pub(super) fn member(of: &Running, serial: u64, relays: &[&Running]) -> Self {
        Self::of(
            record(of.id(), serial, now() + 1000),
            relays.iter().map(|r| r.id()).collect(),
        )
    }

    /// A relay's.
    pub(super) fn relay(of: &Running) -> Self {
        let document = NetworkDocument {
            net: net(),
            epoch: 1,
            issued: now(),
            namespace: namespace(),
            cluster: "local".into(),
            flags: Default::default(),
            relays: vec![Relay {
                peer: of.id(),
                addresses: of.addresses.clone(),
            }],
            access: Vec::new(),
        };
        Self::of(
            Signed::sign(&network_key(), document.encode()),
            vec![of.id()],
        )
    }

    fn of(credential: Signed, relays: Vec<PeerId>) -> Self {
        Self {
            credential: Mutex::new(credential),
            revocations: Mutex::new(None),
            relays,
        }
    }

    pub(super) fn shows(&self, credential: Signed) {
        *self.credential.lock().unwrap() = credential;
    }

    pub(super) fn knows(&self, list: KnownList) {
        *self.revocations.lock().unwrap() = Some(list);
    }

    pub(super) fn epoch(&self) -> u64 {
        self.revocations
            .lock()
            .unwrap()
            .as_ref()
            .map_or(0, |list| list.epoch)
    }
}

impl Membership for Card {
    fn presented(&self) -> Presented {
        Presented {
            credential: self.credential.lock().unwrap().clone(),
            revocations: self.revocations.lock().unwrap().clone(),
        }
    }

    fn check(&self, peer: &PeerId, credential: &Signed) -> Result<Standing, Refusal> {
        let key = network_key().verifying_key();
        if RecordKind::of(&credential.bytes) == Some(RecordKind::Network) {
            membership::check_document(credential, &key, now())?;
            return match self.relays.contains(peer) {
                true => Ok(Standing::Admitted),
                false => Err(Refusal::OtherPeer),
            };
        }
        let list = self.revocations.lock().unwrap();
        let list = list
            .as_ref()
            .map(|list| Revocations::decode(&list.signed.bytes).unwrap());
        match membership::check(credential, &key, peer, now(), list.as_ref()) {
            Ok(_) => Ok(Standing::Admitted),
            Err(Refusal::Expired(_)) => Ok(Standing::Renewing),
            Err(refusal) => Err(refusal),
        }
    }

    fn learn(&self, revocations: Signed) -> Result<(), Refusal> {
        let key = network_key().verifying_key();
        let list = membership::check_revocations(&revocations, &key, now())?;
        self.knows(KnownList {
            epoch: list.epoch,
            issued: list.issued,
            signed: revocations,
        });
        Ok(())
    }
}

/// The first frame that this card sends.
pub(super) fn hello(card: &Card) -> Vec<u8> {
    let presented = card.presented();
    MemberHello {
        credential: presented.credential,
        epoch: 0,
        issued: 0,
    }
    .encode()
}
