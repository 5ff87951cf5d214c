//! The dialing side: a local port, and for each connection to it a stream to the first peer of the target that takes
//! it. When none does, the program's connection is reset at once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{AsyncReadExt, io};
use peerup_node::{OpenError, Protocol, Stream};
use peerup_protocol::record::MemberRecord;
use peerup_protocol::service::{Forward, ServiceAnswer};
use peerup_protocol::wire::DecodeError;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};

use super::admit::View;
use super::target::{self, Known};
use super::{Listening, pipe};
use crate::clock::now;
use crate::handle::PeerError;
use crate::reach::{self, ReachError};
use crate::session::Session;
use crate::shared::Shared;
use crate::status::Badge;

/// Peers that one connection tries.
const MAX_TRIES: usize = 4;
/// Longest time until a connection is accepted, all tries together.
const FIND: Duration = Duration::from_secs(30);
/// Pause after the system gave no connection, for instance because it has no more file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a connection to a forwarded port was not carried.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    NotJoined(PeerError),
    #[error("no live member is {0}; see the members in peerup status")]
    NoPeer(String),
    #[error("{0}: {1}")]
    Refused(String, &'static str, ServiceAnswer),
    #[error("{0}: {1}")]
    Reach(String, ReachError),
    #[error("{0}: no answer: {1}")]
    Io(String, io::Error),
    #[error("{0}: the answer is not understood: {1}")]
    Answer(String, DecodeError),
    #[error("no peer accepted in time")]
    TimedOut,
    #[error("too many connections are carried at once")]
    Full,
}

impl Failure {
    fn refused(record: &MemberRecord, answer: ServiceAnswer) -> Self {
        Self::Refused(record.name.to_string(), answer.meaning(), answer)
    }

    /// The result in metrics.
    fn label(&self) -> &'static str {
        match self {
            Self::Refused(_, _, answer) => answer.as_str(),
            Self::NotJoined(_) => "not_joined",
            Self::NoPeer(_) => "no_peer",
            Self::Reach(..) | Self::Io(..) | Self::Answer(..) | Self::TimedOut => "unreachable",
            Self::Full => "too_many",
        }
    }

    /// Whether it tells more than another failure of the same connection.
    fn tells_more(&self, than: Option<&Self>) -> bool {
        match than {
            None => true,
            Some(Self::Refused(..)) => matches!(self, Self::Refused(..)),
            Some(_) => true,
        }
    }
}

/// Takes connections until the forward is stopped or the agent is gone.
pub(super) async fn listen(shared: Weak<Shared>, listener: TcpListener, listening: Listening) {
    let _closed = listening.closed.clone().drop_guard();
    // Dropped before that, whichever way it ends.
    let listener = listener;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = listening.stop.cancelled() => return,
        };
        let Some(shared) = shared.upgrade() else {
            return;
        };
        match accepted {
            Ok((app, _)) => begin(shared, app, listening.clone()),
            Err(error) => {
                tracing::warn!(port = listening.forward.port, %error, "no connection from the system");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn begin(shared: Arc<Shared>, app: TcpStream, listening: Listening) {
    let services = &shared.services;
    let Ok(place) = Arc::clone(&services.outbound).try_acquire_owned() else {
        fail(&shared, &listening, &app, &Failure::Full);
        return;
    };
    let tracker = services.tasks.clone();
    tracker.spawn(async move {
        let _place = place;
        carry(&shared, app, &listening).await;
    });
}

async fn carry(shared: &Shared, app: TcpStream, listening: &Listening) {
    let Listening { forward, stop, .. } = listening;
    let found = tokio::select! {
        found = find(shared, forward) => found,
        () = stop.cancelled() => return pipe::reset(&app),
    };
    let stream = match found {
        Ok(stream) => stream,
        Err(failure) => return fail(shared, listening, &app, &failure),
    };
    let services = &shared.services;
    services.count(&forward.service, ServiceAnswer::Accepted.as_str());
    let (peer, relayed) = (stream.peer(), stream.origin().relayed);
    tracing::debug!(port = forward.port, service = forward.service.as_str(), %peer, relayed, "forwarded");
    let bytes = services.bytes(&forward.service);
    let ended = pipe::carry(app, stream, bytes, services.limits.idle, stop).await;
    if let Err(error) = ended {
        tracing::debug!(port = forward.port, %peer, %error, "forwarded connection broke");
    }
}

fn fail(shared: &Shared, listening: &Listening, app: &TcpStream, failure: &Failure) {
    let Forward {
        port,
        service,
        target,
    } = &listening.forward;
    let result = failure.label();
    tracing::warn!(port, service = service.as_str(), %target, result, error = %failure, "not forwarded");
    shared.services.count(service, result);
    listening.note(failure.to_string());
    pipe::reset(app);
}

/// A stream that its destination has accepted.
async fn find(shared: &Shared, forward: &Forward) -> Result<Stream, Failure> {
    let session = shared.session().map_err(Failure::NotJoined)?;
    let end = Instant::now() + FIND;
    let snapshot = session.node.snapshot().await;
    let connected = snapshot
        .map(|snapshot| snapshot.members)
        .unwrap_or_default();
    let members = session.others();
    let (document, is_fresh) = {
        let membership = session.membership();
        let is_fresh = membership.hears_of_revocations(now());
        (membership.document().cloned(), is_fresh)
    };
    let network = View {
        document: document.as_ref(),
        is_fresh,
    };
    let known = Known {
        members: &members,
        cluster: document.as_ref().map(|document| document.cluster.as_str()),
        connected: &connected,
    };
    let candidates = target::candidates(&forward.target, known, shared.services.turn());
    let mut last = None;
    for record in candidates.iter().take(MAX_TRIES) {
        let verified = session.badge(&record.peer) == Badge::Verified;
        let tried = match network.objection_to(record, verified) {
            None => timeout_at(end, attempt(&session, record, forward))
                .await
                .unwrap_or(Err(Failure::TimedOut)),
            // It holds in both directions: nothing is sent to a peer that might be another, or revoked.
            Some(objection) => Err(Failure::refused(record, objection)),
        };
        match tried {
            Ok(stream) => return Ok(stream),
            Err(failure) if failure.tells_more(last.as_ref()) => last = Some(failure),
            Err(_) => (),
        }
    }
    Err(last.unwrap_or_else(|| Failure::NoPeer(forward.target.to_string())))
}

/// Asks once more when the connection ends before there is an answer: it may just have been replaced by another one,
/// and nothing of the program was sent.
async fn attempt(
    session: &Session,
    record: &MemberRecord,
    forward: &Forward,
) -> Result<Stream, Failure> {
    match ask(session, record, forward).await {
        Err(Failure::Io(..)) => ask(session, record, forward).await,
        asked => asked,
    }
}

async fn ask(
    session: &Session,
    record: &MemberRecord,
    forward: &Forward,
) -> Result<Stream, Failure> {
    let name = || record.name.to_string();
    let protocol = Protocol::Service(forward.service.clone());
    let mut stream = match reach::open(session, record.peer, protocol).await {
        Ok(stream) => stream,
        // A destination offers exactly what it exposes: see `peerup_node::Protocol`.
        Err(ReachError::Open(OpenError::Unsupported)) => {
            return Err(Failure::refused(record, ServiceAnswer::NoSuchService));
        }
        Err(error) => return Err(Failure::Reach(name(), error)),
    };
    let mut answer = [0];
    let read = stream.read_exact(&mut answer).await;
    read.map_err(|error| Failure::Io(name(), error))?;
    match ServiceAnswer::try_from(answer[0]) {
        Ok(ServiceAnswer::Accepted) => Ok(stream),
        Ok(
            refusal @ (ServiceAnswer::NotAllowed
            | ServiceAnswer::NoSuchService
            | ServiceAnswer::Unavailable
            | ServiceAnswer::Busy
            | ServiceAnswer::VerificationRequired
            | ServiceAnswer::StaleRevocations),
        ) => Err(Failure::refused(record, refusal)),
        Err(error) => Err(Failure::Answer(name(), error)),
    }
}
