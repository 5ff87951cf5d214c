//! Who is a member: checks of what the network's key has signed. And who is a
//! guest: checks of what a member has signed.

mod guest;

pub use guest::{GuestRefusal, Guests, RelayView, check_at_relay, check_own_grant, check_sponsor};

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
    /// A guest's grant that is not accepted.
    #[error("a guest's grant: {0}")]
    Guest(#[from] GuestRefusal),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use peerup_protocol::SigningKey;
    use peerup_protocol::id::{DhtNamespace, PeerName, Serial, peer_id};
    use peerup_protocol::record::{Flags, Method};

    use super::*;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&[byte; 32])
    }

    fn net(byte: u8) -> NetworkId {
        NetworkId::of(&key(byte).verifying_key())
    }

    fn record() -> MemberRecord {
        MemberRecord {
            net: net(1),
            serial: Serial(41),
            peer: peer_id(&key(3).verifying_key()),
            name: PeerName::parse("laptop").unwrap(),
            subject: String::new(),
            method: Method::Code,
            issued: 1000,
            not_after: 2000,
        }
    }

    fn revoked(serials: &[u64]) -> Revocations {
        let serials: BTreeSet<_> = serials.iter().copied().map(Serial).collect();
        Revocations {
            net: net(1),
            epoch: 1,
            issued: 1000,
            serials,
        }
    }

    /// The check of a record that is signed by `signer`, for the peer of key 3.
    fn checked(
        record: &MemberRecord,
        signer: u8,
        now: UnixTime,
        list: Option<&Revocations>,
    ) -> Result<(), Refusal> {
        let signed = Signed::sign(&key(signer), record.encode());
        let peer = peer_id(&key(3).verifying_key());
        check(&signed, &key(1).verifying_key(), &peer, now, list)
            .map(|read| assert_eq!(read, *record))
    }

    #[test]
    fn a_good_record_is_accepted() {
        assert_eq!(
            checked(&record(), 1, 1500, Some(&revoked(&[40, 42]))),
            Ok(())
        );
    }

    #[test]
    fn each_fault_has_its_name() {
        let good = record();
        assert_eq!(checked(&good, 2, 1500, None), Err(Refusal::BadSignature));
        let other_net = MemberRecord {
            net: net(2),
            ..good.clone()
        };
        assert_eq!(
            checked(&other_net, 1, 1500, None),
            Err(Refusal::OtherNetwork)
        );
        let other_peer = MemberRecord {
            peer: peer_id(&key(4).verifying_key()),
            ..good.clone()
        };
        assert_eq!(checked(&other_peer, 1, 1500, None), Err(Refusal::OtherPeer));
        assert_eq!(
            checked(&good, 1, 1500, Some(&revoked(&[41]))),
            Err(Refusal::Revoked)
        );
        let network = key(1);
        let garbage = Signed::sign(&network, b"garbage".to_vec());
        let result = check(&garbage, &network.verifying_key(), &good.peer, 1500, None);
        assert!(matches!(result, Err(Refusal::Decode(_))));
    }

    #[test]
    fn times_allow_a_minute_before_and_nothing_after() {
        let good = record();
        assert_eq!(checked(&good, 1, 1000 - SKEW_SECONDS, None), Ok(()));
        assert_eq!(
            checked(&good, 1, 999 - SKEW_SECONDS, None),
            Err(Refusal::Future)
        );
        assert_eq!(checked(&good, 1, 1999, None), Ok(()));
        assert_eq!(
            checked(&good, 1, 2000, None),
            Err(Refusal::Expired(Box::new(good.clone())))
        );
    }

    #[test]
    fn expired_means_that_nothing_else_is_wrong() {
        assert_eq!(
            checked(&record(), 1, 3000, Some(&revoked(&[41]))),
            Err(Refusal::Revoked)
        );
        assert_eq!(
            checked(&record(), 2, 3000, None),
            Err(Refusal::BadSignature)
        );
    }

    #[test]
    fn lists_and_documents_are_checked_alike() {
        let list = revoked(&[1]);
        let document = NetworkDocument {
            net: net(1),
            epoch: 1,
            issued: 1000,
            namespace: DhtNamespace::parse("crew").unwrap(),
            cluster: "local".to_owned(),
            flags: Flags::default(),
            relays: Vec::new(),
            access: Vec::new(),
        };
        let network = key(1).verifying_key();
        let signed = (
            Signed::sign(&key(1), list.encode()),
            Signed::sign(&key(1), document.encode()),
        );
        assert_eq!(
            check_revocations(&signed.0, &network, 1000),
            Ok(list.clone())
        );
        assert_eq!(check_document(&signed.1, &network, 1000), Ok(document));
        assert_eq!(
            check_revocations(&signed.0, &network, 900),
            Err(Refusal::Future)
        );
        assert_eq!(
            check_document(&signed.1, &network, 900),
            Err(Refusal::Future)
        );
        let other = key(2).verifying_key();
        assert_eq!(
            check_revocations(&signed.0, &other, 1000),
            Err(Refusal::BadSignature)
        );
        assert_eq!(
            check_document(&signed.1, &other, 1000),
            Err(Refusal::BadSignature)
        );
        let foreign = Signed::sign(
            &key(1),
            Revocations {
                net: net(2),
                ..list
            }
            .encode(),
        );
        assert_eq!(
            check_revocations(&foreign, &network, 1000),
            Err(Refusal::OtherNetwork)
        );
        assert!(matches!(
            check_document(&signed.0, &network, 1000),
            Err(Refusal::Decode(_))
        ));
    }
}
