//! The caller's side of the local API.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use peerup_protocol::api::Problem;
use peerup_protocol::id::{GroupId, PeerName, ServiceName};
use peerup_protocol::service::{Expose, Forward};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::caller::may_call;
use super::invites::{Invite, Inviting};
use super::socket::Place;
use super::tunnel::Tunnel;
use super::wire::{
    Compared, Comparison, Decided, Decision, Digits, Forwarding, Hop, Named, Offering, Outcome,
    Pong, ReadOut,
};
use super::{MAX_ANSWER, path};
use crate::netcheck::Netcheck;
use crate::services::ServiceList;
use crate::state::{StateError, is_running};
use crate::status::Status;

/// Longest time for one call; longer than what the other side takes at most.
const CALL: Duration = Duration::from_secs(370);

/// Why a call got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No process holds the state directory.
    #[error("no peer runs on {}", .0.display())]
    NotRunning(PathBuf),
    /// A process holds the state directory, and its socket is not there (yet).
    #[error("a process holds {} and does not answer; it may be starting or ending", .0.display())]
    Silent(PathBuf),
    /// Somebody else's process listens there; it was asked nothing.
    #[error("expected a peer of this user on {}, found a process of user {uid}", .path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// Whose process it is.
        uid: u32,
    },
    /// The state directory can't be looked at.
    #[error(transparent)]
    State(#[from] StateError),
    /// The connection failed.
    #[error("speak with the peer on {}: {source}", .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The peer refused; the title is one word, the detail a sentence.
    #[error("{}", .0.detail.as_deref().unwrap_or(&.0.title))]
    Refused(Problem),
    /// The command that leads to the peer failed.
    #[error("{command}: {why}")]
    Tunnel {
        /// The command.
        command: String,
        /// What it said.
        why: String,
    },
    /// The answer is none of ours.
    #[error(
        "the running peer gave an unexpected answer ({0}); is it of another version? `peerup stop`, then `peerup start`"
    )]
    Unexpected(String),
}

/// Speaks with a running peer.
#[derive(Debug, Clone)]
pub struct Client(Way);

/// Where the peer is.
#[derive(Debug, Clone)]
enum Way {
    /// On this machine, with this state directory.
    Here(PathBuf),
    /// At the other end of a command, which is started for each call.
    Through(Vec<String>),
}

impl Client {
    /// The peer that runs on a state directory. Nothing is sent yet.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self(Way::Here(state.to_owned()))
    }

    /// The peer whose socket is standard input and output of this command, program and arguments. Nothing is started
    /// yet.
    #[must_use]
    pub fn through(command: Vec<String>) -> Self {
        Self(Way::Through(command))
    }

    /// The peer's status.
    ///
    /// # Errors
    /// When no peer of this user runs there, as for all calls.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.call(Method::GET, path::STATUS, &()).await
    }

    /// Asks the peer to end; it has not ended yet when this returns.
    ///
    /// # Errors
    /// When it can't be asked.
    pub async fn stop(&self) -> Result<(), ClientError> {
        self.call(Method::POST, path::STOP, &()).await
    }

    /// Has the peer measure anew how it can be reached, in full.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it has no membership, or can't measure.
    pub async fn measure(&self) -> Result<Netcheck, ClientError> {
        self.call(Method::POST, path::MEASURE, &()).await
    }

    /// Measures the time to another peer and back, once.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such peer, or no answer of it.
    pub async fn ping(&self, peer: &PeerName) -> Result<Pong, ClientError> {
        self.call(Method::POST, path::PING, &named(peer)).await
    }

    /// What lies on the way to another peer; at most a relay and the peer.
    ///
    /// # Errors
    /// As [`Client::ping`].
    pub async fn trace(&self, peer: &PeerName) -> Result<Vec<Hop>, ClientError> {
        self.call(Method::POST, path::TRACE, &named(peer)).await
    }

    /// Something that the people at both peers can compare.
    ///
    /// # Errors
    /// As [`Client::ping`].
    pub async fn compare(&self, peer: &PeerName) -> Result<Comparison, ClientError> {
        self.call(Method::POST, path::COMPARISONS, &named(peer))
            .await
    }

    /// Says whether both sides show the same, and waits for what the other person says.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the comparison is over, or its outcome can't be stored.
    pub async fn decide(
        &self,
        comparison: &Comparison,
        same: bool,
    ) -> Result<Outcome, ClientError> {
        let path = format!("{}/{}", path::COMPARISONS, comparison.id);
        let decided: Decided = self.call(Method::POST, &path, &Decision { same }).await?;
        Ok(decided.outcome)
    }

    /// Sixty digits, the same at both peers, for people who are not online together.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such peer.
    pub async fn digits(&self, peer: &PeerName) -> Result<String, ClientError> {
        let told: Digits = self.call(Method::POST, path::DIGITS, &named(peer)).await?;
        Ok(told.digits)
    }

    /// Whether the digits that the other person has read out are [`Client::digits`]; then the peer is verified.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such peer, or the outcome can't be stored.
    pub async fn read_out(&self, peer: &PeerName, digits: &str) -> Result<bool, ClientError> {
        let said = ReadOut {
            peer: peer.clone(),
            digits: digits.to_owned(),
        };
        let compared: Compared = self.call(Method::PUT, path::DIGITS, &said).await?;
        Ok(compared.same)
    }

    /// Opens an invite for so many seconds; its code is in the answer, and nowhere else.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the peer or its network has no guests, too many are open, or no relay takes it.
    pub async fn invite(&self, ttl_seconds: u64) -> Result<Invite, ClientError> {
        let wish = Inviting { ttl_seconds };
        self.call(Method::POST, path::INVITES, &wish).await
    }

    /// How it stands with an invite.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no membership.
    pub async fn invited(&self, id: &GroupId) -> Result<Invite, ClientError> {
        let path = format!("{}/{id}", path::INVITES);
        self.call(Method::GET, &path, &()).await
    }

    /// Closes an invite that waits.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it does not wait any more.
    pub async fn withdraw(&self, id: &GroupId) -> Result<(), ClientError> {
        let path = format!("{}/{id}", path::INVITES);
        self.call(Method::DELETE, &path, &()).await
    }

    /// Sends a guest away for good.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such guest, or it can't be stored.
    pub async fn send_away(&self, guest: &PeerName) -> Result<(), ClientError> {
        let path = format!("{}/{guest}", path::GUESTS);
        self.call(Method::DELETE, &path, &()).await
    }

    /// What is exposed and forwarded.
    ///
    /// # Errors
    /// When it can't be asked.
    pub async fn services(&self) -> Result<ServiceList, ClientError> {
        self.call(Method::GET, path::SERVICES, &()).await
    }

    /// Offers a service, in place of a former one of the same name, also after the next start.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there are too many, or it can't be stored.
    pub async fn expose(&self, service: Expose) -> Result<(), ClientError> {
        let offering = Offering { service };
        self.call(Method::POST, path::EXPOSED, &offering).await
    }

    /// Offers a service no longer.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it is not offered.
    pub async fn unexpose(&self, service: &ServiceName) -> Result<(), ClientError> {
        let path = format!("{}/{service}", path::EXPOSED);
        self.call(Method::DELETE, &path, &()).await
    }

    /// Forwards a local port, also after the next start.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the port is taken, there are too many, or it can't be stored.
    pub async fn forward(&self, forward: Forward) -> Result<(), ClientError> {
        let forwarding = Forwarding { forward };
        self.call(Method::POST, path::FORWARDS, &forwarding).await
    }

    /// Forwards a local port no longer.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it is not forwarded.
    pub async fn unforward(&self, port: u16) -> Result<(), ClientError> {
        let path = format!("{}/{port}", path::FORWARDS);
        self.call(Method::DELETE, &path, &()).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let (status, text) = match &self.0 {
            Way::Here(state) => here(state, method, path, body).await?,
            Way::Through(command) => through(command, method, path, body).await?,
        };
        read(status, &text)
    }
}

async fn here(
    state: &Path,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> Result<(StatusCode, Vec<u8>), ClientError> {
    let (stream, shown) = connect(state).await?;
    exchange(stream, method, path, body)
        .await
        .map_err(|error| broken(state, &shown, error))
}

async fn through(
    command: &[String],
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> Result<(StatusCode, Vec<u8>), ClientError> {
    let failed = |why| ClientError::Tunnel {
        command: command.join(" "),
        why,
    };
    let (tunnel, stream) = Tunnel::open(command).map_err(|error| failed(error.to_string()))?;
    match exchange(stream, method, path, body).await {
        Ok(answer) => Ok(answer),
        Err(error) => Err(failed(tunnel.why(&error).await)),
    }
}

/// The socket of the peer that runs on a state directory, and its path as people know it.
pub(super) async fn connect(state: &Path) -> Result<(UnixStream, PathBuf), ClientError> {
    let place = match Place::open(state) {
        Ok(place) => place,
        Err(error) => return Err(absent(state, state, error)),
    };
    let stream = match place.connect().await {
        Ok(stream) => stream,
        Err(error) => return Err(absent(state, place.shown(), error)),
    };
    refuse_foreign(&stream, place.shown())?;
    Ok((stream, place.shown().to_owned()))
}

/// What a connection that broke means: maybe the peer has just ended.
fn broken(state: &Path, path: &Path, source: io::Error) -> ClientError {
    match is_running(state) {
        Ok(false) => ClientError::NotRunning(state.to_owned()),
        Ok(true) | Err(_) => ClientError::Io {
            path: path.to_owned(),
            source,
        },
    }
}

/// What a missing socket, or one on which nobody listens, means.
fn absent(state: &Path, path: &Path, error: io::Error) -> ClientError {
    let absent = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    if !absent.contains(&error.kind()) {
        return ClientError::Io {
            path: path.to_owned(),
            source: error,
        };
    }
    match is_running(state) {
        Ok(true) => ClientError::Silent(state.to_owned()),
        Ok(false) => ClientError::NotRunning(state.to_owned()),
        Err(error) => error.into(),
    }
}

fn named(peer: &PeerName) -> Named {
    Named { peer: peer.clone() }
}

/// A socket may be anybody's when a state directory is.
fn refuse_foreign(stream: &UnixStream, path: &Path) -> Result<(), ClientError> {
    let own = rustix::process::geteuid().as_raw();
    let peer = stream.peer_cred().map_err(|source| ClientError::Io {
        path: path.to_owned(),
        source,
    })?;
    // Root may look after the peers of others.
    if may_call(own, peer.uid()) || own == 0 {
        return Ok(());
    }
    Err(ClientError::Foreign {
        path: path.to_owned(),
        uid: peer.uid(),
    })
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> io::Result<(StatusCode, Vec<u8>)> {
    timeout(CALL, exchanged(stream, method, path, body))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn exchanged(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> io::Result<(StatusCode, Vec<u8>)> {
    let body = serde_json::to_vec(body)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "peerup")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .map_err(io::Error::other)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let answer = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let status = answer.status();
        let text = to_bytes(Body::new(answer.into_body()), MAX_ANSWER)
            .await
            .map_err(io::Error::other)?;
        Ok((status, text.to_vec()))
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // It ends after the answer has come, or says why none comes.
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(io::Error::other(error)),
        },
    }
}

fn read<T: DeserializeOwned>(status: StatusCode, text: &[u8]) -> Result<T, ClientError> {
    let unexpected = |reason: String| ClientError::Unexpected(format!("{status}: {reason}"));
    if status == StatusCode::NO_CONTENT {
        return serde_json::from_slice(b"null").map_err(|error| unexpected(error.to_string()));
    }
    if status.is_success() {
        return serde_json::from_slice(text).map_err(|error| unexpected(error.to_string()));
    }
    match serde_json::from_slice::<Problem>(text) {
        Ok(problem) => Err(ClientError::Refused(problem)),
        Err(error) => Err(unexpected(error.to_string())),
    }
}
