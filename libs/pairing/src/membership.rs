//! Who is a member: checks of what the network's key has signed.

use peerup_protocol::id::NetworkId;
use peerup_protocol::message::BadSignature;
use peerup_protocol::record::{MemberRecord, NetworkDocument, Revocations, Signed};
use peerup_protocol::wire::DecodeError;
use peerup_protocol::{PeerId, UnixTime, VerifyingKey};

/// How far a signer's clock may be ahead of ours, in seconds. Ends are exact:
/// renewal at two thirds leaves more room than any skew.
pub const SKEW_SECONDS: u64 = 60;

/// Why a record is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a record.
    #[error("not understood: {0}")]
    Decode(#[from] DecodeError),
    /// Not signed by the network's key.
    #[error("not signed by the network")]
    BadSignature,
    /// Of another network.
    #[error("of another network")]
    OtherNetwork,
    /// Of another peer than the connection's.
    #[error("of another peer")]
    OtherPeer,
    /// Its membership was revoked.
    #[error("revoked")]
    Revoked,
    /// Signed in the future.
    #[error("signed in the future; is this machine's clock right?")]
    Future,
    /// Its time is over; everything else is right, so its holder may renew it.
    #[error("expired")]
    Expired(Box<MemberRecord>),
}

impl From<BadSignature> for Refusal {
    fn from(BadSignature: BadSignature) -> Self {
        Self::BadSignature
    }
}

/// Checks a member record: signature, network, peer, not revoked, times; in this
/// order, so that [`Refusal::Expired`] means that nothing else is wrong.
pub fn check(
    signed: &Signed,
    network: &VerifyingKey,
    peer: &PeerId,
    now: UnixTime,
    revocations: Option<&Revocations>,
) -> Result<MemberRecord, Refusal> {
    signed.verify(network)?;
    let record = MemberRecord::decode(&signed.bytes)?;
    if record.net != NetworkId::of(network) {
        return Err(Refusal::OtherNetwork);
    }
    if record.peer != *peer {
        return Err(Refusal::OtherPeer);
    }
    if revocations.is_some_and(|list| list.contains(record.serial)) {
        return Err(Refusal::Revoked);
    }
    if record.issued > now.saturating_add(SKEW_SECONDS) {
        return Err(Refusal::Future);
    }
    if now >= record.not_after {
        return Err(Refusal::Expired(Box::new(record)));
    }
    Ok(record)
}

/// Checks a revocation list: signature, network, time.
pub fn check_revocations(
    signed: &Signed,
    network: &VerifyingKey,
    now: UnixTime,
) -> Result<Revocations, Refusal> {
    signed.verify(network)?;
    let list = Revocations::decode(&signed.bytes)?;
    if list.net != NetworkId::of(network) {
        return Err(Refusal::OtherNetwork);
    }
    if list.issued > now.saturating_add(SKEW_SECONDS) {
        return Err(Refusal::Future);
    }
    Ok(list)
}

/// Checks a network document: signature, network, time.
pub fn check_document(
    signed: &Signed,
    network: &VerifyingKey,
    now: UnixTime,
) -> Result<NetworkDocument, Refusal> {
    signed.verify(network)?;
    let document = NetworkDocument::decode(&signed.bytes)?;
    if document.net != NetworkId::of(network) {
        return Err(Refusal::OtherNetwork);
    }
    if document.issued > now.saturating_add(SKEW_SECONDS) {
        return Err(Refusal::Future);
    }
    Ok(document)
}
