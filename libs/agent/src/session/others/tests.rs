//! A session with its node, and nobody else.

use std::collections::BTreeSet;
use std::sync::Arc;

use peerup_node::member::Membership as _;
use peerup_node::{Config, Node, Role as NodeRole};
use peerup_protocol::SigningKey;
use peerup_protocol::id::{DhtNamespace, NetworkId, Serial, peer_id};
use peerup_protocol::names::ProtocolNames;
use peerup_protocol::record::{Method, Revocations};
use peerup_protocol::secret::Secret;

use super::*;
use crate::metrics::Metrics;
use crate::services::ServiceLimits;
use crate::shared::Shared;
use crate::state::tests::Scratch;
use crate::state::{Access, Store};
use crate::status::{Board, Status};

const OWN: u8 = 1;
const OTHER: u8 = 2;
const NETWORK: u8 = 9;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn net() -> NetworkId {
    NetworkId::of(&key(NETWORK).verifying_key())
}

fn record(seed: u8) -> Signed {
    let issued = now();
    let record = MemberRecord {
        net: net(),
        serial: Serial(seed.into()),
        peer: peer_id(&key(seed).verifying_key()),
        name: PeerName::parse(&format!("peer-{seed}")).unwrap(),
        subject: String::new(),
        method: Method::Code,
        issued,
        not_after: issued + 900,
    };
    Signed::sign(&key(NETWORK), record.encode())
}

fn revoked(seed: u8) -> Signed {
    let list = Revocations {
        net: net(),
        epoch: 2,
        issued: now(),
        serials: BTreeSet::from([Serial(seed.into())]),
    };
    Signed::sign(&key(NETWORK), list.encode())
}

fn session(dir: &Scratch) -> (Session, Node) {
    let namespace = DhtNamespace::parse("crew").unwrap();
    let (node, _) = peerup_node::start(Config {
        seed: Secret::from([OWN; 32]),
        names: ProtocolNames::new(&net(), &namespace),
        role: NodeRole::Peer,
        listen: Vec::new(),
    })
    .unwrap();
    let network = key(NETWORK).verifying_key();
    let own = record(OWN);
    let membership =
        Membership::new(node.peer_id(), network, namespace, own, Vec::new(), now()).unwrap();
    let store = Arc::new(Store::open(&dir.0, Access::Refuse).unwrap());
    let shared = Shared::new(
        key(OWN),
        Board::new(Status::starting(jiff::Timestamp::now())),
        Metrics::new().unwrap(),
        store,
        ServiceLimits::default(),
    );
    let session = Session::new(node.clone(), Arc::new(shared), false, membership);
    (session, node)
}

/// The node's admission comes after the check, and the list may come between the two.
#[tokio::test]
async fn who_is_revoked_while_it_is_admitted_is_let_go() {
    let dir = Scratch::new();
    let (session, node) = session(&dir);
    let other = peer_id(&key(OTHER).verifying_key());
    let admitted = async || node.snapshot().await.unwrap().admitted;

    session.check(&other, &record(OTHER)).unwrap();
    node.admit(other).await;
    session.settle(other).await;
    assert_eq!(admitted().await, 1, "a member stays");

    node.expel(other).await;
    session.check(&other, &record(OTHER)).unwrap();
    session.take_lists(Some(revoked(OTHER)), None).unwrap();
    session.sweep().await;
    node.admit(other).await;
    assert_eq!(admitted().await, 1, "nobody was there to be let go");
    session.settle(other).await;
    assert_eq!(admitted().await, 0);
    assert_eq!(session.member(&other), None);
}
