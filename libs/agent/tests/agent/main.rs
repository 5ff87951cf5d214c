//! Whole agents on loopback, with real nodes, against a relay whose operator is a table in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod direct;
mod groups;
mod guests;
mod pair;
mod programs;
mod puppet;
mod relay;
mod second;
mod services;
mod verify;
mod wait;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use peerup_agent::membership::{Membership, Stored};
use peerup_agent::status::{Phase, Status};
use peerup_agent::{
    Access, Agent, AgentError, Board, Config, Metrics, ServiceLimits, Source, Store, fresh_seed,
    own_id,
};
use peerup_protocol::PeerId;
use peerup_protocol::code::Code;
use peerup_protocol::frame::RosterAsk;
use peerup_protocol::grade::Path as Way;
use peerup_protocol::id::PeerName;

use pair::Pair;
use relay::{FakeRelay, Network};
use second::within_a_second;
use wait::{DEADLINE, found, in_time, until};

/// A directory of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("peerup-agent-{:016x}", rand::random::<u64>())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Peer {
    agent: Agent,
    board: Board,
    metrics: Metrics,
    id: PeerId,
}

impl Peer {
    fn start(dir: &Path, source: Source) -> Self {
        Self::limited(dir, source, ServiceLimits::default())
    }

    /// Listens nowhere, so that others reach it through the relay only.
    fn limited(dir: &Path, source: Source, limits: ServiceLimits) -> Self {
        Self::listening(dir, source, limits, &[])
    }

    fn listening(dir: &Path, source: Source, limits: ServiceLimits, listen: &[&str]) -> Self {
        Self::patient(dir, source, limits, listen, DEADLINE)
    }

    /// Gives up soon when nobody answers.
    fn hasty(dir: &Path, code: Code, name: &str) -> Self {
        let (limits, patience) = (ServiceLimits::default(), Duration::from_secs(5));
        Self::patient(dir, with_code(code, name), limits, &[], patience)
    }

    fn patient(
        dir: &Path,
        source: Source,
        limits: ServiceLimits,
        listen: &[&str],
        patience: Duration,
    ) -> Self {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let store = Store::open(dir, Access::Refuse).unwrap();
        let seed = store.identity(fresh_seed()).unwrap();
        let id = own_id(&seed);
        let stored = store.membership::<Stored>().unwrap();
        let stored: Option<Membership> =
            stored.map(|stored| stored.restore(id, relay::now()).unwrap());
        let board = Board::new(Status::starting(Timestamp::now()));
        let metrics = Metrics::new().unwrap();
        let agent = Agent::start(Config {
            seed,
            stored,
            source,
            listen: listen.iter().map(|at| at.parse().unwrap()).collect(),
            patience,
            board: board.clone(),
            metrics: metrics.clone(),
            store: Arc::new(store),
            limits,
        });
        Self {
            agent,
            board,
            metrics,
            id,
        }
    }

    fn join(dir: &Path, code: Code, name: &str) -> Self {
        Self::start(dir, with_code(code, name))
    }

    /// Waits until `name` is one of the members that this peer knows.
    async fn knows(&self, name: &str) -> Status {
        self.until(&format!("knows {name}"), |status| {
            status.peers.iter().any(|peer| peer.name == name)
        })
        .await
    }

    async fn until(&self, what: &str, condition: impl FnMut(&Status) -> bool) -> Status {
        let mut watch = self.board.watch();
        let met = tokio::time::timeout(DEADLINE, watch.wait_for(condition)).await;
        match met {
            Ok(status) => status.unwrap().clone(),
            Err(_) => panic!("not in time: {what}; {:#?}", self.board.status()),
        }
    }

    async fn ended(&self) -> AgentError {
        in_time("the agent ends", self.agent.ended()).await
    }
}

fn with_code(code: Code, name: &str) -> Source {
    Source::Code(Box::new(code), PeerName::parse(name).unwrap())
}

fn is_connected(status: &Status) -> bool {
    status.phase == Phase::Joined
        && status
            .relays
            .iter()
            .any(|relay| relay.connected && relay.reserved)
}

fn sees(status: &Status, name: &str, way: Way) -> bool {
    status
        .peers
        .iter()
        .any(|peer| peer.name == name && peer.path == way)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_join_and_meet_through_the_relay() {
    let Pair {
        network: _network,
        _relay,
        dirs: _dirs,
        laptop,
        server,
    } = Pair::start().await;
    in_time("the join", laptop.agent.joined()).await.unwrap();
    laptop
        .until("sees the server", |status| {
            is_connected(status) && sees(status, "server", Way::Relayed)
        })
        .await;
    let status = server
        .until("sees the laptop", |status| {
            is_connected(status) && sees(status, "laptop", Way::Relayed)
        })
        .await;
    assert_eq!(status.path, Way::Relayed);
    assert_eq!(
        (status.direct_connections, status.relayed_connections),
        (0, 1)
    );
    assert_eq!(status.membership.as_ref().unwrap().name, "server");
    assert!(status.join_duration_seconds.unwrap() < 30.0);

    let metrics = laptop.metrics.text(&laptop.board.status()).unwrap();
    for line in [
        "peerup_joined 1",
        "peerup_relay_connected{relay=\"0\"} 1",
        "peerup_relay_reservations 1",
        "peerup_connections{path=\"relayed\"} 1",
        "peerup_connections{path=\"direct\"} 0",
        "peerup_verified 0",
    ] {
        assert!(
            metrics.lines().any(|has| has == line),
            "{line} in\n{metrics}"
        );
    }
    laptop.agent.shutdown().await;
    server
        .until("laptop is gone", |status| sees(status, "laptop", Way::None))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grade_is_reported_through_the_relay() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let dir = Scratch::new();
    let peer = Peer::join(&dir.0, network.code(0), "laptop");
    let reported = |status: &Status| status.last_report_time.is_some() && is_connected(status);
    let status = peer.until("report is accepted", reported).await;
    let sent = network.report_of(&peer.id).unwrap();
    assert_eq!(sent.grade, status.reachability.unwrap().grade);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_cut_off_keeps_no_report() {
    let network = Network::new(3600);
    let _relays = [
        FakeRelay::start(&network).await,
        FakeRelay::other(&network).await,
    ];
    // Whichever is asked first.
    for (slot, cut_off) in (0..).zip(network.relay_ids()) {
        *network.cut_off.lock().unwrap() = Some(cut_off);
        let dir = Scratch::new();
        let peer = Peer::join(&dir.0, network.code(slot), "laptop");
        let both = |status: &Status| status.relays.iter().filter(|relay| relay.connected).count();
        peer.until("both relays", |status| both(status) == 2).await;
        let reported = async || network.report_of(&peer.id).is_some();
        until("the report", reported).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_of_another_peer_fails_once_and_for_all() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let (one, two) = (Scratch::new(), Scratch::new());
    let first = Peer::join(&one.0, network.code(0), "laptop");
    first.until("joined", is_connected).await;
    let second = Peer::join(&two.0, network.code(0), "thief");
    assert_eq!(second.ended().await, AgentError::PairingFailed);
    assert_eq!(second.board.status().phase, Phase::Lapsed);
    assert!(network.record_of(&second.id).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_relay_that_is_said() {
    let network = Network::new(3600);
    let relay = FakeRelay::start(&network).await;
    let code = network.code(0);
    relay.node.shutdown().await;
    let dir = Scratch::new();
    let peer = Peer::hasty(&dir.0, code, "laptop");
    assert_eq!(peer.ended().await, AgentError::NoRelay);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_restarts_gets_its_peers_back() {
    let network = Network::new(3600);
    let relay = FakeRelay::start(&network).await;
    let dir = Scratch::new();
    let peer = Peer::join(&dir.0, network.code(0), "laptop");
    peer.until("joined", is_connected).await;
    relay.node.shutdown().await;
    peer.until("relay is gone", |status| {
        status
            .relays
            .iter()
            .all(|relay| !relay.connected && !relay.reserved)
    })
    .await;
    let _relay = FakeRelay::start(&network).await;
    let status = peer.until("reserved again", is_connected).await;
    assert_eq!(status.problem, None);
    let twice = async || Some(network.asked()).filter(|asked| asked.len() > 1);
    let asked = found("the roster is asked for again", twice).await;
    let [
        RosterAsk::Sync { run: 0, seq: 0 },
        RosterAsk::Sync { run: 1, seq },
    ] = asked[..]
    else {
        panic!("all at first, then what came later: {asked:?}");
    };
    assert!(seq > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_membership_joins_again_without_a_code() {
    let network = Network::new(3600);
    let _relay = FakeRelay::start(&network).await;
    let dir = Scratch::new();
    let peer = Peer::join(&dir.0, network.code(0), "laptop");
    peer.until("joined", is_connected).await;
    let id = peer.id;
    peer.agent.shutdown().await;
    let again = Peer::start(&dir.0, Source::Stored);
    let status = again.until("joined again", is_connected).await;
    assert_eq!(
        (again.id, status.membership.unwrap().name.as_str()),
        (id, "laptop")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_renewed_before_they_end() {
    let network = Network::new(60);
    let _relay = FakeRelay::start(&network).await;
    let dir = Scratch::new();
    let peer = Peer::join(&dir.0, network.code(0), "laptop");
    let first = peer.until("joined", is_connected).await.membership.unwrap();
    let renewed =
        |status: &Status| status.membership.as_ref().unwrap().issued_time > first.issued_time;
    let status = peer.until("renewed", renewed).await;
    assert!(is_connected(&status), "{status:#?}");
    let renewed = status.membership.unwrap();
    assert!(
        renewed.issued_time < first.expiration_time
            && renewed.expiration_time > first.expiration_time
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_record_is_renewed_or_ends() {
    let network = Network::new(4);
    let _relay = FakeRelay::start(&network).await;
    let dir = Scratch::new();
    let peer = Peer::join(&dir.0, network.code(0), "laptop");
    let first = peer.until("joined", is_connected).await.membership.unwrap();
    peer.agent.shutdown().await;
    until("the record's end", async || {
        Timestamp::now() > first.expiration_time
    })
    .await;
    let again = Peer::start(&dir.0, Source::Stored);
    again.until("joined with a new record", is_connected).await;
    network.refuse_renewal();
    assert_eq!(again.ended().await, AgentError::Ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_peer_is_left_alone_and_ends() {
    let pair = Pair::start().await;
    let Pair { laptop, server, .. } = &pair;
    laptop
        .until("sees the server", |status| {
            sees(status, "server", Way::Relayed)
        })
        .await;
    pair.network.revoke(&server.id);
    laptop
        .until("server is gone", |status| {
            status.peers.is_empty() && status.relayed_connections == 0
        })
        .await;
    assert_eq!(server.ended().await, AgentError::Ended);
}
