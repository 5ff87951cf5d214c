//! The exchange of records (stream `member`), both sides, and what follows it:
//! the dialer closes and dials again, because handlers are chosen when a
//! connection is established.
//!
//! ```text
//! dialer   hello ──────▶            admit, close, dial again
//! listener        check, admit ──▶ hello
//! then the side that knows the newer revocations sends them;
//! a dialer that is revoked hears nothing but these
//! ```

use std::{future::Future, time::Duration};

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use libp2p::swarm::ConnectionId;
use peerup_pairing::membership::Refusal;
use peerup_protocol::{
    Multiaddr, PeerId, UnixTime,
    frame::{EXCHANGE_SECONDS, MAX_LONG_FRAME, MemberHello, MemberLists, RosterAnswer},
    record::Signed,
    wire::DecodeError,
};
use tokio::time::timeout;

use crate::{
    io::{FrameError, read_frame, read_frame_within, write_frame},
    node::{DialError, Node, OpenError},
    probation::{Pool, Refused},
    protocol::Protocol,
};

/// Time for a whole exchange.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(EXCHANGE_SECONDS);

/// How long somebody who is revoked may take to hear of it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What this side shows and what it thinks of others. Checks are by clock and
/// lists of the moment.
pub trait Membership: Send + Sync {
    /// The credential, and the newest revocations if there are any.
    fn presented(&self) -> Presented;

    /// Checks a credential on a connection with `peer`: a member record, a guest's grant, or a relay's
    /// network document.
    ///
    /// # Errors
    /// When the peer is not to be admitted.
    fn check(&self, peer: &PeerId, credential: &Signed) -> Result<Standing, Refusal>;

    /// Takes a list that the other side calls newer; verifies and keeps it.
    ///
    /// # Errors
    /// When the list is not the network's.
    fn learn(&self, revocations: Signed) -> Result<(), Refusal>;
}

/// What a side shows.
#[derive(Debug, Clone)]
pub struct Presented {
    /// Member record, grant or network document.
    pub credential: Signed,
    /// The newest revocations.
    pub revocations: Option<KnownList>,
}

/// A verified revocation list with the fields that order it.
#[derive(Debug, Clone)]
pub struct KnownList {
    /// Its epoch.
    pub epoch: u64,
    /// When it was signed.
    pub issued: UnixTime,
    /// The list.
    pub signed: Signed,
}

impl Presented {
    /// What orders lists; zeros for none.
    fn order(&self) -> (u64, UnixTime) {
        let list = self.revocations.as_ref();
        list.map_or((0, 0), |list| (list.epoch, list.issued))
    }
}

/// What a credential is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A member, or a relay; at a sponsor its guest.
    Admitted,
    /// At a relay a guest of a member: [`Node::admit_guest`].
    Guest,
    /// Only its time is over: it may renew and nothing else.
    Renewing,
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The stream could not be opened.
    #[error("no member stream: {0}")]
    Open(#[from] OpenError),
    /// A frame did not pass; a remote that does not accept our record closes.
    #[error("the exchange of records broke off: {0}")]
    Frame(#[from] FrameError),
    /// A frame is not understood.
    #[error("the exchange of records is not understood: {0}")]
    Decode(#[from] DecodeError),
    /// The remote's record or list is not accepted.
    #[error("the remote is not accepted: {0}")]
    Refused(#[from] Refusal),
    /// The remote has shown that the own record is revoked.
    #[error("the own record is revoked")]
    Revoked,
    /// The pool for renewals had no room.
    #[error("there is no room for another renewal")]
    Probation,
    /// The exchange as a whole took too long.
    #[error("the exchange of records took too long")]
    TimedOut,
    /// The remote answered something else than a renewal.
    #[error("the remote answered the renewal with something else")]
    Unexpected,
}

/// Why a peer could not be connected as a member.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It could not be dialled.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The records were not exchanged.
    #[error(transparent)]
    Member(#[from] MemberError),
}

/// Dials, exchanges records, admits the peer, closes and dials again, unless both had admitted each
/// other before: streams of others may be on that connection already. The connection that is left
/// carries everything.
///
/// # Errors
/// When the peer cannot be reached, or one side does not accept the other.
pub async fn connect(
    node: &Node,
    membership: &impl Membership,
    peer: PeerId,
    addresses: Vec<Multiaddr>,
) -> Result<ConnectionId, ConnectError> {
    let first = node.dial(peer, addresses.clone()).await?;
    let exchanged = within(exchange(node, first, peer, membership)).await;
    if exchanged.is_ok() && node.carries_everything(first).await {
        return Ok(first);
    }
    node.close_connection(first).await;
    exchanged?;
    node.admit(peer).await;
    Ok(node.dial(peer, addresses).await?)
}

/// Dials a relay with an expired record and brings a new one; `None` when the relay refuses.
///
/// # Errors
/// When the relay cannot be reached, or one side does not accept the other.
pub async fn renew(
    node: &Node,
    membership: &impl Membership,
    relay: PeerId,
    addresses: Vec<Multiaddr>,
) -> Result<Option<Signed>, ConnectError> {
    let connection = node.dial(relay, addresses).await?;
    let renewed = within(async {
        let mut stream = node.open_on(connection, Protocol::Member).await?;
        present(&mut stream, &relay, membership).await?;
        read_renewal(&mut stream).await
    })
    .await;
    node.close_connection(connection).await;
    Ok(renewed?)
}

/// The listener's side on an inbound stream. A member is admitted before it is answered; one that
/// is to renew is let in for that, and the caller goes on with [`write_renewal`].
///
/// # Errors
/// When one side does not accept the other; the connection should be closed then.
pub async fn serve<S>(
    node: &Node,
    stream: &mut S,
    peer: PeerId,
    connection: ConnectionId,
    membership: &impl Membership,
) -> Result<Standing, MemberError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let served = within(async {
        let (theirs, standing) = match hear(stream, &peer, membership).await {
            Err(error @ MemberError::Refused(Refusal::Revoked)) => {
                show_list(stream, membership).await;
                return Err(error);
            }
            heard => heard?,
        };
        match standing {
            Standing::Admitted => node.admit(peer).await,
            Standing::Guest => node.admit_guest(peer).await,
            Standing::Renewing => match node.enter(connection, Pool::Renewing).await {
                // Its PeerId is admitted by a record that it has not got yet: it is on no probation.
                Ok(()) | Err(Refused::Unknown) => {}
                Err(Refused::Full | Refused::Source | Refused::Engaged) => {
                    return Err(MemberError::Probation);
                }
            },
        }
        answer(stream, &peer, membership, &theirs, standing).await
    })
    .await;
    if matches!(served, Err(MemberError::Refused(_))) {
        node.expel(peer).await;
    }
    served
}

/// The relay's answer to one that came to renew: its new record, or a refusal.
///
/// # Errors
/// When the frame does not pass.
pub async fn write_renewal<S>(stream: &mut S, record: Option<Signed>) -> Result<(), MemberError>
where
    S: AsyncWrite + Unpin,
{
    let answer = record.map_or(RosterAnswer::Refused, RosterAnswer::Record);
    write_frame(stream, &answer.encode()).await?;
    close(stream).await
}

async fn exchange(
    node: &Node,
    connection: ConnectionId,
    peer: PeerId,
    membership: &impl Membership,
) -> Result<(), MemberError> {
    let mut stream = node.open_on(connection, Protocol::Member).await?;
    match present(&mut stream, &peer, membership).await? {
        Standing::Admitted | Standing::Guest => Ok(()),
        Standing::Renewing => Err(MemberError::Unexpected),
    }
}

/// The dialer's side.
async fn present<S>(
    stream: &mut S,
    peer: &PeerId,
    membership: &impl Membership,
) -> Result<Standing, MemberError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let own = membership.presented();
    write_frame(stream, &hello(&own).encode()).await?;
    let frame = read_frame(stream, MAX_LONG_FRAME).await?;
    let theirs = match MemberHello::decode(&frame) {
        Ok(theirs) => theirs,
        Err(error) => {
            // Nothing but a list comes from somebody who knows that this side is revoked.
            let lists = MemberLists::decode(&frame).map_err(|_| error)?;
            membership.learn(lists.revocations)?;
            return Err(MemberError::Revoked);
        }
    };
    let standing = membership.check(peer, &theirs.credential)?;
    settle(stream, peer, membership, &own, &theirs, standing).await
}

/// Shows the list to somebody whose record was good and is revoked, who may not have heard of it, and gives it a moment
/// to read that: a connection that is closed takes along what is under way.
async fn show_list<S>(stream: &mut S, membership: &impl Membership)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(list) = membership.presented().revocations else {
        return;
    };
    let lists = MemberLists {
        revocations: list.signed,
    };
    if write_frame(stream, &lists.encode()).await.is_ok() {
        // Whatever is said, or that it is silent, is of no interest.
        let _ = read_frame_within(stream, MAX_LONG_FRAME, LAST_WORDS).await;
    }
}

/// The listener's side after the other's hello.
async fn answer<S>(
    stream: &mut S,
    peer: &PeerId,
    membership: &impl Membership,
    theirs: &MemberHello,
    standing: Standing,
) -> Result<Standing, MemberError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let own = membership.presented();
    write_frame(stream, &hello(&own).encode()).await?;
    settle(stream, peer, membership, &own, theirs, standing).await
}

/// The other side's hello, checked.
async fn hear<S>(
    stream: &mut S,
    peer: &PeerId,
    membership: &impl Membership,
) -> Result<(MemberHello, Standing), MemberError>
where
    S: AsyncRead + Unpin,
{
    let theirs = MemberHello::decode(&read_frame(stream, MAX_LONG_FRAME).await?)?;
    let standing = membership.check(peer, &theirs.credential)?;
    Ok((theirs, standing))
}

/// The side with the newer revocations sends them; the one that learns checks the other again.
async fn settle<S>(
    stream: &mut S,
    peer: &PeerId,
    membership: &impl Membership,
    own: &Presented,
    theirs: &MemberHello,
    standing: Standing,
) -> Result<Standing, MemberError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let known = own.order();
    let other = (theirs.epoch, theirs.issued);
    if other > known {
        let lists = MemberLists::decode(&read_frame(stream, MAX_LONG_FRAME).await?)?;
        membership.learn(lists.revocations)?;
        return Ok(membership.check(peer, &theirs.credential)?);
    }
    if let Some(list) = own.revocations.as_ref().filter(|_| known > other) {
        let revocations = list.signed.clone();
        write_frame(stream, &MemberLists { revocations }.encode()).await?;
    }
    Ok(standing)
}

fn hello(own: &Presented) -> MemberHello {
    let (epoch, issued) = own.order();
    MemberHello {
        credential: own.credential.clone(),
        epoch,
        issued,
    }
}

async fn read_renewal<S>(stream: &mut S) -> Result<Option<Signed>, MemberError>
where
    S: AsyncRead + Unpin,
{
    // The relay asks the operator meanwhile; the exchange as a whole has its end.
    let answer = read_frame_within(stream, MAX_LONG_FRAME, EXCHANGE_TIMEOUT).await?;
    match RosterAnswer::decode(&answer)? {
        RosterAnswer::Record(record) => Ok(Some(record)),
        RosterAnswer::Refused => Ok(None),
        RosterAnswer::Page(_) | RosterAnswer::Lists { .. } => Err(MemberError::Unexpected),
    }
}

async fn close<S>(stream: &mut S) -> Result<(), MemberError>
where
    S: AsyncWrite + Unpin,
{
    Ok(stream.close().await.map_err(FrameError::Io)?)
}

async fn within<T>(work: impl Future<Output = Result<T, MemberError>>) -> Result<T, MemberError> {
    timeout(EXCHANGE_TIMEOUT, work)
        .await
        .unwrap_or(Err(MemberError::TimedOut))
}
