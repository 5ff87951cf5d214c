//! An invite over real connections: the guest's way to the inviter, and the inviter's answer (stream `invite`). The
//! handshake is the ordinary one; what an inviter decides is behind [`Host`].

use std::{collections::BTreeMap, future::Future};

use futures::{AsyncRead, AsyncWrite};
use libp2p::multiaddr::Protocol as Part;
use peerup_pairing::{
    handshake::M1,
    invite::{self, InviteAnswerError, Invited, Lookup as Found},
    join,
};
use peerup_protocol::{
    Multiaddr, PeerId, UnixTime,
    api::RefusalReason,
    code::{Code, HandshakeKind, Responder},
    frame::{GuestRequest, GuestResponse},
    id::{GroupId, PeerName, Slot},
};

use super::{
    joiner::{Ask, Stop, shake},
    responder::{Ended, Ends, Kind, Lookup, attend},
};
use crate::{
    node::{DialError, Node, OpenError},
    probation::{Pool, Refused},
    protocol::Protocol,
    stream::Stream,
    targets,
};

/// Why an invite did not make a guest.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// The inviter closed before it answered M1: try again later, or through another relay.
    #[error("the inviter is busy")]
    Busy,
    /// Wrong, used, ended or closed: an inviter never says which.
    #[error("pairing failed")]
    Failed,
    /// The inviter knows the code, its answer is not valid.
    #[error("pairing failed: {0}")]
    Answer(InviteAnswerError),
    /// A relay of the code, or the inviter through it, is not reached: the invite may be over.
    #[error("the inviter is not reached: {0}")]
    Dial(#[from] DialError),
    /// The inviter takes no guests at present.
    #[error("the inviter does not answer: {0}")]
    Open(#[from] OpenError),
    /// The code names no way to the inviter.
    #[error("the code names no way to the inviter")]
    NoWay,
    /// The system gave no random bytes.
    #[error("the operating system gives no randomness")]
    Random,
}

impl From<Stop<InviteAnswerError>> for InviteError {
    fn from(stop: Stop<InviteAnswerError>) -> Self {
        match stop {
            Stop::Random => Self::Random,
            Stop::Busy => Self::Busy,
            Stop::Failed => Self::Failed,
            Stop::Answer(error) => Self::Answer(error),
        }
    }
}

/// The relays through which an invite's code leads, with their addresses, in its order.
#[must_use]
pub fn relays_of_invite(code: &Code) -> Vec<Responder> {
    let mut relays: Vec<Responder> = Vec::new();
    let all = code
        .responders
        .iter()
        .flat_map(|inviter| &inviter.addresses);
    for (relay, address) in all.filter_map(|address| Some((targets::through(address)?, address))) {
        let address = before_relay(address);
        match relays.iter_mut().find(|known| known.peer == relay) {
            Some(known) => known.addresses.push(address),
            None => relays.push(Responder {
                peer: relay,
                addresses: vec![address],
            }),
        }
    }
    relays
}

/// Where the relay of a circuit is dialled.
fn before_relay(circuit: &Multiaddr) -> Multiaddr {
    let parts = circuit.iter();
    parts
        .take_while(|part| !matches!(part, Part::P2p(_)))
        .collect()
}

/// Redeems an invite's code at the inviter, through one relay after the other while it is busy or out of reach. An
/// attempt that got as far as M2 is the last. Relays of the code are admitted for it and forgotten afterwards. `now`
/// is asked when the grant is checked.
///
/// # Errors
/// The last way's.
pub async fn redeem_invite(
    node: &Node,
    code: &Code,
    name: &PeerName,
    now: impl Fn() -> UnixTime,
) -> Result<Invited, InviteError> {
    let mut last = InviteError::NoWay;
    for inviter in &code.responders {
        let guest = Guest {
            node,
            code,
            inviter: inviter.peer,
            name,
            now: &now,
        };
        for way in ways(inviter) {
            match guest.redeem(&way).await {
                Err(again @ (InviteError::Busy | InviteError::Dial(_) | InviteError::Open(_))) => {
                    last = again;
                }
                done => return done,
            }
        }
    }
    Err(last)
}

/// Addresses through one relay, or those without one.
struct Way {
    relay: Option<PeerId>,
    addresses: Vec<Multiaddr>,
}

/// Direct ones first: they need nobody else.
fn ways(inviter: &Responder) -> Vec<Way> {
    let mut ways: BTreeMap<Option<PeerId>, Vec<Multiaddr>> = BTreeMap::new();
    for address in &inviter.addresses {
        let way = ways.entry(targets::through(address)).or_default();
        way.push(address.clone());
    }
    let ways = ways.into_iter();
    ways.map(|(relay, addresses)| Way { relay, addresses })
        .collect()
}

/// A guest at one inviter of its code.
struct Guest<'a, N> {
    node: &'a Node,
    code: &'a Code,
    inviter: PeerId,
    name: &'a PeerName,
    now: &'a N,
}

impl<N: Fn() -> UnixTime> Guest<'_, N> {
    async fn redeem(&self, way: &Way) -> Result<Invited, InviteError> {
        let Some(relay) = way.relay else {
            return self.dial(way).await;
        };
        self.node.admit(relay).await;
        let redeemed = async {
            let addresses = way.addresses.iter().map(before_relay).collect();
            self.node.dial(relay, addresses).await?;
            self.dial(way).await
        }
        .await;
        self.node.expel(relay).await;
        redeemed
    }

    async fn dial(&self, way: &Way) -> Result<Invited, InviteError> {
        let addresses = way.addresses.clone();
        let connection = self.node.dial(self.inviter, addresses).await?;
        let invited = async {
            let mut stream = self.node.open_on(connection, Protocol::Invite).await?;
            self.ask(&mut stream).await
        }
        .await;
        self.node.close_connection(connection).await;
        invited
    }

    /// On an open stream to the inviter: busy is said before M2, after it everything is a failure, whatever the
    /// reason.
    async fn ask(&self, stream: &mut Stream) -> Result<Invited, InviteError> {
        let (net, inviter, own) = (&self.code.net, self.inviter, self.node.peer_id());
        let request = GuestRequest {
            name: self.name.clone(),
        };
        let ask = Ask {
            context: join::context(self.code, inviter, own),
            salt: invite::salt(self.code).expose(),
            request: &request.encode(),
        };
        let check = |response: &[u8]| {
            invite::check_response(net, &own, &inviter, self.name, response, (self.now)())
        };
        Ok(shake(stream, ask, check).await?)
    }
}

/// What an inviter knows and decides. Its book is in memory, so only [`Host::redeem`] has something to wait for.
pub trait Host: Send + Sync {
    /// The handshake's salt.
    fn lookup(&self, group: &GroupId, slot: Slot) -> Found;

    /// Decides about a guest whose MAC was right; the grant is stored durably when it is answered. A refusal has been
    /// counted where it counts.
    fn redeem(
        &self,
        group: GroupId,
        slot: Slot,
        guest: PeerId,
        request: GuestRequest,
    ) -> impl Future<Output = Result<GuestResponse, RefusalReason>> + Send;

    /// Counts a failure.
    fn failed(&self, group: &GroupId, reason: RefusalReason);
}

/// How an attempt at an inviter ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InviteVerdict {
    /// A new guest, or one that came again.
    Invited(Box<GuestResponse>),
    /// No room: closed before M2.
    Busy,
    /// Silence.
    Failed(RefusalReason),
}

/// The inviter's side. `enter` moves the guest's connection into a pool. The caller then drops the stream and closes
/// the connection, which is good for nothing else: the guest dials again with its grant.
pub async fn accept_invite<S, E>(
    stream: &mut S,
    ends: &Ends,
    host: &impl Host,
    enter: impl Fn(Pool) -> E,
) -> InviteVerdict
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: Future<Output = Result<(), Refused>>,
{
    let guest = ends.joiner;
    match attend(stream, ends, &AtHost { host, guest }, enter, || async {}).await {
        Ended::Given(response) => InviteVerdict::Invited(Box::new(response)),
        Ended::Busy => InviteVerdict::Busy,
        Ended::Failed(reason) => InviteVerdict::Failed(reason),
    }
}

struct AtHost<'a, H> {
    host: &'a H,
    guest: PeerId,
}

impl<H: Host> Kind<16> for AtHost<'_, H> {
    type Given = GuestResponse;

    async fn lookup(&self, m1: &M1) -> Lookup<16> {
        let found = match m1.kind {
            HandshakeKind::Invite => self.host.lookup(&m1.group, m1.slot),
            HandshakeKind::Group | HandshakeKind::Voucher => {
                Found::Unknown(RefusalReason::UnknownGroup)
            }
        };
        match found {
            Found::Known(salt) => Lookup::Known {
                salt,
                attested: false,
            },
            Found::Unknown(reason) => Lookup::Unknown(reason),
        }
    }

    async fn redeem(
        &self,
        m1: &M1,
        request: &[u8],
    ) -> Result<(Vec<u8>, GuestResponse), RefusalReason> {
        let request = GuestRequest::decode(request).map_err(|_| RefusalReason::Malformed)?;
        let redeemed = self.host.redeem(m1.group, m1.slot, self.guest, request);
        let response = redeemed.await?;
        Ok((response.encode(), response))
    }

    async fn failure(&self, m1: &M1, reason: RefusalReason) {
        self.host.failed(&m1.group, reason);
    }
}
