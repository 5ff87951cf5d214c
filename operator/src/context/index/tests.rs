//! The index beside a store that a watch fills.

use kube::runtime::{reflector::store::Writer, watcher::Event};
use serde_json::json;

use super::*;

struct Filled {
    writer: Writer<Peer>,
    peers: Watched<Peer>,
    index: PeerIndex,
}

impl Filled {
    fn new() -> Self {
        let writer = Writer::default();
        Self {
            peers: Watched::new(vec![writer.as_reader()]),
            index: PeerIndex::default(),
            writer,
        }
    }

    /// As the watch does: the store first, then the index.
    fn apply(&mut self, peer: &Peer) {
        self.writer.apply_watcher_event(&Event::Apply(peer.clone()));
        self.index
            .follow(&self.peers, &Change::Applied(peer.clone().into()));
    }

    fn delete(&mut self, peer: &Peer) {
        self.writer
            .apply_watcher_event(&Event::Delete(peer.clone()));
        self.index
            .follow(&self.peers, &Change::Deleted(peer.clone().into()));
    }

    fn relist(&mut self, all: &[Peer]) {
        self.writer.apply_watcher_event(&Event::Init);
        for peer in all {
            self.writer
                .apply_watcher_event(&Event::InitApply(peer.clone()));
        }
        self.writer.apply_watcher_event(&Event::InitDone);
        self.index.follow(&self.peers, &Change::Relisted);
    }

    fn of_pod(&self, uid: &str) -> Vec<String> {
        names(&self.index.of_pod(&self.peers, &network("main"), uid))
    }

    fn of_identity(&self, id: &str) -> Vec<String> {
        names(&self.index.of_identity(&self.peers, &network("main"), id))
    }

    fn count(&self) -> usize {
        self.index.count(&network("main"))
    }
}

fn names(peers: &[Arc<Peer>]) -> Vec<String> {
    peers.iter().map(|peer| peer.name_any()).collect()
}

fn network(name: &str) -> PeerNetwork {
    let network = json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork",
        "metadata": {"name": name, "namespace": "shop"}, "spec": {},
    });
    serde_json::from_value(network).unwrap()
}

fn peer(name: &str, pod: &str, id: &str) -> Peer {
    let peer = json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "Peer", "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "networkRef": {"name": "main"}, "peerID": id, "serial": "0000000000000001", "type": "Pod",
            "method": "Attested", "displayName": name,
            "podRef": {"namespace": "shop", "name": name, "uid": pod, "serviceAccount": "default"},
        },
    });
    serde_json::from_value(peer).unwrap()
}

fn going(mut peer: Peer) -> Peer {
    peer.metadata.deletion_timestamp = Some(crate::clock::time(1));
    peer
}

#[test]
fn peers_are_found_by_pod_and_by_identity_until_they_go() {
    let mut filled = Filled::new();
    let (a, b) = (peer("a", "u1", "p1"), peer("b", "u2", "p2"));
    filled.relist(std::slice::from_ref(&a));
    filled.apply(&b);
    assert_eq!(
        (filled.of_pod("u1"), filled.of_pod("u2")),
        (vec!["a".to_owned()], vec!["b".to_owned()])
    );
    assert_eq!(
        (filled.of_identity("p2"), filled.count()),
        (vec!["b".to_owned()], 2)
    );
    assert!(filled.of_pod("p1").is_empty() && filled.of_identity("u1").is_empty());
    filled.apply(&going(b.clone()));
    assert_eq!(
        (filled.of_pod("u2").len(), filled.count()),
        (0, 1),
        "it is being deleted"
    );
    assert_eq!(filled.index.keys_of_pod("u2").len(), 1, "and still there");
    filled.delete(&b);
    assert!(filled.index.keys_of_pod("u2").is_empty());
    filled.delete(&a);
    let nothing = Index {
        version: filled.index.version(),
        ..Index::default()
    };
    assert_eq!(
        *filled.index.0.read().unwrap(),
        nothing,
        "nothing is left of them"
    );
}

#[test]
fn a_pod_with_two_keys_has_two_peers() {
    let mut filled = Filled::new();
    filled.apply(&peer("a", "u1", "p1"));
    filled.apply(&peer("a-2", "u1", "p2"));
    let mut both = filled.of_pod("u1");
    both.sort();
    assert_eq!(both, ["a", "a-2"]);
    filled.delete(&peer("a", "u1", "p1"));
    assert_eq!(filled.of_pod("u1"), ["a-2"]);
}

#[test]
fn a_name_that_another_pod_has_taken_is_not_answered() {
    let mut filled = Filled::new();
    filled.apply(&peer("a", "u1", "p1"));
    // The store knows already, the index does not yet.
    let next = peer("a", "u2", "p2");
    filled
        .writer
        .apply_watcher_event(&Event::Apply(next.clone()));
    assert!(filled.of_pod("u1").is_empty() && filled.of_identity("p1").is_empty());
    filled.apply(&next);
    assert_eq!(
        (filled.of_pod("u1").len(), filled.of_pod("u2").len()),
        (0, 1)
    );
    assert_eq!(filled.count(), 1);
}

#[test]
fn a_peer_of_another_network_is_not_answered() {
    let mut filled = Filled::new();
    let mut other = peer("a", "u1", "p1");
    other.spec.network_ref.name = "other".to_owned();
    filled.apply(&other);
    assert!(filled.of_pod("u1").is_empty() && filled.of_identity("p1").is_empty());
    assert_eq!(
        (filled.count(), filled.index.count(&network("other"))),
        (0, 1)
    );
    let mut elsewhere = peer("a", "u1", "p1");
    elsewhere.metadata.namespace = Some("bank".to_owned());
    filled.apply(&elsewhere);
    assert!(filled.of_pod("u1").is_empty(), "another namespace's main");
}

#[test]
fn a_status_that_changes_is_no_news_of_members() {
    let mut filled = Filled::new();
    let first = peer("a", "u1", "p1");
    filled.apply(&first);
    let mut version = filled.index.version();
    let mut graded = first.clone();
    graded.status = Some(peerup_crds::PeerStatus {
        grade_reason: Some("another".to_owned()),
        ..Default::default()
    });
    filled.apply(&graded);
    assert_eq!(filled.index.version(), version);
    let mut joined = graded.clone();
    joined.status.as_mut().unwrap().joined_time = Some(crate::clock::time(1));
    let mut revoked = joined.clone();
    revoked.spec.state = PeerState::Revoked;
    let mut other = revoked.clone();
    other.spec.serial = "0000000000000002".to_owned();
    for next in [joined, revoked, other.clone(), going(other)] {
        filled.apply(&next);
        let former = std::mem::replace(&mut version, filled.index.version());
        assert!(version > former, "{next:?}");
    }
    filled.relist(&[]);
    assert!(filled.index.version() > version);
}

#[test]
fn a_new_list_is_the_whole_truth() {
    let mut filled = Filled::new();
    filled.apply(&peer("a", "u1", "p1"));
    filled.apply(&peer("b", "u2", "p2"));
    filled.relist(&[peer("b", "u3", "p2"), peer("c", "u4", "p4")]);
    let found = ["u1", "u2", "u3", "u4"].map(|uid| filled.of_pod(uid).len());
    assert_eq!((found, filled.count()), ([0, 0, 1, 1], 2));
    let mut anew = Index::default();
    anew.put(&peer("c", "u4", "p4"));
    anew.put(&peer("b", "u3", "p2"));
    assert_eq!(filled.index.0.read().unwrap().known, anew.known);
}
