//! The members of the network, as a relay tells them (pure). The relay is not believed: a record is verified when
//! it is used, by [`Membership::check_record`].

use std::collections::BTreeMap;

use peerup_protocol::frame::{RosterAsk, RosterPage};
use peerup_protocol::id::Serial;
use peerup_protocol::record::{MemberRecord, Signed};
use peerup_protocol::{PeerId, UnixTime};

use crate::membership::Membership;

/// More members than a network can have; a relay that tells more is not listened to.
const MAX_MEMBERS: usize = 20_000;

/// A relay told more than any network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the relay's roster has more than {MAX_MEMBERS} members")]
pub(crate) struct TooMany;

type Table = BTreeMap<Serial, (MemberRecord, Signed)>;

/// What is known of the other members, and up to where.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roster {
    run: u64,
    seq: u64,
    members: Table,
    /// A full sync that has begun: what it has repeated so far.
    syncing: Option<Table>,
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

    /// Takes a page; true when the members are now complete and may have changed.
    ///
    /// # Errors
    /// [`TooMany`], before anything is taken over.
    pub(crate) fn take(&mut self, page: RosterPage) -> Result<bool, TooMany> {
        if page.full {
            self.syncing = Some(Table::new());
        }
        let table = self.syncing.as_mut().unwrap_or(&mut self.members);
        for signed in page.records {
            insert(table, signed);
        }
        for serial in &page.gone {
            table.remove(serial);
        }
        if table.len() > MAX_MEMBERS {
            self.syncing = None;
            return Err(TooMany);
        }
        if page.last {
            if let Some(complete) = self.syncing.take() {
                self.members = complete;
            }
            (self.run, self.seq) = (page.run, page.seq);
        }
        Ok(page.last)
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
