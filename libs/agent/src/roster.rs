//! The members of the network, as a relay tells them (pure). The relay is not believed: a record is verified when
//! it is used, by [`Membership::check_record`].

use std::collections::BTreeMap;

use peerup_protocol::frame::{RosterAsk, RosterPage};
use peerup_protocol::id::{PeerName, Serial};
use peerup_protocol::record::{MemberRecord, Signed};
use peerup_protocol::{PeerId, UnixTime};

use crate::membership::Membership;

/// More members than a network can have; a relay that tells more is not listened to.
const MAX_MEMBERS: usize = 20_000;

/// What a relay tells cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RosterError {
    /// More than any network has.
    #[error("the relay's roster has more than {MAX_MEMBERS} members")]
    TooMany,
    /// Changes of another run than the one that is known or has begun to be told.
    #[error("the relay told changes of another run without telling everything first")]
    OtherRun,
}

type Table = BTreeMap<Serial, (MemberRecord, Signed)>;

/// What is known of the other members, and up to where.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roster {
    run: u64,
    seq: u64,
    members: Table,
    /// A full sync that has begun: its run, and what it has repeated so far.
    syncing: Option<(u64, Table)>,
}

impl Roster {
    /// What to ask a relay for: all that came after what is known.
    #[must_use]
    pub(crate) const fn ask(&self) -> RosterAsk {
        RosterAsk::Sync {
            run: self.run,
            seq: self.seq,
        }
    }

    /// A new stream begins: a full sync that did not end will not go on there.
    pub(crate) fn restart(&mut self) {
        self.syncing = None;
    }

    /// True if `other` is a later state of the same run. States of two runs have no order.
    #[must_use]
    pub(crate) const fn is_before(&self, other: &Self) -> bool {
        self.run == other.run && self.seq < other.seq
    }

    /// Takes a page; true when the members are now complete and may have changed.
    ///
    /// # Errors
    /// [`RosterError`]; what was told so far of a full sync is lost then.
    pub(crate) fn take(&mut self, page: RosterPage) -> Result<bool, RosterError> {
        if page.full {
            self.syncing = Some((page.run, Table::new()));
        }
        let run = self.syncing.as_ref().map_or(self.run, |(run, _)| *run);
        if page.run != run {
            self.syncing = None;
            return Err(RosterError::OtherRun);
        }
        let table = match &mut self.syncing {
            Some((_, table)) => table,
            None => &mut self.members,
        };
        for signed in page.records {
            insert(table, signed);
        }
        for serial in &page.gone {
            table.remove(serial);
        }
        if table.len() > MAX_MEMBERS {
            self.syncing = None;
            return Err(RosterError::TooMany);
        }
        if page.last {
            if let Some((_, complete)) = self.syncing.take() {
                self.members = complete;
            }
            (self.run, self.seq) = (page.run, page.seq);
        }
        Ok(page.last)
    }

    /// The names of all that the roster holds, whether or not their records hold now.
    pub(crate) fn names(&self) -> impl Iterator<Item = &PeerName> {
        self.members.values().map(|(record, _)| &record.name)
    }

    /// Everybody but `me` whose record holds now, verified.
    #[must_use]
    pub(crate) fn verified(
        &self,
        membership: &Membership,
        me: &PeerId,
        now: UnixTime,
    ) -> Vec<MemberRecord> {
        let others = self
            .members
            .values()
            .filter(|(record, _)| record.peer != *me);
        others
            .filter_map(|(record, signed)| membership.check_record(signed, &record.peer, now).ok())
            .collect()
    }
}

/// Not a record: skipped. An older one of the same membership: skipped.
fn insert(table: &mut Table, signed: Signed) {
    let Ok(record) = MemberRecord::decode(&signed.bytes) else {
        tracing::debug!("the roster holds something that is not a member record");
        return;
    };
    let known = table.get(&record.serial);
    if known.is_none_or(|(known, _)| known.issued <= record.issued) {
        table.insert(record.serial, (record, signed));
    }
}

#[cfg(test)]
mod tests;
