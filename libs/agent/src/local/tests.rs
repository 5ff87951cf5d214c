//! Client and server on real sockets.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use peerup_protocol::api::Problem;
use peerup_protocol::id::PeerName;
use peerup_protocol::service::Forward;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::server::Limits;
use super::*;
use crate::agent::{Agent, Config, Source};
use crate::fresh_seed;
use crate::metrics::Metrics;
use crate::services::{ServiceLimits, ServiceList};
use crate::state::{Access, StateError, Store};
use crate::status::{Board, Status};

const DEADLINE: Duration = Duration::from_secs(60);

/// A state directory of its own, removed at the end; its path is longer than a socket's may be.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name = format!("peerup-local-{:016x}", rand::random::<u64>());
        Self(std::env::temp_dir().join(name).join("d".repeat(100)))
    }

    fn store(&self) -> Arc<Store> {
        Arc::new(Store::open(&self.0, Access::Refuse).unwrap())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

/// An agent without membership, whose handle does all that needs no other peer, and its local API.
struct Served {
    peer: Peer,
    agent: Agent,
    task: JoinHandle<()>,
}

impl Served {
    /// Ends as the process would: the state directory is free afterwards.
    async fn end(self) {
        self.peer.stop.cancel();
        timeout(DEADLINE, self.task).await.unwrap().unwrap();
        timeout(DEADLINE, self.agent.shutdown()).await.unwrap();
    }
}

fn serve(store: Arc<Store>, limits: Limits) -> Served {
    let board = Board::new(Status::starting(Timestamp::UNIX_EPOCH));
    let agent = Agent::start(Config {
        seed: fresh_seed(),
        stored: None,
        source: Source::Stored,
        listen: Vec::new(),
        patience: DEADLINE,
        board: board.clone(),
        metrics: Metrics::new().unwrap(),
        store: Arc::clone(&store),
        limits: ServiceLimits::default(),
    });
    let peer = Peer {
        board,
        handle: agent.handle(),
        stop: CancellationToken::new(),
    };
    let mut server = Server::bind(store).unwrap();
    server.limits = limits;
    Served {
        task: tokio::spawn(server.run(peer.clone())),
        peer,
        agent,
    }
}

/// A server on a directory of its own.
fn served(dir: &Scratch) -> Served {
    serve(dir.store(), Limits::DEFAULT)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A connection below the client, for callers who misbehave.
async fn raw(dir: &Scratch) -> UnixStream {
    socket::Place::open(&dir.0)
        .unwrap()
        .connect()
        .await
        .unwrap()
}

async fn answer(mut stream: UnixStream) -> String {
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    match timeout(DEADLINE, read).await.expect("an answer in time") {
        Ok(_) => text,
        Err(error) => format!("{text}{error}"),
    }
}

#[tokio::test]
async fn a_status_is_told_and_the_socket_is_its_owners_only() {
    let dir = Scratch::new();
    let served = served(&dir);
    assert_eq!(mode(&dir.0.join("run")), 0o700);
    assert_eq!(mode(&dir.0.join("run/api.sock")), 0o600);
    let client = Client::new(&dir.0);
    assert_eq!(client.status().await.unwrap(), served.peer.board.status());
    served.peer.board.update(|status| status.process_id = 77);
    assert_eq!(client.status().await.unwrap().process_id, 77);
}

#[tokio::test]
async fn stop_is_answered_and_then_nobody_listens() {
    let dir = Scratch::new();
    let served = served(&dir);
    let client = Client::new(&dir.0);
    client.stop().await.unwrap();
    let stopped = served.peer.stop.cancelled();
    timeout(DEADLINE, stopped).await.unwrap();
    timeout(DEADLINE, served.task).await.unwrap().unwrap();
    assert!(!dir.0.join("run/api.sock").exists());
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::Silent(_)), "{error}");
    timeout(DEADLINE, served.agent.shutdown()).await.unwrap();
    drop(served.peer);
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning(_)), "{error}");
}

#[tokio::test]
async fn a_directory_without_a_peer_is_said_to_be_one() {
    let dir = Scratch::new();
    let error = Client::new(&dir.0).status().await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning(_)), "{error}");
}

#[tokio::test]
async fn a_socket_left_by_a_crash_is_in_nobodys_way() {
    let dir = Scratch::new();
    // Dropped without its end: the file stays, and nobody listens.
    drop(Server::bind(dir.store()).unwrap());
    let left = std::fs::metadata(dir.0.join("run/api.sock")).unwrap();
    assert!(left.file_type().is_socket());
    let client = Client::new(&dir.0);
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning(_)), "{error}");
    let _served = served(&dir);
    client.status().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_ends_during_a_call_is_said_not_to_run() {
    let dir = Scratch::new();
    let store = dir.store();
    let listener = socket::Place::make(&store).unwrap().bind().unwrap();
    let hang_up = async {
        let (call, _) = listener.accept().await.unwrap();
        drop(store);
        drop(call);
    };
    let client = Client::new(&dir.0);
    let (status, ()) = tokio::join!(client.status(), hang_up);
    let error = status.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning(_)), "{error}");
}

#[tokio::test]
async fn a_socket_directory_that_others_can_enter_is_refused() {
    let dir = Scratch::new();
    let store = dir.store();
    let run = dir.0.join("run");
    std::fs::create_dir(&run).unwrap();
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o711)).unwrap();
    let refused = Server::bind(store).unwrap_err();
    assert!(
        matches!(&refused, StateError::Permissions { path, found: 0o711, expected: 0o700 } if *path == run),
        "{refused}"
    );
}

#[tokio::test]
async fn unknown_calls_are_refused() {
    let dir = Scratch::new();
    let _served = served(&dir);
    for head in ["GET /v2/status", "DELETE /v1/status", "GET /"] {
        let mut stream = raw(&dir).await;
        let text = format!("{head} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let answer = answer(stream).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(head.contains("application/problem+json"), "{answer}");
        let problem: Problem = serde_json::from_str(body).unwrap();
        assert_eq!(problem.title, "NoSuchCall");
    }
}

#[tokio::test]
async fn who_says_nothing_is_cut_off_and_gives_way_to_others() {
    let dir = Scratch::new();
    let limits = Limits {
        calls: 1,
        head: Duration::from_millis(300),
        ..Limits::DEFAULT
    };
    let _served = serve(dir.store(), limits);
    let mut silent = raw(&dir).await;
    silent.write_all(b"GET /v1/sta").await.unwrap();
    // Waits for its turn, which comes when the other one is cut off; hyper's own patience is 30 s.
    timeout(Duration::from_secs(25), Client::new(&dir.0).status())
        .await
        .unwrap()
        .unwrap();
    let told = answer(silent).await;
    assert!(!told.contains("200"), "{told}");
}

#[tokio::test]
async fn bytes_that_are_no_http_end_the_connection_only() {
    let dir = Scratch::new();
    let _served = served(&dir);
    for junk in [&b"\x00\xff\x16\x03"[..], b"GET\r\n\r\n", &[b'a'; 200_000]] {
        let mut stream = raw(&dir).await;
        let written = stream.write_all(junk).await;
        assert!(written.is_ok() || written.unwrap_err().kind() == ErrorKind::BrokenPipe);
        let _ = stream.shutdown().await;
        let told = answer(stream).await;
        assert!(!told.contains("200 OK"), "{told}");
    }
    Client::new(&dir.0).status().await.unwrap();
}

/// Sends a request as it stands and reads the problem that comes.
async fn problem(dir: &Scratch, method: &str, path: &str, body: &str) -> Problem {
    let mut stream = raw(dir).await;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The answer may come before all of it is read.
    let _ = stream.write_all(body.as_bytes()).await;
    let answer = answer(stream).await;
    let (_, json) = answer.split_once("\r\n\r\n").expect(&answer);
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Method, path, body, and the title of the refusal.
const BAD_BODIES: [(&str, &str, &str, &str); 11] = [
    ("POST", path::PING, "", title::MALFORMED),
    ("POST", path::PING, "{}", title::MALFORMED),
    ("POST", path::PING, "{\"peer\":\"a b\"}", title::MALFORMED),
    (
        "POST",
        path::PING,
        "{\"peer\":\"\\u202ea\"}",
        title::MALFORMED,
    ),
    (
        "POST",
        path::PING,
        "{\"peer\":\"a\",\"x\":1}",
        title::MALFORMED,
    ),
    (
        "POST",
        path::EXPOSED,
        "{\"service\":\"http=0\"}",
        title::MALFORMED,
    ),
    (
        "POST",
        path::FORWARDS,
        "{\"forward\":\"1=a\"}",
        title::MALFORMED,
    ),
    ("DELETE", "/v1/services/exposed/A_B", "", title::MALFORMED),
    (
        "DELETE",
        "/v1/services/forwards/70000",
        "",
        title::MALFORMED,
    ),
    (
        "DELETE",
        "/v1/services/forwards/7",
        "",
        title::NO_SUCH_SERVICE,
    ),
    (
        "POST",
        "/v1/comparisons/0",
        "{\"same\":true}",
        title::NO_SUCH_COMPARISON,
    ),
];

#[tokio::test]
async fn bodies_that_are_not_as_they_should_be_are_refused() {
    let dir = Scratch::new();
    let _served = served(&dir);
    let long = format!("{{\"peer\":\"{}\"}}", "a".repeat(MAX_REQUEST));
    let deep = "[".repeat(10_000);
    let (too_long, too_deep) = (
        ("POST", path::PING, long.as_str(), title::TOO_LARGE),
        ("POST", path::EXPOSED, deep.as_str(), title::MALFORMED),
    );
    for (method, path, body, title) in BAD_BODIES.into_iter().chain([too_long, too_deep]) {
        let problem = problem(&dir, method, path, body).await;
        let shown = &body[..body.len().min(60)];
        assert_eq!(problem.title, title, "{method} {path} {shown}: {problem:?}");
        assert!(problem.detail.is_some(), "{problem:?}");
    }
}

fn refused(result: Result<impl std::fmt::Debug, ClientError>) -> String {
    match result {
        Err(ClientError::Refused(problem)) => problem.title,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_a_membership_other_peers_cannot_be_asked() {
    let dir = Scratch::new();
    let _served = served(&dir);
    let (client, home) = (Client::new(&dir.0), PeerName::parse("home").unwrap());
    assert_eq!(refused(client.ping(&home).await), title::NOT_JOINED);
    assert_eq!(refused(client.trace(&home).await), title::NOT_JOINED);
    assert_eq!(refused(client.measure().await), title::NOT_JOINED);
    assert_eq!(refused(client.compare(&home).await), title::NOT_JOINED);
    assert_eq!(refused(client.digits(&home).await), title::NOT_JOINED);
    assert_eq!(
        refused(client.read_out(&home, "1").await),
        title::NOT_JOINED
    );
}

fn shown(list: &ServiceList) -> (Vec<String>, Vec<String>) {
    let exposed = list.exposed.iter().map(|one| one.service.to_string());
    let forwards = list.forwards.iter().map(|one| one.forward.to_string());
    (exposed.collect(), forwards.collect())
}

/// A port of which nobody else has heard.
async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn wanted_services_come_back_after_a_restart() {
    let dir = Scratch::new();
    let first = served(&dir);
    let client = Client::new(&dir.0);
    let (one, two) = (free_port().await, free_port().await);
    for expose in ["http=80", "ssh=22", "http=8080"] {
        client.expose(expose.parse().unwrap()).await.unwrap();
    }
    for forward in [format!("{one}=http@web"), format!("{two}=ssh@home")] {
        client.forward(forward.parse().unwrap()).await.unwrap();
    }
    client.unexpose(&"ssh".parse().unwrap()).await.unwrap();
    client.unforward(two).await.unwrap();
    let expected = (
        vec!["http=8080".to_owned()],
        vec![format!("{one}=http@web")],
    );
    assert_eq!(shown(&client.services().await.unwrap()), expected);
    first.end().await;
    assert!(TcpStream::connect(("127.0.0.1", one)).await.is_err());

    let second = served(&dir);
    let list = client.services().await.unwrap();
    assert_eq!(shown(&list), expected);
    TcpStream::connect(("127.0.0.1", one)).await.unwrap();
    assert_eq!(second.peer.board.status().services.problems, [""; 0]);
    assert_eq!(
        refused(client.unexpose(&"ssh".parse().unwrap()).await),
        title::NO_SUCH_SERVICE
    );
    assert_eq!(refused(client.unforward(two).await), title::NO_SUCH_SERVICE);
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_and_stays_wanted() {
    let dir = Scratch::new();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let forward: Forward = format!("{port}=http@web").parse().unwrap();
    let client = Client::new(&dir.0);
    let first = served(&dir);
    assert_eq!(
        refused(client.forward(forward.clone()).await),
        title::NOT_POSSIBLE
    );
    drop(taken);
    client.forward(forward.clone()).await.unwrap();
    let other = format!("{port}=ssh@web").parse().unwrap();
    assert_eq!(refused(client.forward(other).await), title::NOT_POSSIBLE);
    first.end().await;

    let taken = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let second = served(&dir);
    assert_eq!(shown(&client.services().await.unwrap()).1, [""; 0]);
    let problems = second.peer.board.status().services.problems;
    assert!(
        problems.len() == 1 && problems[0].starts_with(&format!("{forward}: ")),
        "{problems:?}"
    );
    drop(taken);
    client.forward(forward.clone()).await.unwrap();
    assert_eq!(second.peer.board.status().services.problems, [""; 0]);
    second.end().await;
    // Nobody has to ask again.
    let taken = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let later = served(&dir);
    client.services().await.unwrap();
    drop(taken);
    let mut board = later.peer.board.watch();
    let settled = board.wait_for(|status| status.services.problems.is_empty());
    timeout(DEADLINE, settled).await.unwrap().unwrap();
    let services = client.services().await.unwrap();
    assert_eq!(shown(&services).1, [forward.to_string()]);
    later.end().await;
    // Removed before it could be had.
    let _taken = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let third = served(&dir);
    client.unforward(port).await.unwrap();
    assert_eq!(third.peer.board.status().services.problems, [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_kept_does_not_happen() {
    let dir = Scratch::new();
    let _served = served(&dir);
    let client = Client::new(&dir.0);
    let port = free_port().await;
    client.expose("http=80".parse().unwrap()).await.unwrap();
    let before = client.services().await.unwrap();
    // In the way of the file beside: works as root too, unlike permissions.
    std::fs::create_dir(dir.0.join("services.new")).unwrap();
    for expose in ["http=8080", "ssh=22"] {
        let refused = refused(client.expose(expose.parse().unwrap()).await);
        assert_eq!(refused, title::NOT_KEPT);
    }
    let forward = format!("{port}=http@web").parse().unwrap();
    assert_eq!(refused(client.forward(forward).await), title::NOT_KEPT);
    assert_eq!(
        refused(client.unexpose(&"http".parse().unwrap()).await),
        title::NOT_KEPT
    );
    assert_eq!(client.services().await.unwrap(), before);
}

#[tokio::test]
async fn a_damaged_file_of_services_is_said_before_the_peer_starts() {
    let dir = Scratch::new();
    let store = dir.store();
    store.save_services(&"http=80").unwrap();
    let refused = Server::bind(store).unwrap_err();
    assert!(
        matches!(&refused, StateError::Damaged { path, .. } if path.ends_with("services.json")),
        "{refused}"
    );
}
