//! The membership as it lies in the state directory. What is read is verified like anything from outside, but for
//! the network's key, which only the owner of the directory can have put there.

use data_encoding::HEXLOWER;
use peerup_pairing::membership::{self as rules, GuestRefusal, Refusal, check_own_grant};
use peerup_protocol::code::Responder;
use peerup_protocol::id::{DhtNamespace, NetworkId, PeerName};
use peerup_protocol::record::{GuestGrant, MemberRecord, NetworkDocument, Revocations, Signed};
use peerup_protocol::{Multiaddr, PeerId, UnixTime, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::{Hosted, Known, Membership};

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    version: u8,
    /// Lower-case hex; a guest does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network_public_key: Option<String>,
    namespace: DhtNamespace,
    /// The sponsor's name, at a guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sponsor: Option<PeerName>,
    /// Of a guest its grant.
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
            network_public_key: membership.key.map(|key| HEXLOWER.encode(key.as_bytes())),
            namespace: membership.namespace.clone(),
            sponsor: membership.hosted().map(|hosted| hosted.sponsor.clone()),
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
    /// When the key, or a guest's grant, is none.
    pub fn net(&self) -> Result<NetworkId, StoredError> {
        match self.sponsor {
            Some(_) => Ok(self.grant()?.net),
            None => Ok(NetworkId::of(&self.key()?)),
        }
    }

    /// The membership, verified for `me`. Its record may have expired: see [`Membership::holds`]. The clock may be behind
    /// what it was when all this came: what was good then is not damaged.
    ///
    /// # Errors
    /// When it is of another version, or anything in it is not for `me` by the stored key.
    pub fn restore(self, me: PeerId, now: UnixTime) -> Result<Membership, StoredError> {
        if self.version != VERSION {
            return Err(StoredError::Version(self.version));
        }
        let own = self.own(me, now)?;
        let mut membership = Membership {
            me,
            net: own.record.net,
            key: own.key,
            namespace: self.namespace,
            own: Known {
                signed: self.record,
                content: own.record,
            },
            hosted: own.hosted,
            code_relays: self.relays.into_iter().map(StoredRelay::restore).collect(),
            revocations: None,
            document: None,
        };
        if let Some(signed) = self.revocations {
            let list = Revocations::decode(&signed.bytes).map_err(Refusal::Decode)?;
            membership.take_revocations(signed, now.max(list.issued))?;
        }
        if let Some(signed) = self.network_document {
            let document = NetworkDocument::decode(&signed.bytes).map_err(Refusal::Decode)?;
            membership.take_document(signed, now.max(document.issued))?;
        }
        Ok(membership)
    }

    fn own(&self, me: PeerId, now: UnixTime) -> Result<Own, StoredError> {
        if let Some(sponsor) = &self.sponsor {
            let grant = self.grant()?;
            let then = now.max(grant.issued);
            match check_own_grant(&self.record, &grant.net, &me, &grant.sponsor, then) {
                Ok(_) | Err(GuestRefusal::Expired) => (),
                Err(refusal) => return Err(Refusal::Guest(refusal).into()),
            }
            let sponsor = sponsor.clone();
            let hosted = Hosted { grant, sponsor };
            return Ok(Own {
                key: None,
                record: hosted.as_record(),
                hosted: Some(hosted),
            });
        }
        let key = self.key()?;
        let record = MemberRecord::decode(&self.record.bytes).map_err(Refusal::Decode)?;
        let then = now.max(record.issued);
        let record = match rules::check(&self.record, &key, &me, then, None) {
            Ok(record) => record,
            Err(Refusal::Expired(record)) => *record,
            Err(refusal) => return Err(refusal.into()),
        };
        Ok(Own {
            key: Some(key),
            record,
            hosted: None,
        })
    }

    fn grant(&self) -> Result<GuestGrant, StoredError> {
        let grant = GuestGrant::decode(&self.record.bytes);
        grant.map_err(|error| Refusal::Decode(error).into())
    }

    fn key(&self) -> Result<VerifyingKey, StoredError> {
        let text = self.network_public_key.as_ref().ok_or(StoredError::Key)?;
        let bytes = HEXLOWER
            .decode(text.as_bytes())
            .map_err(|_| StoredError::Key)?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| StoredError::Key)?;
        VerifyingKey::from_bytes(&bytes).map_err(|_| StoredError::Key)
    }
}

/// The verified own part.
struct Own {
    key: Option<VerifyingKey>,
    record: MemberRecord,
    hosted: Option<Hosted>,
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
