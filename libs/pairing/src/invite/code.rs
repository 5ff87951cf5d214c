//! The joiner's side of an invite, and the code between the two.

use peerup_protocol::code::{Code, CodeKind, Responder};
use peerup_protocol::frame::GuestResponse;
use peerup_protocol::id::{DhtNamespace, GroupId, NetworkId, PeerName};
use peerup_protocol::record::{GuestGrant, Signed};
use peerup_protocol::secret::CodeSecret;
use peerup_protocol::wire::DecodeError;
use peerup_protocol::{Multiaddr, PeerId, UnixTime};

use super::SLOT;
use crate::membership::{GuestRefusal, check_own_grant};

/// An open invite, as its code says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The network.
    pub net: NetworkId,
    /// Its name on the wire.
    pub namespace: DhtNamespace,
    /// The inviter, the only one that may answer.
    pub inviter: PeerId,
    /// The invite.
    pub group: GroupId,
    /// Its secret.
    pub secret: CodeSecret,
    /// When it ends, as [`super::Invites::open`] says.
    pub not_after: UnixTime,
    /// Where strangers reach the inviter: circuits over its relays, or hosts.
    pub addresses: Vec<Multiaddr>,
}

impl Offer {
    /// The code for the guest.
    #[must_use]
    pub fn into_code(self) -> Code {
        Code {
            kind: CodeKind::Invite,
            net: self.net,
            group: self.group,
            slot: SLOT,
            secret: self.secret,
            namespace: self.namespace,
            not_after: u32::try_from(self.not_after).unwrap_or(u32::MAX),
            responders: vec![Responder {
                peer: self.inviter,
                addresses: self.addresses,
            }],
        }
    }
}

/// The handshake's salt for an invite: the code's secret itself.
#[must_use]
pub fn salt(code: &Code) -> &CodeSecret {
    &code.secret
}

/// What a guest holds after pairing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invited {
    /// The inviter's own name.
    pub inviter: PeerName,
    /// The grant, read.
    pub grant: GuestGrant,
    /// The grant as it travels.
    pub signed: Signed,
}

/// Why an inviter's answer makes no guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteAnswerError {
    /// Not a response.
    #[error("the answer is not understood: {0}")]
    Decode(#[from] DecodeError),
    /// The grant is not good for this peer, now.
    #[error("the grant in the answer is not valid: {0}")]
    Grant(#[from] GuestRefusal),
    /// The grant's name is not the one asked for, nor one with a number.
    #[error("asked for the name {asked}, got {got}")]
    OtherName {
        /// The name in the request.
        asked: PeerName,
        /// The name in the grant.
        got: PeerName,
    },
}

/// Reads and checks an inviter's plain response: the responder's own signature, for this very
/// peer, for 30 days at most, under the name that was asked for.
pub fn check_response(
    net: &NetworkId,
    own: &PeerId,
    responder: &PeerId,
    asked: &PeerName,
    response: &[u8],
    now: UnixTime,
) -> Result<Invited, InviteAnswerError> {
    let GuestResponse {
        inviter,
        grant: signed,
    } = GuestResponse::decode(response)?;
    let grant = check_own_grant(&signed, net, own, responder, now)?;
    if !grant.name.answers(asked) {
        return Err(InviteAnswerError::OtherName {
            asked: asked.clone(),
            got: grant.name,
        });
    }
    Ok(Invited {
        inviter,
        grant,
        signed,
    })
}
