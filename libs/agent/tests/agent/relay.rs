//! A network whose operator is a table in memory, and its relay: a real node that pairs, exchanges records, serves
//! the roster and takes reports.

// The tests of the CLI take this file in, too.
#[path = "relay/guests.rs"]
mod guests;
#[path = "relay/streams.rs"]
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use peerup_node::member::{self, KnownList, Presented};
use peerup_node::pair::{self, Desk, Ends, Lookup, Verdict};
use peerup_node::path;
use peerup_node::{Config, Event, Node, PeerId, ProbationLimits, Protocol, RelayLimits, Role};
use peerup_pairing::membership::{self as rules, Refusal};
use peerup_protocol::api::{
    FailureRequest, IssuedRecord, LookupRequest, RedeemRequest, RefusalReason,
};
use peerup_protocol::code::{Code, CodeKind, Responder};
use peerup_protocol::derive::code_hash;
use peerup_protocol::frame::{RosterAsk, RosterPage};
use peerup_protocol::id::{DhtNamespace, GroupId, NetworkId, PeerName, Serial, Slot, peer_id};
use peerup_protocol::names::ProtocolNames;
use peerup_protocol::record::{
    Flags, MemberRecord, Method, NetworkDocument, RecordKind, Relay, Revocations, Signed,
};
use peerup_protocol::report::Report;
use peerup_protocol::secret::Secret;
use peerup_protocol::{Multiaddr, SigningKey, UnixTime};
use streams::{renewed, report, roster};
use tokio::sync::{mpsc, watch};

use crate::wait::found;

pub(crate) const GROUP: GroupId = GroupId([3; 8]);

pub(crate) fn now() -> UnixTime {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// What the operator of a network would hold.
pub(crate) struct Network {
    pub(crate) key: SigningKey,
    /// Its relays' seeds; the second one need not run.
    pub(crate) relay_seeds: [Secret<32>; 2],
    /// Seconds that a record lives that is issued now.
    pub(crate) life: AtomicU64,
    /// How many seconds ago the lists of revocations were signed that are told now.
    pub(crate) silence: AtomicU64,
    /// What whoever asks for the roster gets instead of it, one after the other.
    pub(crate) nonsense: Mutex<Vec<Vec<u8>>>,
    /// Who is told nothing new.
    pub(crate) deaf: Mutex<Option<PeerId>>,
    /// The relay that brings no report to the operator.
    pub(crate) cut_off: Mutex<Option<PeerId>>,
    book: Mutex<Book>,
    /// Woken when the book changes.
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct Book {
    used: BTreeMap<u16, PeerId>,
    records: BTreeMap<PeerId, (MemberRecord, Signed)>,
    revoked: BTreeSet<Serial>,
    reports: BTreeMap<PeerId, Report>,
    addresses: [Vec<Multiaddr>; 2],
    refuse_renewal: bool,
    flags: Flags,
    /// Changes of flags and relays.
    epoch: u64,
    /// Subjects of names that a cluster vouches for.
    subjects: BTreeMap<String, String>,
    asked: Vec<RosterAsk>,
    hosting: guests::Hosting,
}

impl Network {
    pub(crate) fn new(life: u64) -> Arc<Self> {
        Arc::new(Self {
            key: SigningKey::from_bytes(&rand::random()),
            relay_seeds: [Secret::new(rand::random()), Secret::new(rand::random())],
            life: AtomicU64::new(life),
            silence: AtomicU64::default(),
            nonsense: Mutex::default(),
            deaf: Mutex::default(),
            cut_off: Mutex::default(),
            book: Mutex::default(),
            version: watch::Sender::new(1),
        })
    }

    pub(crate) fn net(&self) -> NetworkId {
        NetworkId::of(&self.key.verifying_key())
    }

    pub(crate) fn namespace() -> DhtNamespace {
        DhtNamespace::parse("my-crew").unwrap()
    }

    /// The first relay's.
    pub(crate) fn relay_id(&self) -> PeerId {
        self.relay_ids()[0]
    }

    pub(crate) fn relay_ids(&self) -> [PeerId; 2] {
        let key = |seed: &Secret<32>| SigningKey::from_bytes(seed.expose()).verifying_key();
        self.relay_seeds.each_ref().map(|seed| peer_id(&key(seed)))
    }

    fn secret(slot: Slot) -> Secret<16> {
        Secret::new([u8::try_from(slot.0).unwrap(); 16])
    }

    pub(crate) fn code(&self, slot: u16) -> Code {
        let [addresses, _] = self.book.lock().unwrap().addresses.clone();
        Code {
            kind: CodeKind::Group,
            net: self.net(),
            group: GROUP,
            slot: Slot(slot),
            secret: Self::secret(Slot(slot)),
            namespace: Self::namespace(),
            not_after: u32::try_from(now() + 600).unwrap(),
            responders: vec![Responder {
                peer: self.relay_id(),
                addresses,
            }],
        }
    }

    pub(crate) fn report_of(&self, peer: &PeerId) -> Option<Report> {
        self.book.lock().unwrap().reports.get(peer).cloned()
    }

    pub(crate) fn record_of(&self, peer: &PeerId) -> Option<MemberRecord> {
        self.book
            .lock()
            .unwrap()
            .records
            .get(peer)
            .map(|(record, _)| record.clone())
    }

    pub(crate) fn revoke(&self, peer: &PeerId) {
        let mut book = self.book.lock().unwrap();
        let (record, _) = book.records.remove(peer).unwrap();
        book.revoked.insert(record.serial);
        drop(book);
        self.changed();
    }

    /// What peers asked about the roster, renewals not among it.
    pub(crate) fn asked(&self) -> Vec<RosterAsk> {
        self.book.lock().unwrap().asked.clone()
    }

    pub(crate) fn refuse_renewal(&self) {
        self.book.lock().unwrap().refuse_renewal = true;
    }

    /// Changes the network's switches.
    pub(crate) fn switch(&self, flags: Flags) {
        let mut book = self.book.lock().unwrap();
        book.flags = flags;
        book.epoch += 1;
        drop(book);
        self.changed();
    }

    /// Whoever joins under this name is attested as `subject`.
    pub(crate) fn vouch(&self, name: &str, subject: &str) {
        let mut book = self.book.lock().unwrap();
        book.subjects.insert(name.to_owned(), subject.to_owned());
    }

    fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    pub(crate) fn issue(&self, peer: PeerId, name: &PeerName) -> Signed {
        let mut book = self.book.lock().unwrap();
        let former = book.records.get(&peer).map(|(record, _)| record.clone());
        let subject = book.subjects.get(name.as_str()).cloned();
        let record = MemberRecord {
            net: self.net(),
            serial: former.as_ref().map_or_else(
                || Serial(rand::random::<u64>() >> 1),
                |former| former.serial,
            ),
            peer,
            name: name.clone(),
            method: match &subject {
                Some(_) => Method::Attested,
                None => Method::Code,
            },
            subject: subject.unwrap_or_default(),
            issued: former.map_or_else(now, |former| now().max(former.issued + 1)),
            not_after: now() + self.life.load(Ordering::Relaxed),
        };
        let signed = Signed::sign(&self.key, record.encode());
        book.records.insert(peer, (record, signed.clone()));
        drop(book);
        self.changed();
        signed
    }

    pub(crate) fn revocations(&self) -> KnownList {
        let serials = self.book.lock().unwrap().revoked.clone();
        let epoch = *self.version.borrow();
        let issued = now() - self.silence.load(Ordering::Relaxed);
        let list = Revocations {
            net: self.net(),
            epoch,
            issued,
            serials,
        };
        KnownList {
            epoch,
            issued,
            signed: Signed::sign(&self.key, list.encode()),
        }
    }

    fn document(&self) -> Signed {
        let book = self.book.lock().unwrap();
        let (addresses, flags, epoch) = (book.addresses.clone(), book.flags, book.epoch);
        drop(book);
        let relays = self.relay_ids().into_iter().zip(addresses);
        let relays = relays.filter(|(_, addresses)| !addresses.is_empty());
        let relays = relays
            .map(|(peer, addresses)| Relay { peer, addresses })
            .collect();
        let document = NetworkDocument {
            net: self.net(),
            epoch: 1 + epoch,
            issued: now(),
            namespace: Self::namespace(),
            cluster: "local".to_owned(),
            flags,
            relays,
            access: Vec::new(),
        };
        Signed::sign(&self.key, document.encode())
    }

    fn page(&self, seq: u64) -> RosterPage {
        let records = self
            .book
            .lock()
            .unwrap()
            .records
            .values()
            .map(|(_, signed)| signed.clone())
            .collect();
        RosterPage {
            run: 1,
            seq,
            full: true,
            last: true,
            records,
            gone: Vec::new(),
        }
    }
}

impl member::Membership for Network {
    fn presented(&self) -> Presented {
        Presented {
            credential: self.document(),
            revocations: Some(self.revocations()),
        }
    }

    fn check(&self, peer: &PeerId, credential: &Signed) -> Result<member::Standing, Refusal> {
        if RecordKind::of(&credential.bytes) == Some(RecordKind::Guest) {
            return self.check_guest(peer, credential);
        }
        let revoked = Revocations::decode(&self.revocations().signed.bytes).unwrap();
        match rules::check(
            credential,
            &self.key.verifying_key(),
            peer,
            now(),
            Some(&revoked),
        ) {
            Ok(_) => Ok(member::Standing::Admitted),
            Err(Refusal::Expired(_)) => Ok(member::Standing::Renewing),
            Err(refusal) => Err(refusal),
        }
    }

    fn learn(&self, _: Signed) -> Result<(), Refusal> {
        Ok(())
    }
}

impl Desk for Network {
    async fn lookup(&self, request: LookupRequest) -> Lookup {
        if request.group != GROUP {
            return Lookup::Unknown(RefusalReason::UnknownGroup);
        }
        let salt = code_hash(
            &self.net(),
            &GROUP,
            request.slot,
            &Self::secret(request.slot),
        );
        Lookup::Known {
            salt: Secret::new(salt),
            attested: false,
        }
    }

    async fn redeem(&self, request: RedeemRequest) -> Result<IssuedRecord, RefusalReason> {
        let user = *self
            .book
            .lock()
            .unwrap()
            .used
            .entry(request.slot.0)
            .or_insert(request.peer_id);
        if user != request.peer_id {
            return Err(RefusalReason::Used);
        }
        let signed = self.issue(request.peer_id, &request.name);
        Ok(IssuedRecord {
            record: signed.bytes,
            signature: signed.signature,
            network_public_key: self.key.verifying_key().to_bytes(),
        })
    }

    async fn failure(&self, _: FailureRequest) {}
}

/// A running relay on loopback.
pub(crate) struct FakeRelay {
    pub(crate) node: Node,
}

impl FakeRelay {
    /// Starts the network's relay; a second one has the addresses of the first.
    pub(crate) async fn start(network: &Arc<Network>) -> Self {
        Self::run(network, 0).await
    }

    /// Starts another one, which no code names.
    pub(crate) async fn other(network: &Arc<Network>) -> Self {
        let relay = Self::run(network, 1).await;
        network.book.lock().unwrap().epoch += 1;
        network.changed();
        relay
    }

    async fn run(network: &Arc<Network>, at: usize) -> Self {
        let known = network.book.lock().unwrap().addresses[at].clone();
        let listen = if known.is_empty() {
            ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]
                .iter()
                .map(|text| text.parse().unwrap())
                .collect()
        } else {
            known
        };
        let limits = RelayLimits {
            max_reservations: 16,
            max_circuits: 16,
            circuit_timeout: Duration::from_secs(600),
            circuit_data_limit: 0,
            probation: ProbationLimits::default(),
        };
        // The former relay's socket may still be being closed.
        let started = found("the relay's socket", async || {
            let config = Config {
                seed: network.relay_seeds[at].clone(),
                names: ProtocolNames::new(&network.net(), &Network::namespace()),
                role: Role::Relay(limits.clone()),
                listen: listen.clone(),
            };
            peerup_node::start(config).ok()
        });
        let (node, mut events) = started.await;
        let mut addresses = Vec::new();
        while addresses.len() < 2 {
            if let Event::Listening { address } = events.recv().await.unwrap() {
                node.add_external_address(address.clone()).await;
                addresses.push(address);
            }
        }
        network.book.lock().unwrap().addresses[at] = addresses;
        tokio::spawn(serve(Arc::clone(network), node.clone(), events));
        tokio::spawn(expel(Arc::downgrade(network), node.clone()));
        Self { node }
    }
}

async fn serve(network: Arc<Network>, node: Node, mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        let Event::Inbound {
            peer,
            connection,
            protocol,
            mut stream,
            ..
        } = event
        else {
            continue;
        };
        let (network, node) = (Arc::clone(&network), node.clone());
        tokio::spawn(async move {
            match protocol {
                Protocol::Pair => {
                    let ends = Ends {
                        net: network.net(),
                        namespace: Network::namespace(),
                        responder: node.peer_id(),
                        joiner: peer,
                    };
                    let enter = |pool| node.enter(connection, pool);
                    let admit = || node.admit(peer);
                    let verdict = pair::respond(&mut stream, &ends, &*network, enter, admit).await;
                    if !matches!(verdict, Verdict::Joined(_)) {
                        node.close_connection(connection).await;
                    }
                }
                Protocol::Member => {
                    let served =
                        member::serve(&node, &mut stream, peer, connection, &*network).await;
                    if let Ok(member::Standing::Renewing) = served {
                        let record = renewed(&network, &peer);
                        let _ = member::write_renewal(&mut stream, record).await;
                    }
                }
                Protocol::Roster => roster(&network, peer, stream).await,
                Protocol::Report if *network.cut_off.lock().unwrap() == Some(node.peer_id()) => {}
                Protocol::Report => report(&network, peer, stream).await,
                Protocol::Ping => path::answer_pings(&mut stream).await.unwrap(),
                Protocol::Trace => path::answer_trace(&mut stream).await.unwrap(),
                Protocol::Invite => guests::invite(&network, &node, peer, stream).await,
                Protocol::Probe => panic!("nobody answers STUN here"),
                Protocol::Verify | Protocol::Direct | Protocol::Service(_) => {
                    panic!("a relay offers none of them")
                }
            }
        });
    }
}

/// Members whose record ends lose their admission, once each.
async fn expel(network: Weak<Network>, node: Node) {
    let mut done = BTreeSet::new();
    while let Some(network) = network.upgrade() {
        let ended: Vec<(PeerId, UnixTime)> = {
            let book = network.book.lock().unwrap();
            let records = book
                .records
                .values()
                .map(|(record, _)| (record.peer, record.not_after));
            records.filter(|(_, end)| *end <= now()).collect()
        };
        for (peer, end) in ended {
            if done.insert((peer, end)) {
                node.expel(peer).await;
            }
        }
        drop(network);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
