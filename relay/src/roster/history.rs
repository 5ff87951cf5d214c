//! What changed in the roster and when, so that a member that was away is told only that (pure).
//!
//! Every change has a version, a number of this relay's own. The operator's positions are what members know, so the
//! version of each position where this relay has been is remembered: a member that stands at one of them gets what
//! came later. Who stands elsewhere gets everything, because what came and went between two positions of this relay
//! was never seen here.

use std::collections::{BTreeMap, VecDeque};

use peerup_protocol::id::Serial;

use super::Position;

/// Members that are gone and remembered; who was away for longer gets everything.
const MAX_GONE: usize = 4096;
/// Positions that are remembered: at one new list every five minutes, three days of a network where nothing happens.
const MAX_POSITIONS: usize = 1024;

/// Changes of the members that the operator lists.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    version: u64,
    /// The version of each member's last change.
    latest: BTreeMap<Serial, u64>,
    /// Last changes of those who are there.
    changed: BTreeMap<u64, Serial>,
    /// Last changes of those who are not.
    gone: BTreeMap<u64, Serial>,
    /// Who went at or before this version is not remembered.
    forgotten: u64,
    /// Oldest first, of one run.
    positions: VecDeque<(Position, u64)>,
}

impl History {
    /// Counts all changes.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// A member is new, or has another record.
    pub(super) fn change(&mut self, serial: Serial) {
        self.supersede(serial);
        self.changed.insert(self.version, serial);
    }

    /// A member is gone.
    pub(super) fn remove(&mut self, serial: Serial) {
        self.supersede(serial);
        self.gone.insert(self.version, serial);
        if self.gone.len() > MAX_GONE
            && let Some((version, serial)) = self.gone.pop_first()
        {
            self.latest.remove(&serial);
            self.forgotten = version;
        }
    }

    fn supersede(&mut self, serial: Serial) {
        self.version += 1;
        if let Some(former) = self.latest.insert(serial, self.version) {
            self.changed.remove(&former);
            self.gone.remove(&former);
        }
    }

    /// This relay now knows the operator's roster up to here.
    pub(super) fn arrive(&mut self, position: Position) {
        if self
            .positions
            .back()
            .is_some_and(|(last, _)| last.run != position.run)
        {
            self.positions.clear();
        }
        // Told again the same: what has changed meanwhile came after it.
        if self
            .positions
            .back()
            .is_none_or(|(last, _)| *last != position)
        {
            self.positions.push_back((position, self.version));
        }
        if self.positions.len() > MAX_POSITIONS {
            self.positions.pop_front();
        }
    }

    /// The version at a position where this relay has been.
    pub(super) fn at(&self, position: Position) -> Option<u64> {
        let mut known = self.positions.iter();
        known
            .find(|(known, _)| *known == position)
            .map(|(_, version)| *version)
    }

    /// Members that changed after a version, and those that went; `None` when not all that came later is remembered.
    pub(super) fn after(&self, version: u64) -> Option<(Vec<Serial>, Vec<Serial>)> {
        let later =
            |log: &BTreeMap<u64, Serial>| log.range(version + 1..).map(|(_, s)| *s).collect();
        (version >= self.forgotten).then(|| (later(&self.changed), later(&self.gone)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(seq: u64) -> Position {
        Position { run: 7, seq }
    }

    fn after(history: &History, position: Position) -> Option<(Vec<u64>, Vec<u64>)> {
        let (changed, gone) = history.after(history.at(position)?)?;
        let numbers = |serials: Vec<Serial>| serials.into_iter().map(|serial| serial.0).collect();
        Some((numbers(changed), numbers(gone)))
    }

    /// 1 and 2 come, 3 comes and 1 goes, 1 comes again.
    fn history() -> History {
        let mut history = History::default();
        history.change(Serial(1));
        history.change(Serial(2));
        history.arrive(position(10));
        history.change(Serial(3));
        history.remove(Serial(1));
        history.arrive(position(12));
        history.change(Serial(1));
        history.arrive(position(15));
        history
    }

    #[test]
    fn what_came_after_a_position() {
        let history = history();
        assert_eq!(after(&history, position(10)), Some((vec![3, 1], vec![])));
        assert_eq!(after(&history, position(12)), Some((vec![1], vec![])));
        assert_eq!(after(&history, position(15)), Some((vec![], vec![])));
    }

    #[test]
    fn where_this_relay_has_not_been_everything_is_told() {
        let history = history();
        let other = Position { run: 8, seq: 10 };
        for elsewhere in [Position::default(), position(11), position(16), other] {
            assert_eq!(after(&history, elsewhere), None);
        }
    }

    #[test]
    fn another_run_begins_anew() {
        let mut history = history();
        let other = Position { run: 8, seq: 10 };
        history.arrive(other);
        assert_eq!(after(&history, position(15)), None);
        assert_eq!(after(&history, other), Some((vec![], vec![])));
    }

    #[test]
    fn renewals_at_one_position_do_not_hide_what_is_told() {
        let mut history = history();
        history.change(Serial(2));
        for _ in 0..MAX_POSITIONS {
            history.arrive(position(15));
        }
        assert_eq!(after(&history, position(15)), Some((vec![2], vec![])));
        assert!(after(&history, position(10)).is_some());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut history = history();
        for serial in 0..MAX_GONE as u64 {
            history.remove(Serial(1000 + serial));
        }
        assert!(after(&history, position(15)).is_some());
        history.remove(Serial(1));
        assert_eq!(after(&history, position(15)), None);
        assert_eq!(history.gone.len(), MAX_GONE);
        for seq in 0..=MAX_POSITIONS as u64 {
            history.arrive(position(100 + seq));
        }
        assert_eq!(history.positions.len(), MAX_POSITIONS);
        assert_eq!(after(&history, position(100)), None);
        assert!(after(&history, position(101)).is_some());
    }
}
