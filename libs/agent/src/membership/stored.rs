//! The membership as it lies in the state directory. What is read is verified like anything from outside, but for
//! the network's key, which only the owner of the directory can have put there.

use data_encoding::HEXLOWER;
use peerup_pairing::membership::{self as rules, Refusal};
use peerup_protocol::code::Responder;
use peerup_protocol::id::{DhtNamespace, NetworkId};
use peerup_protocol::record::Signed;
use peerup_protocol::{Multiaddr, PeerId, UnixTime, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::{Known, Membership};

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    version: u8,
    /// Lower-case hex.
    network_public_key: String,
    namespace: DhtNamespace,
    record: Signed,
    relays: Vec<StoredRelay>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revocations: Option<Signed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network_document: Option<Signed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredRelay {
    #[serde(rename = "peerID")]
    peer: PeerId,
    addresses: Vec<Multiaddr>,
}

/// Why a stored membership is of no use.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// Written by another version.
    #[error("the stored membership has version {0}, expected {VERSION}")]
    Version(u8),
    /// The key is not one.
    #[error("the stored network key is not an Ed25519 key")]
    Key,
    /// Something in it is not signed by that key, or for another peer.
    #[error("the stored membership does not hold: {0}")]
    Refused(#[from] Refusal),
}

const VERSION: u8 = 1;

impl Stored {
    /// What to store of a membership.
    #[must_use]
    pub fn of(membership: &Membership) -> Self {
        Self {
            version: VERSION,
            network_public_key: HEXLOWER.encode(membership.key.as_bytes()),
            namespace: membership.namespace.clone(),
            record: membership.own.signed.clone(),
            relays: membership.code_relays.iter().map(StoredRelay::of).collect(),
            revocations: membership
                .revocations
                .as_ref()
                .map(|known| known.signed.clone()),
            network_document: membership
                .document
                .as_ref()
                .map(|known| known.signed.clone()),
        }
    }

    /// The network it is about.
    ///
    /// # Errors
    /// When the key is none.
    pub fn net(&self) -> Result<NetworkId, StoredError> {
        Ok(NetworkId::of(&self.key()?))
    }

    /// The membership, verified for `me`. Its record may have expired: see [`Membership::holds`].
    ///
    /// # Errors
    /// When it is of another version, or anything in it is not for `me` by the stored key.
    pub fn restore(self, me: PeerId, now: UnixTime) -> Result<Membership, StoredError> {
        if self.version != VERSION {
            return Err(StoredError::Version(self.version));
        }
        let key = self.key()?;
        let content = match rules::check(&self.record, &key, &me, now, None) {
            Ok(record) => record,
            Err(Refusal::Expired(record)) => *record,
            Err(refusal) => return Err(refusal.into()),
        };
        let mut membership = Membership {
            me,
            key,
            namespace: self.namespace,
            own: Known {
                signed: self.record,
                content,
            },
            code_relays: self.relays.into_iter().map(StoredRelay::restore).collect(),
            revocations: None,
            document: None,
        };
        self.revocations
            .map(|signed| membership.take_revocations(signed, now))
            .transpose()?;
        self.network_document
            .map(|signed| membership.take_document(signed, now))
            .transpose()?;
        Ok(membership)
    }

    fn key(&self) -> Result<VerifyingKey, StoredError> {
        let bytes = HEXLOWER
            .decode(self.network_public_key.as_bytes())
            .map_err(|_| StoredError::Key)?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| StoredError::Key)?;
        VerifyingKey::from_bytes(&bytes).map_err(|_| StoredError::Key)
    }
}

impl StoredRelay {
    fn of(relay: &Responder) -> Self {
        Self {
            peer: relay.peer,
            addresses: relay.addresses.clone(),
        }
    }

    fn restore(self) -> Responder {
        Responder {
            peer: self.peer,
            addresses: self.addresses,
        }
    }
}
