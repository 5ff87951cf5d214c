//! What a joiner signs, what the operator verifies, what the joiner checks in
//! the answer.

use peerup_protocol::code::Code;
use peerup_protocol::derive::{code_hash, code_key};
use peerup_protocol::frame::{JoinRequest, JoinResponse};
use peerup_protocol::id::{GroupId, NetworkId, PeerName, Slot, peer_id};
use peerup_protocol::message::{self, BadSignature};
use peerup_protocol::record::{MemberRecord, Revocations, Signed};
use peerup_protocol::secret::Secret;
use peerup_protocol::wire::DecodeError;
use peerup_protocol::{PeerId, SigningKey, UnixTime, VerifyingKey};

use crate::handshake::Context;
use crate::membership::{self, Refusal};

/// What a joiner holds after pairing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The record, read.
    pub record: MemberRecord,
    /// The record as it travels.
    pub signed: Signed,
    /// The network's key; every later record is checked with it.
    pub network_key: VerifyingKey,
}

/// Why a responder's answer is not a membership.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not a response.
    #[error("the answer is not understood: {0}")]
    Decode(#[from] DecodeError),
    /// The key is not the one that the code names.
    #[error("the answer comes from another network's key")]
    OtherKey,
    /// The record is not good for this peer, now.
    #[error("the record in the answer is not valid: {0}")]
    Record(#[from] Refusal),
    /// The record's name is not the one asked for, nor one with a number.
    #[error("asked for the name {asked}, got {got}")]
    OtherName {
        /// The name in the request.
        asked: PeerName,
        /// The name in the record.
        got: PeerName,
    },
}

/// The handshake's context for a group code at one of its responders.
#[must_use]
pub fn context(code: &Code, responder: PeerId, joiner: PeerId) -> Context {
    Context {
        kind: code.kind.handshake(),
        net: code.net,
        namespace: code.namespace.clone(),
        group: code.group,
        slot: code.slot,
        responder,
        joiner,
    }
}

/// The handshake's salt for a group code: its hash.
#[must_use]
pub fn salt(code: &Code) -> Secret<32> {
    Secret::new(code_hash(&code.net, &code.group, code.slot, &code.secret))
}

/// The request of a joiner with this identity for this name.
#[must_use]
pub fn request(code: &Code, identity: &SigningKey, name: &PeerName) -> JoinRequest {
    let peer = peer_id(&identity.verifying_key());
    let key = code_key(&code.net, &code.group, code.slot, &code.secret);
    let join = message::join(&code.net, &code.group, code.slot, &peer, name);
    let both = message::join_identity(&join, &key.verifying_key());
    let (proof, identity) = (message::sign(&key, &join), message::sign(identity, &both));
    JoinRequest {
        name: name.clone(),
        proof,
        identity,
    }
}

/// Whether both signatures of a request are right: the operator's check.
pub fn verify_request(
    net: &NetworkId,
    group: &GroupId,
    slot: Slot,
    peer: &PeerId,
    request: &JoinRequest,
    code_key: &VerifyingKey,
) -> Result<(), BadSignature> {
    let identity = peerup_protocol::id::verifying_key(peer).map_err(|_| BadSignature)?;
    let join = message::join(net, group, slot, peer, &request.name);
    message::verify(code_key, &join, &request.proof)?;
    message::verify(
        &identity,
        &message::join_identity(&join, code_key),
        &request.identity,
    )
}

/// Reads and checks a responder's plain response.
pub fn check_response(
    net: &NetworkId,
    peer: &PeerId,
    asked: &PeerName,
    response: &[u8],
    now: UnixTime,
) -> Result<Joined, AnswerError> {
    let JoinResponse {
        record: signed,
        network_key,
    } = JoinResponse::decode(response)?;
    let network_key = VerifyingKey::from_bytes(&network_key).map_err(|_| AnswerError::OtherKey)?;
    if NetworkId::of(&network_key) != *net {
        return Err(AnswerError::OtherKey);
    }
    let record = membership::check(&signed, &network_key, peer, now, None::<&Revocations>)?;
    if !record.name.answers(asked) {
        return Err(AnswerError::OtherName {
            asked: asked.clone(),
            got: record.name,
        });
    }
    Ok(Joined {
        record,
        signed,
        network_key,
    })
}
