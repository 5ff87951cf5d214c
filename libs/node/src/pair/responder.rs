//! The relay's side. It answers M1 whatever the code; after that it says
//! something only to a joiner that the operator has accepted.

use std::future::Future;

use futures::{AsyncRead, AsyncWrite, future::Either};
use peerup_pairing::handshake::{
    Failure, M1, M1_LENGTH, M3_LENGTH, M5_LENGTH, Responder, ResponderAnswering, ResponderDone,
};
use peerup_protocol::{
    PeerId,
    api::{FailureRequest, IssuedRecord, LookupRequest, RedeemRequest, RefusalReason},
    code::HandshakeKind,
    frame::{JoinRequest, JoinResponse},
    id::{DhtNamespace, NetworkId, Slot},
    record::Signed,
    secret::Secret,
};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{SILENCE_END, SILENCE_STEP, random};
use crate::{
    io::{read_frame, write_frame},
    probation::{Pool, Refused},
};

/// Whom the responder asks: the operator, behind the relay's own limits.
///
/// The calls are dropped at [`SILENCE_END`] after M1. What must not be lost then,
/// such as a group that stays closed until its failure is written, the
/// implementation keeps elsewhere.
pub trait Desk: Send + Sync {
    /// The handshake's salt.
    fn lookup(&self, request: LookupRequest) -> impl Future<Output = Lookup> + Send;

    /// Asks to accept a joiner whose MAC was right; durable when answered. A refusal has been
    /// counted where it counts.
    fn redeem(
        &self,
        request: RedeemRequest,
    ) -> impl Future<Output = Result<IssuedRecord, RefusalReason>> + Send;

    /// Has a failure counted; durable when it returns.
    fn failure(&self, request: FailureRequest) -> impl Future<Output = ()> + Send;
}

/// What is known of a group and slot; the salt has `N` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<const N: usize = 32> {
    /// It may be redeemed.
    Known {
        /// The handshake's salt.
        salt: Secret<N>,
        /// Whether the code was attested for this very joiner.
        attested: bool,
    },
    /// It may not, or nobody can say; the joiner must not learn which.
    Unknown(RefusalReason),
}

/// How an attempt ended; for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A new member, or one that came again.
    Joined(Box<IssuedRecord>),
    /// No room: closed before M2.
    Busy,
    /// Silence.
    Failed(RefusalReason),
}

/// The network and the two ends of the stream.
#[derive(Debug, Clone)]
pub struct Ends {
    /// The network.
    pub net: NetworkId,
    /// Its name on the wire.
    pub namespace: DhtNamespace,
    /// This relay.
    pub responder: PeerId,
    /// Who wants to join, as the connection proves.
    pub joiner: PeerId,
}

/// What a kind of code needs beside the handshake.
pub(super) trait Kind<const N: usize>: Sync {
    /// What a joiner that is accepted gets, as the caller is told of it.
    type Given: Send;

    /// The handshake's salt.
    fn lookup(&self, m1: &M1) -> impl Future<Output = Lookup<N>> + Send;

    /// Decides about a plain request whose MAC was right: the plain response. Durable, or counted, when it returns.
    fn redeem(
        &self,
        m1: &M1,
        request: &[u8],
    ) -> impl Future<Output = Result<(Vec<u8>, Self::Given), RefusalReason>> + Send;

    /// Counts a failure that comes before a request; durable when it returns.
    fn failure(&self, m1: &M1, reason: RefusalReason) -> impl Future<Output = ()> + Send;
}

/// How an attempt of any kind ended.
pub(super) enum Ended<T> {
    Given(T),
    Busy,
    Failed(RefusalReason),
}

/// The responder's side. `enter` moves the joiner's connection into a pool, `admit` comes between
/// redemption and answer. The caller then drops the stream, and closes the connection unless the
/// joiner has joined.
pub async fn respond<S, E, A>(
    stream: &mut S,
    ends: &Ends,
    desk: &impl Desk,
    enter: impl Fn(Pool) -> E,
    admit: impl FnOnce() -> A,
) -> Verdict
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: Future<Output = Result<(), Refused>>,
    A: Future<Output = ()>,
{
    let joiner = ends.joiner;
    match attend(stream, ends, &AtDesk { desk, joiner }, enter, admit).await {
        Ended::Given(issued) => Verdict::Joined(Box::new(issued)),
        Ended::Busy => Verdict::Busy,
        Ended::Failed(reason) => Verdict::Failed(reason),
    }
}

/// [`respond`], for any kind of code.
pub(super) async fn attend<S, E, A, K, const N: usize>(
    stream: &mut S,
    ends: &Ends,
    kind: &K,
    enter: impl Fn(Pool) -> E,
    admit: impl FnOnce() -> A,
) -> Ended<K::Given>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: Future<Output = Result<(), Refused>>,
    A: Future<Output = ()>,
    K: Kind<N>,
{
    let Ok(m1) = read_frame(stream, M1_LENGTH).await else {
        return Ended::Busy;
    };
    let started = Instant::now();
    let attempt = async {
        let m1 = M1::parse(&m1).map_err(|failure| Stop::Failed(failure.refusal()))?;
        let (responder, m3, lookup) = greet(stream, ends, &m1, kind, enter).await?;
        let (answering, response, given) = evaluate(kind, &m1, responder, &m3, lookup).await?;
        admit().await;
        let done = answer(stream, answering, &response).await?;
        Ok((done, given))
    };
    let ended = timeout_at(started + SILENCE_END, attempt).await;
    match ended.unwrap_or(Err(Stop::Failed(RefusalReason::Timeout))) {
        Ok((done, given)) => {
            // Whether it comes or not, what was given is given.
            if let Ok(m5) = read_frame(stream, M5_LENGTH).await {
                let _ = done.on_m5(&m5);
            }
            Ended::Given(given)
        }
        Err(Stop::Busy) => Ended::Busy,
        Err(Stop::Failed(reason)) => {
            sleep_until(reset_at(started, Instant::now())).await;
            Ended::Failed(reason)
        }
    }
}

/// Why an attempt goes no further.
enum Stop {
    Busy,
    Failed(RefusalReason),
}

/// The first step of the silence that is not before `now`.
fn reset_at(started: Instant, now: Instant) -> Instant {
    let mut at = SILENCE_STEP;
    while started + at < now && at < SILENCE_END {
        at += SILENCE_STEP;
    }
    started + at
}

/// Up to M3. Whoever claims an attested code is looked up before it gets a place, others while
/// they make M3.
async fn greet<S, E, K, const N: usize>(
    stream: &mut S,
    ends: &Ends,
    m1: &M1,
    kind: &K,
    enter: impl Fn(Pool) -> E,
) -> Result<(Responder, Vec<u8>, Lookup<N>), Stop>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: Future<Output = Result<(), Refused>>,
    K: Kind<N>,
{
    let busy = |_| Stop::Busy;
    let timed_out = |_| Stop::Failed(RefusalReason::Timeout);
    let lookup = kind.lookup(m1);
    let lookup = if m1.slot == Slot::ATTESTED {
        enter(Pool::Asking).await.map_err(busy)?;
        let known = lookup.await;
        let attested = matches!(known, Lookup::Known { attested: true, .. });
        let pool = if attested {
            Pool::Attested
        } else {
            Pool::Probationary
        };
        enter(pool).await.map_err(busy)?;
        Either::Left(std::future::ready(known))
    } else {
        enter(Pool::Probationary).await.map_err(busy)?;
        Either::Right(lookup)
    };
    let seed = random().map_err(|_| Stop::Failed(RefusalReason::Unavailable))?;
    let (net, namespace) = (ends.net, ends.namespace.clone());
    let (own, joiner) = (ends.responder, ends.joiner);
    let (responder, m2) = Responder::on_m1(m1.clone(), net, namespace, own, joiner, &seed);
    write_frame(stream, &m2).await.map_err(timed_out)?;
    let (m3, lookup) = futures::join!(read_frame(stream, M3_LENGTH), lookup);
    Ok((responder, m3.map_err(timed_out)?, lookup))
}

/// M3 with what is known of the code; then the one who decides is asked.
async fn evaluate<K, const N: usize>(
    kind: &K,
    m1: &M1,
    responder: Responder,
    m3: &[u8],
    lookup: Lookup<N>,
) -> Result<(ResponderAnswering, Vec<u8>, K::Given), Stop>
where
    K: Kind<N>,
{
    let salt = match lookup {
        Lookup::Known { salt, .. } => salt,
        Lookup::Unknown(reason) => {
            // The same work as for a known slot.
            if let Ok(salt) = random() {
                let _ = responder.on_m3(m3, salt.expose());
            }
            return Err(Stop::Failed(reason));
        }
    };
    match responder.on_m3(m3, salt.expose()) {
        Ok((answering, request)) => {
            let (response, given) = kind.redeem(m1, &request).await.map_err(Stop::Failed)?;
            Ok((answering, response, given))
        }
        Err(failure) => {
            let reason = Failure::refusal(failure);
            kind.failure(m1, reason).await;
            Err(Stop::Failed(reason))
        }
    }
}

/// M4. The redemption is durable, so a joiner that does not get it comes again.
async fn answer<S>(
    stream: &mut S,
    answering: ResponderAnswering,
    response: &[u8],
) -> Result<ResponderDone, Stop>
where
    S: AsyncWrite + Unpin,
{
    let (done, m4) = answering
        .accept(response)
        .map_err(|failure| Stop::Failed(failure.refusal()))?;
    write_frame(stream, &m4)
        .await
        .map_err(|_| Stop::Failed(RefusalReason::Timeout))?;
    Ok(done)
}

/// The network's codes: the operator decides.
struct AtDesk<'a, D> {
    desk: &'a D,
    joiner: PeerId,
}

impl<D: Desk> Kind<32> for AtDesk<'_, D> {
    type Given = IssuedRecord;

    /// Groups are all that a relay serves; the operator is not asked for anything else.
    async fn lookup(&self, m1: &M1) -> Lookup {
        match m1.kind {
            HandshakeKind::Group => {
                let request = LookupRequest {
                    kind: m1.kind,
                    group: m1.group,
                    slot: m1.slot,
                    peer_id: self.joiner,
                };
                self.desk.lookup(request).await
            }
            HandshakeKind::Invite | HandshakeKind::Voucher => {
                Lookup::Unknown(RefusalReason::UnknownGroup)
            }
        }
    }

    async fn redeem(
        &self,
        m1: &M1,
        request: &[u8],
    ) -> Result<(Vec<u8>, IssuedRecord), RefusalReason> {
        let Ok(request) = JoinRequest::decode(request) else {
            self.failure(m1, RefusalReason::Malformed).await;
            return Err(RefusalReason::Malformed);
        };
        let JoinRequest {
            name,
            proof,
            identity,
        } = request;
        let request = RedeemRequest {
            kind: m1.kind,
            group: m1.group,
            slot: m1.slot,
            peer_id: self.joiner,
            name,
            proof,
            identity,
        };
        let issued = self.desk.redeem(request).await?;
        let response = JoinResponse {
            record: Signed {
                bytes: issued.record.clone(),
                signature: issued.signature,
            },
            network_key: issued.network_public_key,
        };
        Ok((response.encode(), issued))
    }

    async fn failure(&self, m1: &M1, reason: RefusalReason) {
        let request = FailureRequest {
            group: m1.group,
            slot: m1.slot,
            peer_id: self.joiner,
            reason,
        };
        self.desk.failure(request).await;
    }
}
