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

/// The handshake's context for a code at one of its responders.
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

#[cfg(test)]
mod tests {
    use peerup_protocol::code::{CodeKind, Responder};
    use peerup_protocol::id::{DhtNamespace, Serial};
    use peerup_protocol::record::Method;
    use peerup_protocol::secret::CodeSecret;

    use super::*;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&[byte; 32])
    }

    fn peer(byte: u8) -> PeerId {
        peer_id(&key(byte).verifying_key())
    }

    fn name(text: &str) -> PeerName {
        PeerName::parse(text).unwrap()
    }

    fn code() -> Code {
        Code {
            kind: CodeKind::Group,
            net: NetworkId::of(&key(1).verifying_key()),
            group: GroupId([5; 8]),
            slot: Slot(1),
            secret: CodeSecret::new([9; 16]),
            namespace: DhtNamespace::parse("crew").unwrap(),
            not_after: 2000,
            responders: vec![Responder {
                peer: peer(2),
                addresses: Vec::new(),
            }],
        }
    }

    /// Whether a request passes for the group, slot and peer of `code()`, or of others.
    struct Asked {
        net: NetworkId,
        group: GroupId,
        slot: Slot,
        peer: PeerId,
        key: VerifyingKey,
    }

    fn asked() -> Asked {
        let code = code();
        let key = code_key(&code.net, &code.group, code.slot, &code.secret).verifying_key();
        Asked {
            net: code.net,
            group: code.group,
            slot: code.slot,
            peer: peer(3),
            key,
        }
    }

    impl Asked {
        fn passes(&self, request: &JoinRequest) -> bool {
            let Self {
                net,
                group,
                slot,
                peer,
                key,
            } = self;
            verify_request(net, group, *slot, peer, request, key).is_ok()
        }
    }

    #[test]
    fn a_request_is_good_for_its_own_code_and_peer_only() {
        let good = request(&code(), &key(3), &name("laptop"));
        assert!(asked().passes(&good));
        assert!(
            !Asked {
                net: NetworkId([0; 16]),
                ..asked()
            }
            .passes(&good)
        );
        assert!(
            !Asked {
                group: GroupId([6; 8]),
                ..asked()
            }
            .passes(&good)
        );
        assert!(
            !Asked {
                slot: Slot(2),
                ..asked()
            }
            .passes(&good)
        );
        assert!(
            !Asked {
                peer: peer(4),
                ..asked()
            }
            .passes(&good)
        );
        assert!(
            !Asked {
                key: key(8).verifying_key(),
                ..asked()
            }
            .passes(&good)
        );
    }

    #[test]
    fn a_changed_request_is_good_for_nothing() {
        let good = request(&code(), &key(3), &name("laptop"));
        let of_another = request(&code(), &key(4), &name("laptop"));
        let renamed = JoinRequest {
            name: name("desktop"),
            ..good.clone()
        };
        let unproved = JoinRequest {
            proof: of_another.proof,
            ..good.clone()
        };
        let replayed = JoinRequest {
            identity: of_another.identity,
            ..good.clone()
        };
        let swapped = JoinRequest {
            proof: good.identity,
            identity: good.proof,
            ..good
        };
        for bad in [of_another, unproved, renamed, replayed, swapped] {
            assert!(!asked().passes(&bad));
        }
    }

    fn record() -> MemberRecord {
        MemberRecord {
            net: code().net,
            serial: Serial(1),
            peer: peer(3),
            name: name("laptop"),
            subject: String::new(),
            method: Method::Code,
            issued: 1000,
            not_after: 2000,
        }
    }

    fn response(record: &MemberRecord, signer: u8, shown: u8) -> Vec<u8> {
        let network_key = key(shown).verifying_key().to_bytes();
        JoinResponse {
            record: Signed::sign(&key(signer), record.encode()),
            network_key,
        }
        .encode()
    }

    fn answer(response: &[u8]) -> Result<Joined, AnswerError> {
        check_response(&code().net, &peer(3), &name("laptop"), response, 1500)
    }

    #[test]
    fn an_answer_is_a_membership_or_says_why_not() {
        let joined = answer(&response(&record(), 1, 1)).unwrap();
        assert_eq!(
            (joined.record, joined.network_key),
            (record(), key(1).verifying_key())
        );
        let numbered = MemberRecord {
            name: name("laptop-2"),
            ..record()
        };
        assert!(answer(&response(&numbered, 1, 1)).is_ok());
        let renamed = MemberRecord {
            name: name("laptops"),
            ..record()
        };
        assert!(matches!(
            answer(&response(&renamed, 1, 1)),
            Err(AnswerError::OtherName { .. })
        ));
        assert_eq!(
            answer(&response(&record(), 2, 2)),
            Err(AnswerError::OtherKey)
        );
        let forged = answer(&response(&record(), 2, 1));
        assert_eq!(forged, Err(AnswerError::Record(Refusal::BadSignature)));
        let for_another = MemberRecord {
            peer: peer(4),
            ..record()
        };
        assert_eq!(
            answer(&response(&for_another, 1, 1)),
            Err(AnswerError::Record(Refusal::OtherPeer))
        );
        assert!(matches!(answer(b"garbage"), Err(AnswerError::Decode(_))));
    }

    #[test]
    fn context_and_salt_are_the_codes() {
        let code = code();
        let context = context(&code, peer(2), peer(3));
        assert_eq!(
            (context.responder, context.joiner, context.slot),
            (peer(2), peer(3), code.slot)
        );
        let salt_of_other = salt(&Code {
            slot: Slot(2),
            ..code.clone()
        });
        assert_ne!(salt(&code), salt_of_other);
    }
}
