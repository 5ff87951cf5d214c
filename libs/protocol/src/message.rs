//! Messages that somebody signs, and signing itself. Every one starts with a
//! label of its own, so that no signature can stand for another thing.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::id::{GroupId, NetworkId, PeerName, Slot};
use crate::wire::Writer;
use crate::{PeerId, UnixTime};

/// A signature that does not fit key and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match")]
pub struct BadSignature;

/// Signs bytes.
#[must_use]
pub fn sign(key: &SigningKey, bytes: &[u8]) -> [u8; 64] {
    key.sign(bytes).to_bytes()
}

/// Checks a signature strictly: canonical, no key of small order.
pub fn verify(key: &VerifyingKey, bytes: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    let signature = Signature::from_slice(signature).map_err(|_| BadSignature)?;
    key.verify_strict(bytes, &signature)
        .map_err(|_| BadSignature)
}

/// What a joiner signs with the code's key.
#[must_use]
pub fn join(
    net: &NetworkId,
    group: &GroupId,
    slot: Slot,
    peer: &PeerId,
    name: &PeerName,
) -> Vec<u8> {
    let w = Writer::new()
        .lp("peerup/1/join")
        .bytes(net.0)
        .bytes(group.0)
        .u16(slot.0);
    w.lp(peer.to_bytes()).lp(name).into_vec()
}

/// What a joiner signs with its identity: a join message (or a voucher) and the code's public key.
#[must_use]
pub fn join_identity(join: &[u8], code_key: &VerifyingKey) -> Vec<u8> {
    Writer::new()
        .lp("peerup/1/join-identity")
        .bytes(join)
        .bytes(code_key.as_bytes())
        .into_vec()
}

/// What a pod signs with its identity beside its token.
#[must_use]
pub fn attest(token: &[u8], peer: &PeerId) -> Vec<u8> {
    let token: [u8; 32] = Sha256::digest(token).into();
    Writer::new()
        .lp("peerup/1/attest")
        .bytes(token)
        .lp(peer.to_bytes())
        .into_vec()
}

/// What a relay signs with its identity for each call of the operator API.
#[must_use]
pub fn relay_call(
    method: &str,
    path_and_query: &str,
    time: UnixTime,
    token: &[u8],
    body: &[u8],
) -> Vec<u8> {
    let (token, body): ([u8; 32], [u8; 32]) =
        (Sha256::digest(token).into(), Sha256::digest(body).into());
    let w = Writer::new()
        .lp("peerup/1/relay-call")
        .lp(method)
        .lp(path_and_query)
        .u64(time);
    w.bytes(token).bytes(body).into_vec()
}

/// What a peer outside the cluster signs with its identity about its report.
#[must_use]
pub fn report(net: &NetworkId, peer: &PeerId, time: UnixTime, json: &[u8]) -> Vec<u8> {
    let w = Writer::new()
        .lp("peerup/1/report")
        .bytes(net.0)
        .lp(peer.to_bytes());
    w.u64(time).lp(json).into_vec()
}
