//! Client and server on real sockets.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use peerup_protocol::api::Problem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::server::Limits;
use super::*;
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

    fn store(&self) -> Store {
        Store::open(&self.0, Access::Refuse).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

struct Served {
    peer: Peer,
    task: JoinHandle<()>,
}

fn serve(store: &Store, limits: Limits) -> Served {
    let peer = Peer {
        board: Board::new(Status::starting(Timestamp::UNIX_EPOCH)),
        stop: CancellationToken::new(),
    };
    let mut server = Server::bind(store).unwrap();
    server.limits = limits;
    Served {
        peer: peer.clone(),
        task: tokio::spawn(server.run(peer)),
    }
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
    let store = dir.store();
    let served = serve(&store, Limits::DEFAULT);
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
    let store = dir.store();
    let served = serve(&store, Limits::DEFAULT);
    let client = Client::new(&dir.0);
    client.stop().await.unwrap();
    timeout(DEADLINE, served.peer.stop.cancelled())
        .await
        .unwrap();
    timeout(DEADLINE, served.task).await.unwrap().unwrap();
    assert!(!dir.0.join("run/api.sock").exists());
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::Silent(_)), "{error}");
    drop(store);
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
    let store = dir.store();
    // Dropped without its end: the file stays, and nobody listens.
    drop(Server::bind(&store).unwrap());
    let left = std::fs::metadata(dir.0.join("run/api.sock")).unwrap();
    assert!(left.file_type().is_socket());
    drop(store);
    let client = Client::new(&dir.0);
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning(_)), "{error}");
    let store = dir.store();
    serve(&store, Limits::DEFAULT);
    client.status().await.unwrap();
}

#[tokio::test]
async fn a_socket_directory_that_others_can_enter_is_refused() {
    let dir = Scratch::new();
    let store = dir.store();
    let run = dir.0.join("run");
    std::fs::create_dir(&run).unwrap();
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o711)).unwrap();
    let refused = Server::bind(&store).unwrap_err();
    assert!(
        matches!(&refused, StateError::Permissions { path, found: 0o711, expected: 0o700 } if *path == run),
        "{refused}"
    );
}

#[tokio::test]
async fn unknown_calls_and_long_bodies_are_refused() {
    let dir = Scratch::new();
    let store = dir.store();
    serve(&store, Limits::DEFAULT);
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
    let store = dir.store();
    let limits = Limits {
        calls: 1,
        head: Duration::from_millis(300),
        ..Limits::DEFAULT
    };
    serve(&store, limits);
    let mut silent = raw(&dir).await;
    silent.write_all(b"GET /v1/sta").await.unwrap();
    // Waits for its turn, which comes when the other one is cut off.
    timeout(DEADLINE, Client::new(&dir.0).status())
        .await
        .unwrap()
        .unwrap();
    let told = answer(silent).await;
    assert!(!told.contains("200"), "{told}");
}

#[tokio::test]
async fn bytes_that_are_no_http_end_the_connection_only() {
    let dir = Scratch::new();
    let store = dir.store();
    serve(&store, Limits::DEFAULT);
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
