//! The side that holds the code.

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use peerup_pairing::{
    handshake::{Context, Joiner, M2_LENGTH, M4_LENGTH},
    join::{self as messages, AnswerError, Joined},
};
use peerup_protocol::{
    PeerId, SigningKey, UnixTime,
    code::{Code, Responder},
    id::{PeerName, peer_id},
};

use super::{ANSWER_TIMEOUT, random};
use crate::{
    io::{read_frame, read_frame_within, write_frame},
    node::{DialError, Node, OpenError},
    protocol::Protocol,
};

/// Why pairing did not give a membership.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The relay closed before it answered M1: try again later, or another relay.
    #[error("relay busy")]
    Busy,
    /// Wrong, used, expired or burned code, or the relay cannot reach the operator: it never says which.
    #[error("pairing failed")]
    Failed,
    /// The relay knows the code, its answer is not valid.
    #[error("pairing failed: {0}")]
    Answer(#[from] AnswerError),
    /// The relay could not be reached.
    #[error("cannot reach the relay: {0}")]
    Dial(#[from] DialError),
    /// The relay does not offer pairing in the code's network.
    #[error("cannot pair at the relay: {0}")]
    Open(#[from] OpenError),
    /// The code names no responder.
    #[error("the code names no relay")]
    NoResponder,
    /// The system gave no random bytes.
    #[error("the operating system gives no randomness")]
    Random,
}

/// A membership, and which relay answered.
#[derive(Debug, Clone)]
pub struct Paired {
    /// The membership.
    pub joined: Joined,
    /// The relay.
    pub responder: PeerId,
}

/// Redeems a code at its responders, one after the other while they are busy or out of reach. An
/// attempt that got as far as M2 is the last. `now` is asked when the record is checked.
///
/// # Errors
/// The last responder's.
pub async fn pair(
    node: &Node,
    code: &Code,
    identity: &SigningKey,
    name: &PeerName,
    now: impl Fn() -> UnixTime,
) -> Result<Paired, PairError> {
    let mut last = PairError::NoResponder;
    for responder in &code.responders {
        match pair_at(node, responder, code, identity, name, &now).await {
            Err(again @ (PairError::Busy | PairError::Dial(_) | PairError::Open(_))) => {
                last = again
            }
            done => return done,
        }
    }
    Err(last)
}

async fn pair_at(
    node: &Node,
    responder: &Responder,
    code: &Code,
    identity: &SigningKey,
    name: &PeerName,
    now: impl Fn() -> UnixTime,
) -> Result<Paired, PairError> {
    let connection = node
        .dial(responder.peer, responder.addresses.clone())
        .await?;
    let joined = async {
        let mut stream = node.open_on(connection, Protocol::Pair).await?;
        join(&mut stream, responder.peer, code, identity, name, now).await
    }
    .await;
    node.close_connection(connection).await;
    Ok(Paired {
        joined: joined?,
        responder: responder.peer,
    })
}

/// The joiner's side on an open stream to `responder`.
///
/// # Errors
/// [`PairError::Busy`] before M2; after it [`PairError::Failed`], whatever the reason.
pub async fn join<S>(
    stream: &mut S,
    responder: PeerId,
    code: &Code,
    identity: &SigningKey,
    name: &PeerName,
    now: impl Fn() -> UnixTime,
) -> Result<Joined, PairError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let own = peer_id(&identity.verifying_key());
    let (salt, request) = (
        messages::salt(code),
        messages::request(code, identity, name),
    );
    let ask = Ask {
        context: messages::context(code, responder, own),
        salt: salt.expose(),
        request: &request.encode(),
    };
    let check = |response: &[u8]| messages::check_response(&code.net, &own, name, response, now());
    Ok(shake(stream, ask, check).await?)
}

/// What a joiner of any kind brings.
pub(super) struct Ask<'a> {
    pub(super) context: Context,
    pub(super) salt: &'a [u8],
    pub(super) request: &'a [u8],
}

/// Why a handshake gave nothing.
pub(super) enum Stop<E> {
    Random,
    /// Before M2.
    Busy,
    /// After it, whatever the reason.
    Failed,
    /// The responder knows the code, its answer is not valid.
    Answer(E),
}

impl From<Stop<AnswerError>> for PairError {
    fn from(stop: Stop<AnswerError>) -> Self {
        match stop {
            Stop::Random => Self::Random,
            Stop::Busy => Self::Busy,
            Stop::Failed => Self::Failed,
            Stop::Answer(error) => Self::Answer(error),
        }
    }
}

/// M1 to M5, for any kind of code; `check` reads the plain response.
pub(super) async fn shake<S, T, E>(
    stream: &mut S,
    ask: Ask<'_>,
    check: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Result<T, Stop<E>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let seed = random().map_err(|_| Stop::Random)?;
    let (joiner, m1) = Joiner::start(ask.context, &seed);
    write_frame(stream, &m1).await.map_err(|_| Stop::Busy)?;
    let m2 = read_frame(stream, M2_LENGTH).await;
    let m2 = m2.map_err(|_| Stop::Busy)?;
    let asked = joiner.on_m2(&m2, ask.salt, ask.request);
    let (waiting, m3) = asked.map_err(|_| Stop::Failed)?;
    write_frame(stream, &m3).await.map_err(|_| Stop::Failed)?;
    let m4 = read_frame_within(stream, M4_LENGTH, ANSWER_TIMEOUT).await;
    let m4 = m4.map_err(|_| Stop::Failed)?;
    let (outcome, m5) = waiting.on_m4(&m4).map_err(|_| Stop::Failed)?;
    let given = check(&outcome.response).map_err(Stop::Answer)?;
    // What was given is durable already: that the responder may hang up early is all that M5 tells it.
    if write_frame(stream, &m5).await.is_ok() {
        let _ = stream.close().await;
    }
    Ok(given)
}
