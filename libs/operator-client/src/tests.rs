//! The client against a real TLS server on loopback.

mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use peerup_protocol::api::{FailureRequest, RELAY_SIGNATURE_HEADER, RefusalReason, RelaySignature};
use peerup_protocol::id::{GroupId, Slot};
use peerup_protocol::{SigningKey, id, message};
use tokio::time::Instant;

use crate::{CallError, Config, LocalError, OperatorClient, RelayClient};
use server::{Answer, Authority, Server};

const TOKEN: &str = "header.claims.signature";

/// A directory of one test, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("peerup-client-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("token"), format!("{TOKEN}\n")).unwrap();
        Self(path)
    }

    fn token(&self) -> PathBuf {
        self.0.join("token")
    }

    fn ca(&self) -> PathBuf {
        self.0.join("ca.crt")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn client(server: &Server, directory: &Directory, ca_pem: Option<&str>) -> OperatorClient {
    OperatorClient::new(Config {
        url: format!("{}/", server.url),
        ca_file: Some(directory.ca()),
        ca_pem: ca_pem.map(str::to_owned),
        token_file: directory.token(),
        connect_timeout: Config::CONNECT,
        attempt_timeout: Config::ATTEMPT,
    })
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn failure() -> FailureRequest {
    FailureRequest {
        group: GroupId([1; 8]),
        slot: Slot(2),
        peer_id: id::peer_id(&key().verifying_key()),
        reason: RefusalReason::BadMac,
    }
}

fn say(status: u16, text: &str) -> Answer {
    Answer::Say(status, None, text.to_owned())
}

fn problem(status: u16, detail: &str) -> String {
    format!(r#"{{"type":"about:blank","title":"no","status":{status},"detail":"{detail}"}}"#)
}

async fn fail_with(
    authority: &Authority,
    directory: &Directory,
    answers: Vec<Answer>,
) -> CallError {
    let server = Server::start(authority, answers).await;
    let relay = RelayClient::new(client(&server, directory, Some(&authority.pem)), key());
    relay.failure(&failure(), soon()).await.unwrap_err()
}

#[tokio::test]
async fn attest_signs_the_token_that_it_sends() {
    let (authority, directory) = (Authority::new(), Directory::new("attest"));
    let server = Server::start(&authority, vec![say(401, &problem(401, "no such pod"))]).await;
    let client = client(&server, &directory, Some(&authority.pem));
    let error = client.attest(&key(), soon()).await.unwrap_err();
    assert!(matches!(error, CallError::Unauthorized { detail } if detail == "no such pod"));

    let seen = &server.seen()[0];
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.path_and_query, "/v1/attest");
    assert_eq!(seen.headers["authorization"], format!("Bearer {TOKEN}"));
    let body: peerup_protocol::api::AttestRequest = serde_json::from_slice(&seen.body).unwrap();
    let peer = id::peer_id(&key().verifying_key());
    assert_eq!(body.peer_id, peer);
    let message = message::attest(TOKEN.as_bytes(), &peer);
    message::verify(&key().verifying_key(), &message, &body.signature).unwrap();
}

#[tokio::test]
async fn a_relay_call_is_signed_over_method_path_time_token_and_body() {
    let (authority, directory) = (Authority::new(), Directory::new("signed"));
    let server = Server::start(&authority, vec![say(200, "{}"), say(404, "")]).await;
    let relay = RelayClient::new(client(&server, &directory, Some(&authority.pem)), key());
    relay.failure(&failure(), soon()).await.unwrap();
    let error = relay.roster(5, 6, soon()).await.unwrap_err();
    assert!(matches!(error, CallError::NotFound { .. }));

    let seen = server.seen();
    assert_eq!(seen[1].path_and_query, "/v1/relay/roster?run=5&seq=6");
    assert_eq!(seen[1].body, b"");
    for request in seen {
        let header = request.headers[RELAY_SIGNATURE_HEADER].to_str().unwrap();
        let signed: RelaySignature = header.parse().unwrap();
        let message = message::relay_call(
            request.method.as_str(),
            &request.path_and_query,
            signed.time,
            TOKEN.as_bytes(),
            &request.body,
        );
        message::verify(&key().verifying_key(), &message, &signed.signature).unwrap();
    }
}

#[tokio::test]
async fn unavailable_is_tried_again_within_the_deadline() {
    let (authority, directory) = (Authority::new(), Directory::new("again"));
    let later = Answer::Say(503, Some(0), problem(503, "no leader"));
    let server = Server::start(&authority, vec![later.clone(), later, say(200, "{}")]).await;
    let relay = RelayClient::new(client(&server, &directory, Some(&authority.pem)), key());
    relay.failure(&failure(), soon()).await.unwrap();
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn no_attempt_is_made_that_the_deadline_does_not_allow() {
    let (authority, directory) = (Authority::new(), Directory::new("deadline"));
    let later = Answer::Say(503, Some(25), problem(503, "no leader"));
    let error = fail_with(&authority, &directory, vec![later]).await;
    let CallError::Unavailable {
        retry_after,
        detail,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(
        (retry_after, &*detail),
        (Some(Duration::from_secs(25)), "no leader")
    );
}

#[tokio::test]
async fn each_status_is_its_own_error() {
    let (authority, directory) = (Authority::new(), Directory::new("status"));
    let error = fail_with(
        &authority,
        &directory,
        vec![say(403, &problem(403, "not a relay"))],
    )
    .await;
    assert!(matches!(error, CallError::Unauthorized { detail } if detail == "not a relay"));
    let error = fail_with(&authority, &directory, vec![say(422, "gibberish")]).await;
    assert!(matches!(error, CallError::Refused { status: 422, .. }));
    let error = fail_with(&authority, &directory, vec![say(307, "")]).await;
    assert!(matches!(error, CallError::Protocol(_)));
    let error = fail_with(&authority, &directory, vec![say(200, "7")]).await;
    assert!(matches!(error, CallError::Protocol(_)));
    let error = fail_with(&authority, &directory, vec![say(200, &" ".repeat(300_000))]).await;
    assert!(matches!(error, CallError::Protocol(text) if text == "more than 262144 bytes"));
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let (authority, directory) = (Authority::new(), Directory::new("silence"));
    let server = Server::start(&authority, vec![Answer::Hang]).await;
    let relay = RelayClient::new(client(&server, &directory, Some(&authority.pem)), key());
    let deadline = Instant::now() + Duration::from_millis(300);
    let error = relay.failure(&failure(), deadline).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout), "{error}");
}

#[tokio::test]
async fn only_the_bundle_is_trusted_and_a_changed_file_is_read_again() {
    let (authority, other) = (Authority::new(), Authority::new());
    let directory = Directory::new("trust");
    let server = Server::start(&authority, vec![say(200, "{}"), say(200, "{}")]).await;
    let relay = RelayClient::new(client(&server, &directory, None), key());
    let short = || Instant::now() + Duration::from_secs(3);

    let error = relay.failure(&failure(), soon()).await.unwrap_err();
    assert!(
        matches!(error, CallError::Local(LocalError::Trust(_))),
        "{error}"
    );
    write(&directory.ca(), &other.pem);
    let error = relay.failure(&failure(), short()).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(server.seen().is_empty());

    write(&directory.ca(), &format!("{}{}", other.pem, authority.pem));
    relay.failure(&failure(), soon()).await.unwrap();
    write(&directory.ca(), &other.pem);
    relay.failure(&failure(), short()).await.unwrap_err();
    assert_eq!(
        server.seen().len(),
        1,
        "a kept connection must not outlive its trust"
    );
}

#[tokio::test]
async fn nothing_older_than_tls_1_3_is_spoken() {
    let (authority, directory) = (Authority::new(), Directory::new("tls12"));
    let versions = &[&rustls::version::TLS12];
    let server = Server::with_versions(&authority, vec![say(200, "{}")], versions).await;
    let relay = RelayClient::new(client(&server, &directory, Some(&authority.pem)), key());
    let deadline = Instant::now() + Duration::from_millis(200);
    relay.failure(&failure(), deadline).await.unwrap_err();
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_missing_token_is_said_with_its_path() {
    let (authority, directory) = (Authority::new(), Directory::new("token"));
    let server = Server::start(&authority, vec![]).await;
    std::fs::remove_file(directory.token()).unwrap();
    let client = client(&server, &directory, Some(&authority.pem));
    let error = client.attest(&key(), soon()).await.unwrap_err();
    assert!(error.to_string().contains("token"), "{error}");
    assert!(error.is_temporary());
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
