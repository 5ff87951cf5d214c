//! Members that find each other, whatever the relay does meanwhile.

use std::sync::PoisonError;

use peerup_protocol::frame::{RosterAnswer, RosterPage};

use super::*;

const NAMES: [&str; 4] = ["ann", "ben", "cas", "dot"];

/// Waits until `peer`, which is called `name`, is connected with all the others.
async fn meets_all(peer: &Peer, name: &str) {
    for other in NAMES.into_iter().filter(|other| *other != name) {
        let met = |status: &Status| is_connected(status) && sees(status, other, Way::Relayed);
        peer.until(&format!("{name} meets {other}"), met).await;
    }
}

/// One member is away while two join and the relay restarts; in the end each has accepted each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_away_and_whoever_joined_meanwhile_accept_each_other() {
    let network = Network::new(3600);
    let relay = FakeRelay::start(&network).await;
    let dirs = NAMES.map(|_| Scratch::new());
    let join = |at: usize| {
        let code = network.code(u16::try_from(at).unwrap());
        Peer::join(&dirs[at].0, code, NAMES[at])
    };
    let (away, ben) = (join(0), join(1));
    away.knows("ben").await;
    away.agent.shutdown().await;
    let cas = join(2);
    cas.until("joined", is_connected).await;
    relay.node.shutdown().await;
    let _relay = FakeRelay::start(&network).await;
    let dot = join(3);
    dot.until("joined", is_connected).await;
    let ann = Peer::start(&dirs[0].0, Source::Stored);
    for (peer, name) in [&ann, &ben, &cas, &dot].into_iter().zip(NAMES) {
        meets_all(peer, name).await;
    }
}

/// Bytes as they are on a stream: a length and what follows.
fn framed(length: u16, rest: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes(), rest].concat()
}

/// Frames that are empty, huge, cut, of no kind, and a page that lies.
fn nonsense() -> Vec<Vec<u8>> {
    let page = RosterPage {
        run: 9,
        seq: 1,
        full: false,
        last: true,
        records: Vec::new(),
        gone: Vec::new(),
    };
    let page = RosterAnswer::Page(page).encode();
    let cut = &page[..page.len() - 1];
    vec![
        framed(0, b""),
        framed(u16::MAX, &[1; 40]),
        framed(cut.len() as u16, cut),
        framed(4, b"\xffabc"),
        framed(page.len() as u16, &page),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_talks_nonsense_is_asked_again_and_nothing_is_lost() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let (one, two) = (Scratch::new(), Scratch::new());
    let server = Peer::join(&one.0, network.code(0), "server");
    server.until("joined", is_connected).await;
    let left = || {
        let nonsense = network.nonsense.lock();
        nonsense.unwrap_or_else(PoisonError::into_inner).len()
    };
    *network.nonsense.lock().unwrap() = nonsense();
    let laptop = Peer::join(&two.0, network.code(1), "laptop");
    laptop
        .until("sees the server", |status| {
            is_connected(status) && sees(status, "server", Way::Relayed)
        })
        .await;
    assert_eq!(left(), 0);
    assert_eq!(laptop.board.status().phase, Phase::Joined);
}

/// As after a laptop was closed: nobody could tell it before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_revoked_while_it_is_away_ends_when_it_comes_back() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let dir = Scratch::new();
    let laptop = Peer::join(&dir.0, network.code(0), "laptop");
    laptop.until("joined", is_connected).await;
    laptop.agent.shutdown().await;
    network.revoke(&laptop.id);
    let laptop = Peer::start(&dir.0, Source::Stored);
    assert_eq!(laptop.ended().await, AgentError::Ended);
}

/// By each of them, not by the relay alone: the revoked one does not hear of it, and would stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_member_is_let_go_by_the_others_within_a_second() {
    let pair = Pair::start().await;
    let Pair {
        network,
        laptop,
        server,
        ..
    } = &pair;
    laptop
        .until("sees the server", |status| {
            sees(status, "server", Way::Relayed)
        })
        .await;
    *network.deaf.lock().unwrap() = Some(server.id);
    network.revoke(&server.id);
    let gone = laptop.until("server is gone", |status| {
        status.peers.is_empty() && status.relayed_connections == 0
    });
    within_a_second(gone).await.unwrap();
}
