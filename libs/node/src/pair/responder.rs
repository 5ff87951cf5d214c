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

/// What is known of a group and slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// It may be redeemed.
    Known {
        /// The handshake's salt.
        salt: Secret<32>,
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
    let Ok(m1) = read_frame(stream, M1_LENGTH).await else {
        return Verdict::Busy;
    };
    let started = Instant::now();
    let attempt = async {
        let m1 = M1::parse(&m1).map_err(|failure| Stop::Failed(failure.refusal()))?;
        let (responder, m3, lookup) = greet(stream, ends, m1.clone(), desk, enter).await?;
        let attempt = Attempt { m1, ends, desk };
        let (answering, issued) = attempt.evaluate(responder, &m3, lookup).await?;
        admit().await;
        let done = answer(stream, answering, &issued).await?;
        Ok((done, issued))
    };
    let ended = timeout_at(started + SILENCE_END, attempt).await;
    match ended.unwrap_or(Err(Stop::Failed(RefusalReason::Timeout))) {
        Ok((done, issued)) => {
            // Whether it comes or not, the joiner is a member.
            if let Ok(m5) = read_frame(stream, M5_LENGTH).await {
                let _ = done.on_m5(&m5);
            }
            Verdict::Joined(Box::new(issued))
        }
        Err(Stop::Busy) => Verdict::Busy,
        Err(Stop::Failed(reason)) => {
            sleep_until(reset_at(started, Instant::now())).await;
            Verdict::Failed(reason)
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
async fn greet<S, E>(
    stream: &mut S,
    ends: &Ends,
    m1: M1,
    desk: &impl Desk,
    enter: impl Fn(Pool) -> E,
) -> Result<(Responder, Vec<u8>, Lookup), Stop>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: Future<Output = Result<(), Refused>>,
{
    let busy = |_| Stop::Busy;
    let timed_out = |_| Stop::Failed(RefusalReason::Timeout);
    let lookup = lookup(desk, &m1, ends.joiner);
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
    let (responder, m2) = Responder::on_m1(m1, net, namespace, ends.responder, ends.joiner, &seed);
    write_frame(stream, &m2).await.map_err(timed_out)?;
    let (m3, lookup) = futures::join!(read_frame(stream, M3_LENGTH), lookup);
    Ok((responder, m3.map_err(timed_out)?, lookup))
}

/// What the operator is asked about.
struct Attempt<'a, D> {
    m1: M1,
    ends: &'a Ends,
    desk: &'a D,
}

impl<D: Desk> Attempt<'_, D> {
    /// M3 with what is known of the code; then the operator decides.
    async fn evaluate(
        &self,
        responder: Responder,
        m3: &[u8],
        lookup: Lookup,
    ) -> Result<(ResponderAnswering, IssuedRecord), Stop> {
        match lookup {
            Lookup::Unknown(reason) => {
                // The same work as for a known slot.
                if let Ok(salt) = random() {
                    let _ = responder.on_m3(m3, salt.expose());
                }
                Err(Stop::Failed(reason))
            }
            Lookup::Known { salt, .. } => match confirm(responder, m3, &salt) {
                Ok((answering, request)) => Ok((answering, self.redeem(request).await?)),
                Err(reason) => Err(self.failed(reason).await),
            },
        }
    }

    async fn redeem(&self, request: JoinRequest) -> Result<IssuedRecord, Stop> {
        let JoinRequest {
            name,
            proof,
            identity,
        } = request;
        let request = RedeemRequest {
            kind: self.m1.kind,
            group: self.m1.group,
            slot: self.m1.slot,
            peer_id: self.ends.joiner,
            name,
            proof,
            identity,
        };
        self.desk.redeem(request).await.map_err(Stop::Failed)
    }

    /// Returns when the failure is durable.
    async fn failed(&self, reason: RefusalReason) -> Stop {
        let request = FailureRequest {
            group: self.m1.group,
            slot: self.m1.slot,
            peer_id: self.ends.joiner,
            reason,
        };
        self.desk.failure(request).await;
        Stop::Failed(reason)
    }
}

/// Groups are all that a relay serves; the operator is not asked for anything else.
fn lookup<'a, D: Desk>(
    desk: &'a D,
    m1: &M1,
    peer_id: PeerId,
) -> impl Future<Output = Lookup> + use<'a, D> {
    let (kind, group, slot) = (m1.kind, m1.group, m1.slot);
    async move {
        let request = LookupRequest {
            kind,
            group,
            slot,
            peer_id,
        };
        match kind {
            HandshakeKind::Group => desk.lookup(request).await,
            HandshakeKind::Invite | HandshakeKind::Voucher => {
                Lookup::Unknown(RefusalReason::UnknownGroup)
            }
        }
    }
}

fn confirm(
    responder: Responder,
    m3: &[u8],
    salt: &Secret<32>,
) -> Result<(ResponderAnswering, JoinRequest), RefusalReason> {
    let (answering, plain) = responder
        .on_m3(m3, salt.expose())
        .map_err(Failure::refusal)?;
    let request = JoinRequest::decode(&plain).map_err(|_| RefusalReason::Malformed)?;
    Ok((answering, request))
}

/// M4. The redemption is durable, so a joiner that does not get it comes again.
async fn answer<S>(
    stream: &mut S,
    answering: ResponderAnswering,
    issued: &IssuedRecord,
) -> Result<ResponderDone, Stop>
where
    S: AsyncWrite + Unpin,
{
    let response = JoinResponse {
        record: Signed {
            bytes: issued.record.clone(),
            signature: issued.signature,
        },
        network_key: issued.network_public_key,
    };
    let (done, m4) = answering
        .accept(&response.encode())
        .map_err(|failure| Stop::Failed(failure.refusal()))?;
    write_frame(stream, &m4)
        .await
        .map_err(|_| Stop::Failed(RefusalReason::Timeout))?;
    Ok(done)
}
