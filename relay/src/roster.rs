//! What this relay knows about its network: members, revocations, network document. Pure state; everything that
//! comes in is checked against the network's key first, from the operator, from peers and from our own disk alike.
//!
//! A member is known because the operator's roster lists it, or because it presented a record of its own (one
//! that is newer than the roster, or not yet in it). Of two records with one serial the one issued later counts.

mod history;

use std::collections::{BTreeMap, BTreeSet};

use history::History;
use peerup_node::member::{KnownList, Presented};
use peerup_pairing::membership::{self, Refusal};
use peerup_protocol::api::RosterAnswer;
use peerup_protocol::frame::RosterPage;
use peerup_protocol::id::{NetworkId, Serial};
use peerup_protocol::record::{MemberRecord, Method, NetworkDocument, Revocations, Signed};
use peerup_protocol::{Multiaddr, PeerId, UnixTime, VerifyingKey};

/// Members known by presentation only; beyond, the one whose record ends first is forgotten.
const MAX_PRESENTED: usize = 1024;

/// Why something that came in is not taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// The revocation list is not good.
    #[error("the revocation list is refused: {0}")]
    Revocations(#[source] Refusal),
    /// The network document is not good.
    #[error("the network document is refused: {0}")]
    Document(#[source] Refusal),
}

/// Members, lists and where in the operator's roster we are.
#[derive(Debug, Clone)]
pub(crate) struct Roster {
    key: VerifyingKey,
    net: NetworkId,
    position: Position,
    /// Counts the changes of who is in the operator's roster; renewals are none.
    generation: u64,
    history: History,
    members: BTreeMap<Serial, Member>,
    revocations: Option<Genuine<Revocations>>,
    document: Option<Genuine<NetworkDocument>>,
}

/// A point in the operator's roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// Drawn at the leader's election; 0 before the first answer.
    pub(crate) run: u64,
    /// The leader's counter.
    pub(crate) seq: u64,
}

#[derive(Debug, Clone)]
struct Member {
    record: MemberRecord,
    signed: Signed,
    /// In the operator's roster, not only presented.
    listed: bool,
}

/// Checked, and as it travels.
#[derive(Debug, Clone)]
struct Genuine<T> {
    list: T,
    signed: Signed,
}

impl Roster {
    /// Knows nobody yet; `key` is the network's.
    #[must_use]
    pub(crate) fn new(key: VerifyingKey) -> Self {
        Self {
            key,
            net: NetworkId::of(&key),
            position: Position::default(),
            generation: 0,
            history: History::default(),
            members: BTreeMap::new(),
            revocations: None,
            document: None,
        }
    }

    /// The network served.
    #[must_use]
    pub(crate) const fn net(&self) -> NetworkId {
        self.net
    }

    /// How far we know the operator's roster.
    #[must_use]
    pub(crate) const fn position(&self) -> Position {
        self.position
    }

    /// Takes over an answer of the operator; lists that are older than ours are ignored. Gives the number of
    /// records that failed their check and were left out.
    ///
    /// # Errors
    /// When one of the two lists is not genuine; then nothing changes.
    pub(crate) fn apply(
        &mut self,
        answer: RosterAnswer,
        now: UnixTime,
    ) -> Result<usize, ListError> {
        let revocations = self
            .check_revocations(answer.revocations, now)
            .map_err(ListError::Revocations)?;
        let document = self
            .check_document(answer.network_document, now)
            .map_err(ListError::Document)?;
        self.take_revocations(revocations);
        self.take_document(document);
        let before = self.serials();
        let given = answer.records.len();
        let listed: BTreeSet<Serial> = answer
            .records
            .into_iter()
            .filter_map(|signed| self.list(signed))
            .collect();
        if answer.full {
            self.members
                .retain(|serial, member| !member.listed || listed.contains(serial));
        }
        for serial in answer.gone {
            self.members.remove(&serial);
        }
        let after = self.serials();
        before
            .difference(&after)
            .for_each(|serial| self.history.remove(*serial));
        self.generation += u64::from(before != after);
        self.position = Position {
            run: answer.run,
            seq: answer.seq,
        };
        self.history.arrive(self.position);
        Ok(given.saturating_sub(listed.len()))
    }

    /// Takes over the record that `peer` shows as its own.
    ///
    /// # Errors
    /// Why the peer is not a member at `now`.
    pub(crate) fn present(
        &mut self,
        signed: &Signed,
        peer: &PeerId,
        now: UnixTime,
    ) -> Result<MemberRecord, Refusal> {
        let revocations = self.revocations.as_ref().map(|genuine| &genuine.list);
        let record = membership::check(signed, &self.key, peer, now, revocations)?;
        let listed = self
            .members
            .get(&record.serial)
            .is_some_and(|known| known.listed);
        self.insert(record.clone(), signed.clone(), listed);
        self.bound_presented();
        Ok(record)
    }

    /// Takes over a revocation list that a peer knows; true when it was newer than ours.
    ///
    /// # Errors
    /// When it is not genuine.
    pub(crate) fn offer_revocations(
        &mut self,
        signed: Signed,
        now: UnixTime,
    ) -> Result<bool, Refusal> {
        let revocations = self.check_revocations(signed, now)?;
        Ok(self.take_revocations(revocations))
    }

    /// Whether `peer` has a record that is good at `now`.
    #[must_use]
    pub(crate) fn is_member(&self, peer: &PeerId, now: UnixTime) -> bool {
        self.members
            .values()
            .any(|member| member.record.peer == *peer && self.is_good(&member.record, now))
    }

    /// Whether `peer` is a pod of the network's own cluster, as a record says that is good at `now`.
    #[must_use]
    pub(crate) fn is_attested_here(&self, peer: &PeerId, now: UnixTime) -> bool {
        let Some(document) = self.document.as_ref().map(|genuine| &genuine.list) else {
            return false;
        };
        self.members.values().any(|Member { record, .. }| {
            let cluster = record.subject.split('/').next();
            record.peer == *peer
                && record.method == Method::Attested
                && cluster == Some(document.cluster.as_str())
                && self.is_good(record, now)
        })
    }

    /// Addresses of the other relays, as the network document tells them.
    #[must_use]
    pub(crate) fn others_addresses(&self, me: &PeerId) -> Vec<Multiaddr> {
        let documents = self.document.iter().map(|genuine| &genuine.list);
        let relays = documents.flat_map(|document| &document.relays);
        let others = relays.filter(|relay| relay.peer != *me);
        others.flat_map(|relay| relay.addresses.clone()).collect()
    }

    /// The PeerIds whose records are good at `now`.
    #[must_use]
    pub(crate) fn members(&self, now: UnixTime) -> BTreeSet<PeerId> {
        self.members
            .values()
            .filter(|member| self.is_good(&member.record, now))
            .map(|member| member.record.peer)
            .collect()
    }

    /// When the next good record ends, so that [`Self::members`] changes by itself.
    #[must_use]
    pub(crate) fn next_end(&self, now: UnixTime) -> Option<UnixTime> {
        self.members
            .values()
            .filter(|member| self.is_good(&member.record, now))
            .map(|member| member.record.not_after)
            .min()
    }

    /// Forgets records that nobody can use any more: over, or revoked, and not in the operator's roster.
    pub(crate) fn forget_ended(&mut self, now: UnixTime) {
        let revocations = self.revocations.as_ref().map(|genuine| &genuine.list);
        self.members.retain(|_, member| {
            member.listed
                || (now < member.record.not_after
                    && revocations.is_none_or(|list| !list.contains(member.record.serial)))
        });
    }

    /// What this relay shows on `member`: the network document is its credential. `None` before the lists are known.
    #[must_use]
    pub(crate) fn presented(&self) -> Option<Presented> {
        let (document, revocations) = (self.document.as_ref()?, self.revocations.as_ref()?);
        Some(Presented {
            credential: document.signed.clone(),
            revocations: Some(KnownList {
                epoch: revocations.list.epoch,
                issued: revocations.list.issued,
                signed: revocations.signed.clone(),
            }),
        })
    }

    /// The newest revocations and network document as they travel.
    #[must_use]
    pub(crate) fn lists(&self) -> Option<(Signed, Signed)> {
        let (revocations, document) = (self.revocations.as_ref()?, self.document.as_ref()?);
        Some((revocations.signed.clone(), document.signed.clone()))
    }

    /// Whether the network document allows guests; not before it is known.
    pub(crate) fn allows_guests(&self) -> bool {
        let document = self.document.as_ref();
        document.is_some_and(|document| document.list.flags.guests)
    }

    /// The newest revocations.
    pub(crate) fn revocations(&self) -> Option<&Revocations> {
        self.revocations.as_ref().map(|genuine| &genuine.list)
    }

    /// Counts the changes of who is in the operator's roster.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Counts the changes of the operator's roster, renewals too.
    pub(crate) const fn version(&self) -> u64 {
        self.history.version()
    }

    /// The version at a position of the operator's roster where this relay has been.
    pub(crate) fn version_at(&self, position: Position) -> Option<u64> {
        self.history.at(position)
    }

    /// What changed in the operator's roster after a version, in one page; `None` when that is not remembered.
    pub(crate) fn page_after(&self, version: u64) -> Option<RosterPage> {
        let (changed, gone) = self.history.after(version)?;
        let changed = changed.iter().filter_map(|serial| self.members.get(serial));
        Some(RosterPage {
            run: self.position.run,
            seq: self.position.seq,
            full: false,
            last: true,
            records: changed.map(|member| member.signed.clone()).collect(),
            gone,
        })
    }

    /// The operator's roster, whole, in one page.
    #[must_use]
    pub(crate) fn page(&self) -> RosterPage {
        RosterPage {
            run: self.position.run,
            seq: self.position.seq,
            full: true,
            last: true,
            records: self.listed(),
            gone: Vec::new(),
        }
    }

    /// All that an answer of the operator could have said, to be kept on disk; `None` before the lists are known.
    #[must_use]
    pub(crate) fn to_answer(&self) -> Option<RosterAnswer> {
        let (revocations, network_document) = self.lists()?;
        Some(RosterAnswer {
            run: self.position.run,
            seq: self.position.seq,
            full: true,
            records: self.listed(),
            gone: Vec::new(),
            revocations,
            network_document,
        })
    }

    fn serials(&self) -> BTreeSet<Serial> {
        let listed = self.members.iter().filter(|(_, member)| member.listed);
        listed.map(|(serial, _)| *serial).collect()
    }

    fn listed(&self) -> Vec<Signed> {
        self.members
            .values()
            .filter(|member| member.listed)
            .map(|member| member.signed.clone())
            .collect()
    }

    fn bound_presented(&mut self) {
        let presented = || self.members.values().filter(|member| !member.listed);
        if presented().count() > MAX_PRESENTED {
            let first = presented().min_by_key(|member| member.record.not_after);
            if let Some(serial) = first.map(|member| member.record.serial) {
                self.members.remove(&serial);
            }
        }
    }

    /// Takes over a record of the operator's roster. Its time may be over: the operator does not count renewals
    /// as changes, so the peer may hold a newer one.
    fn list(&mut self, signed: Signed) -> Option<Serial> {
        let record = MemberRecord::decode(&signed.bytes).ok()?;
        let serial = record.serial;
        if let Some(known) = self.members.get_mut(&serial)
            && known.signed == signed
        {
            if !known.listed {
                known.listed = true;
                self.history.change(serial);
            }
            return Some(serial);
        }
        if record.net != self.net || signed.verify(&self.key).is_err() {
            return None;
        }
        self.insert(record, signed, true);
        Some(serial)
    }

    fn insert(&mut self, record: MemberRecord, signed: Signed, listed: bool) {
        let serial = record.serial;
        let has_changed = match self.members.get_mut(&serial) {
            Some(known) if known.record.issued >= record.issued => {
                std::mem::replace(&mut known.listed, listed) != listed
            }
            Some(_) | None => {
                let member = Member {
                    record,
                    signed,
                    listed,
                };
                self.members.insert(serial, member);
                true
            }
        };
        if listed && has_changed {
            self.history.change(serial);
        }
    }

    fn is_good(&self, record: &MemberRecord, now: UnixTime) -> bool {
        let revocations = self.revocations.as_ref();
        now < record.not_after
            && revocations.is_none_or(|genuine| !genuine.list.contains(record.serial))
    }

    fn check_revocations(
        &self,
        signed: Signed,
        now: UnixTime,
    ) -> Result<Genuine<Revocations>, Refusal> {
        let list = membership::check_revocations(&signed, &self.key, now)?;
        Ok(Genuine { list, signed })
    }

    fn check_document(
        &self,
        signed: Signed,
        now: UnixTime,
    ) -> Result<Genuine<NetworkDocument>, Refusal> {
        let list = membership::check_document(&signed, &self.key, now)?;
        Ok(Genuine { list, signed })
    }

    fn take_revocations(&mut self, new: Genuine<Revocations>) -> bool {
        let version = |genuine: &Genuine<Revocations>| (genuine.list.epoch, genuine.list.issued);
        let newer = self
            .revocations
            .as_ref()
            .is_none_or(|old| version(old) < version(&new));
        if newer {
            self.revocations = Some(new);
        }
        newer
    }

    fn take_document(&mut self, new: Genuine<NetworkDocument>) {
        let old = self.document.as_ref();
        if old.is_none_or(|old| old.list.version() < new.list.version()) {
            self.document = Some(new);
        }
    }
}

#[cfg(test)]
mod tests;
