//! The roster as a relay follows it: all of it first, then what is different.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use peerup_protocol::api::{RosterAnswer, path};
use peerup_protocol::id::Serial;
use peerup_protocol::record::{MemberRecord, Revocations};

use super::world::Relay;

/// One poll.
pub(super) async fn roster(relay: &Relay<'_>, run: u64, seq: u64) -> Result<RosterAnswer> {
    let ask = format!("{}?run={run}&seq={seq}", path::ROSTER);
    relay.get(&ask).await?.ok()
}

/// What a relay knows by the answers that it got.
#[derive(Debug)]
pub(super) struct Roll {
    members: BTreeMap<Serial, String>,
    /// The newest answer.
    pub(super) last: RosterAnswer,
}

impl Roll {
    /// Of a relay that knows nothing yet.
    pub(super) async fn of(relay: &Relay<'_>) -> Result<Self> {
        let last = roster(relay, 0, 0).await?;
        ensure!(last.full, "{last:?}");
        let members = BTreeMap::new();
        let mut roll = Self { members, last };
        roll.take()?;
        Ok(roll)
    }

    /// Waits for the next answer.
    pub(super) async fn follow(&mut self, relay: &Relay<'_>) -> Result<()> {
        self.last = roster(relay, self.last.run, self.last.seq).await?;
        self.take()
    }

    fn take(&mut self) -> Result<()> {
        if self.last.full {
            self.members.clear();
        }
        for signed in &self.last.records {
            let record = MemberRecord::decode(&signed.bytes)?;
            self.members.insert(record.serial, record.name.to_string());
        }
        for serial in &self.last.gone {
            self.members.remove(serial);
        }
        Ok(())
    }

    /// Names of the members, sorted.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.members.values().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Serials of the members, and of the revoked.
    pub(super) fn serials(&self) -> Result<(Vec<Serial>, Vec<Serial>)> {
        let revoked = Revocations::decode(&self.last.revocations.bytes)?.serials;
        let members = self.members.keys().copied().collect();
        Ok((members, revoked.into_iter().collect()))
    }
}
