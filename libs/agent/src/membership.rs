//! What a peer holds and believes about its network: its own record, the network's key, the newest signed lists
//! (pure). Everything that comes from others is verified here, whoever passed it on.
//!
//! A guest holds a grant of its sponsor in place of a record and does not know the network's key: it accepts its
//! sponsor and the relays of its code by their identities, and takes neither lists nor records from anybody.

use peerup_pairing::membership::{self as rules, Refusal};
use peerup_protocol::code::Responder;
use peerup_protocol::id::{DhtNamespace, NetworkId, Serial};
use peerup_protocol::record::{
    GuestGrant, MemberRecord, NetworkDocument, RecordKind, Revocations, STALE_SECONDS, Signed,
    relays_of,
};
use peerup_protocol::{Multiaddr, PeerId, UnixTime, VerifyingKey};

mod guest;
mod stored;

pub use guest::Hosted;
pub(crate) use guest::as_record;
pub use stored::{Stored, StoredError};

/// What a verified credential makes of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// A member, until its record ends.
    Member(MemberRecord),
    /// One of the network's relays.
    Relay,
    /// A guest of this peer, until its grant ends.
    Guest(GuestGrant),
    /// The sponsor of this peer, which is a guest.
    Sponsor,
}

/// A relay, its place in the network, and where to dial it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayAt {
    /// Position in the network document, or in the code before the first document.
    pub ordinal: usize,
    /// Its identity.
    pub peer: PeerId,
    /// All its addresses, STUN ones too.
    pub addresses: Vec<Multiaddr>,
}

/// A signed list with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known<T> {
    signed: Signed,
    content: T,
}

/// One peer's membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    me: PeerId,
    net: NetworkId,
    /// None at a guest.
    key: Option<VerifyingKey>,
    namespace: DhtNamespace,
    own: Known<MemberRecord>,
    /// At a guest only: whose it is.
    hosted: Option<Hosted>,
    code_relays: Vec<Responder>,
    revocations: Option<Known<Revocations>>,
    document: Option<Known<NetworkDocument>>,
}

impl Membership {
    /// A membership as it comes out of pairing: the record, the key that signed it, the relays of the code.
    ///
    /// # Errors
    /// When the record is not one for `me` that holds at `now`.
    pub fn new(
        me: PeerId,
        key: VerifyingKey,
        namespace: DhtNamespace,
        record: Signed,
        code_relays: Vec<Responder>,
        now: UnixTime,
    ) -> Result<Self, Refusal> {
        let content = rules::check(&record, &key, &me, now, None)?;
        Ok(Self {
            me,
            net: content.net,
            key: Some(key),
            namespace,
            own: Known {
                signed: record,
                content,
            },
            hosted: None,
            code_relays,
            revocations: None,
            document: None,
        })
    }

    /// The network.
    #[must_use]
    pub const fn net(&self) -> NetworkId {
        self.net
    }

    /// The network's name on the wire.
    #[must_use]
    pub const fn namespace(&self) -> &DhtNamespace {
        &self.namespace
    }

    /// This peer's record; at a guest what its grant says, in the words of a record.
    #[must_use]
    pub const fn record(&self) -> &MemberRecord {
        &self.own.content
    }

    /// This peer's record or grant as it travels.
    #[must_use]
    pub const fn credential(&self) -> &Signed {
        &self.own.signed
    }

    /// The newest revocation list as it travels, with what orders it.
    #[must_use]
    pub fn revocations(&self) -> Option<(&Signed, (u64, UnixTime))> {
        let known = self.revocations.as_ref()?;
        Some((&known.signed, known.content.version()))
    }

    /// True while the own record admits this peer.
    #[must_use]
    pub fn holds(&self, now: UnixTime) -> bool {
        now < self.own.content.not_after && !self.is_revoked(self.own.content.serial)
    }

    /// True if the serial is on the newest list.
    #[must_use]
    pub fn is_revoked(&self, serial: Serial) -> bool {
        self.revocations
            .as_ref()
            .is_some_and(|known| known.content.contains(serial))
    }

    /// Takes a renewed record; false when it is not newer than the present one.
    ///
    /// # Errors
    /// When it does not admit this peer.
    pub fn renew(&mut self, record: Signed, now: UnixTime) -> Result<bool, Refusal> {
        let content = self.check_record(&record, &self.me, now)?;
        let newer = content.issued > self.own.content.issued;
        if newer {
            self.own = Known {
                signed: record,
                content,
            };
        }
        Ok(newer)
    }

    /// Takes a revocation list; false when it is not newer than the present one.
    ///
    /// # Errors
    /// When it is not the network's.
    pub fn take_revocations(&mut self, signed: Signed, now: UnixTime) -> Result<bool, Refusal> {
        let Some(key) = &self.key else {
            return Ok(false);
        };
        let content = rules::check_revocations(&signed, key, now)?;
        let newer = self
            .revocations
            .as_ref()
            .is_none_or(|known| known.content.version() < content.version());
        if newer {
            self.revocations = Some(Known { signed, content });
        }
        Ok(newer)
    }

    /// Takes a network document; false when it is not newer than the present one.
    ///
    /// # Errors
    /// When it is not the network's.
    pub fn take_document(&mut self, signed: Signed, now: UnixTime) -> Result<bool, Refusal> {
        let Some(key) = &self.key else {
            return Ok(false);
        };
        let content = rules::check_document(&signed, key, now)?;
        let newer = self
            .document
            .as_ref()
            .is_none_or(|known| known.content.version() < content.version());
        if newer {
            self.document = Some(Known { signed, content });
        }
        Ok(newer)
    }

    /// What `peer`, proved by its connection, is by the credential that it shows. A relay shows the network
    /// document, which is taken if it is newer.
    ///
    /// # Errors
    /// When the credential does not admit `peer` at `now`.
    pub fn check(
        &mut self,
        peer: &PeerId,
        credential: Signed,
        now: UnixTime,
    ) -> Result<Standing, Refusal> {
        if let Some(hosted) = &self.hosted {
            return hosted.check(peer, self.is_relay(peer), now);
        }
        if RecordKind::of(&credential.bytes) != Some(RecordKind::Network) {
            return self
                .check_record(&credential, peer, now)
                .map(Standing::Member);
        }
        self.take_document(credential, now)?;
        if self.is_relay(peer) {
            Ok(Standing::Relay)
        } else {
            Err(Refusal::OtherPeer)
        }
    }

    /// True while a peer that was admitted as `standing` still is that at `now`.
    #[must_use]
    pub fn stands(&self, peer: &PeerId, standing: &Standing, now: UnixTime) -> bool {
        match standing {
            Standing::Member(record) => now < record.not_after && !self.is_revoked(record.serial),
            Standing::Relay => self.is_relay(peer),
            Standing::Guest(grant) => {
                self.allows_guests() && now < grant.not_after && !self.is_revoked(grant.serial)
            }
            Standing::Sponsor => self.holds(now),
        }
    }

    /// The newest network document.
    #[must_use]
    pub fn document(&self) -> Option<&NetworkDocument> {
        self.document.as_ref().map(|known| &known.content)
    }

    /// Whether the newest network document allows guests; not before it is known.
    #[must_use]
    pub fn allows_guests(&self) -> bool {
        self.document()
            .is_some_and(|document| document.flags.guests)
    }

    /// The newest revocation list.
    pub(crate) fn revoked(&self) -> Option<&Revocations> {
        self.revocations.as_ref().map(|known| &known.content)
    }

    /// When the newest revocation list was signed.
    pub(crate) fn revocations_time(&self) -> Option<UnixTime> {
        self.revoked().map(|list| list.issued)
    }

    /// Whether this peer would have heard of a revocation. A guest hears of none: its sponsor does.
    #[must_use]
    pub fn hears_of_revocations(&self, now: UnixTime) -> bool {
        let lately = |issued: UnixTime| now < issued.saturating_add(STALE_SECONDS);
        self.hosted.is_some() || self.revocations_time().is_some_and(lately)
    }

    /// What orders the newest network document.
    #[must_use]
    pub fn document_version(&self) -> Option<(u64, UnixTime)> {
        self.document.as_ref().map(|known| known.content.version())
    }

    /// A member record of anybody, at the time of use.
    ///
    /// # Errors
    /// When it does not admit `peer` at `now`.
    pub fn check_record(
        &self,
        record: &Signed,
        peer: &PeerId,
        now: UnixTime,
    ) -> Result<MemberRecord, Refusal> {
        let key = self.key.as_ref().ok_or(Refusal::BadSignature)?;
        let revocations = self.revocations.as_ref().map(|known| &known.content);
        rules::check(record, key, peer, now, revocations)
    }

    /// True if the newest document names it, before the first one the code.
    #[must_use]
    pub fn is_relay(&self, peer: &PeerId) -> bool {
        match &self.document {
            Some(known) => known.content.relay(peer).is_some(),
            None => self.code_relays.iter().any(|relay| relay.peer == *peer),
        }
    }

    /// The relays that serve this peer: its two of the document, before the first one all of the code.
    #[must_use]
    pub fn my_relays(&self) -> Vec<RelayAt> {
        if self.document.is_some() {
            return self.relays_of(&self.me);
        }
        let relays = self.code_relays.iter().enumerate();
        relays
            .map(|(ordinal, relay)| RelayAt {
                ordinal,
                peer: relay.peer,
                addresses: relay.addresses.clone(),
            })
            .collect()
    }

    /// The relays that serve `peer`; none before the first document. A guest and its sponsor meet at the sponsor's,
    /// which are those of the guest's code.
    #[must_use]
    pub fn relays_of(&self, peer: &PeerId) -> Vec<RelayAt> {
        if self.hosted.is_some() {
            return self.my_relays();
        }
        let Some(known) = &self.document else {
            return Vec::new();
        };
        let at = |relay: &PeerId| {
            known
                .content
                .relays
                .iter()
                .position(|other| other.peer == *relay)
        };
        relays_of(&known.content, peer)
            .into_iter()
            .map(|relay| RelayAt {
                ordinal: at(&relay.peer).unwrap_or_default(),
                peer: relay.peer,
                addresses: relay.addresses.clone(),
            })
            .collect()
    }

    /// Every relay of the newest document, or of the code.
    #[must_use]
    pub fn all_relays(&self) -> Vec<RelayAt> {
        let Some(known) = &self.document else {
            return self.my_relays();
        };
        let relays = known.content.relays.iter().enumerate();
        relays
            .map(|(ordinal, relay)| RelayAt {
                ordinal,
                peer: relay.peer,
                addresses: relay.addresses.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
