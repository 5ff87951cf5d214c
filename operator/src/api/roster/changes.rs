//! What has changed in a network's roster since a relay last heard of it. Pure.

use std::collections::{BTreeMap, VecDeque};

use peerup_protocol::{UnixTime, id::Serial};

/// Members that are gone and remembered, of one network; who asks from before the oldest gets all.
const MOST_GONE: usize = 4096;

/// A member as a state of the roster has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// A digest of what its record says but for its times.
    pub(super) said: u64,
    /// When the record in force was issued.
    pub(super) issued: UnixTime,
    /// How long it lives, in seconds.
    pub(super) life: UnixTime,
}

/// Number and time of the lists that go with a roster.
pub(super) type Lists = (u64, UnixTime);

/// The present state of a roster, and since when each part of it is so.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Number of the present state; 0 before the first.
    number: u64,
    /// States before this one are forgotten.
    oldest: u64,
    lists: Lists,
    members: BTreeMap<Serial, (Entry, u64)>,
    gone: VecDeque<(u64, Serial)>,
}

/// What tells a former state from the present one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Those that are new or have another record.
    pub(super) changed: Vec<Serial>,
    /// Those that are no members any more.
    pub(super) gone: Vec<Serial>,
}

impl Changes {
    /// Takes over the present state, and gives its number: the last one if nothing has changed, else `next`, which must
    /// be higher than all before. A renewal alone is no change, but comes with the next one.
    pub(super) fn update(
        &mut self,
        members: BTreeMap<Serial, Entry>,
        lists: Lists,
        next: impl FnOnce() -> u64,
    ) -> u64 {
        if self.number != 0 && lists == self.lists && self.has(&members) {
            return self.number;
        }
        let number = next();
        if self.number == 0 {
            self.oldest = number;
        }
        let left = self
            .members
            .keys()
            .filter(|serial| !members.contains_key(serial));
        self.gone.extend(left.map(|serial| (number, *serial)));
        // Whoever came back is a member whatever came before.
        self.gone
            .retain(|(_, serial)| !members.contains_key(serial));
        while self.gone.len() > MOST_GONE
            && let Some((forgotten, _)) = self.gone.pop_front()
        {
            self.oldest = forgotten;
        }
        let since = |serial: &Serial, entry: Entry| match self.members.get(serial) {
            Some((former, since)) if *former == entry => *since,
            Some(_) | None => number,
        };
        self.members = members
            .into_iter()
            .map(|(serial, entry)| (serial, (entry, since(&serial, entry))))
            .collect();
        (self.number, self.lists) = (number, lists);
        number
    }

    fn has(&self, members: &BTreeMap<Serial, Entry>) -> bool {
        let known = self.members.iter();
        let known = known.map(|(serial, (entry, _))| (serial, entry.said));
        known.eq(members.iter().map(|(serial, entry)| (serial, entry.said)))
    }

    /// What is different since a state; `None` for one that is not known any more.
    pub(super) fn since(&self, number: u64) -> Option<Difference> {
        if number < self.oldest || number > self.number {
            return None;
        }
        let changed = self
            .members
            .iter()
            .filter(|(_, (_, since))| *since > number);
        let gone = self.gone.iter().filter(|(since, _)| *since > number);
        Some(Difference {
            changed: changed.map(|(serial, _)| *serial).collect(),
            gone: gone.map(|(_, serial)| *serial).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: Lists = (1, 100);

    fn state(members: &[(u64, u64, UnixTime)]) -> BTreeMap<Serial, Entry> {
        let member = |&(serial, said, issued): &(u64, u64, UnixTime)| {
            (
                Serial(serial),
                Entry {
                    said,
                    issued,
                    life: 60,
                },
            )
        };
        members.iter().map(member).collect()
    }

    fn difference(changed: &[u64], gone: &[u64]) -> Option<Difference> {
        let serials = |numbers: &[u64]| numbers.iter().map(|number| Serial(*number)).collect();
        Some(Difference {
            changed: serials(changed),
            gone: serials(gone),
        })
    }

    #[test]
    fn each_state_is_told_from_those_before_it() {
        let mut changes = Changes::default();
        let first = state(&[(1, 0, 10), (2, 0, 10)]);
        assert_eq!(changes.update(first.clone(), LISTS, || 5), 5);
        assert_eq!(
            changes.update(first, LISTS, || unreachable!("nothing has changed")),
            5
        );
        assert_eq!(
            changes.update(state(&[(2, 0, 10), (3, 0, 11)]), LISTS, || 7),
            7
        );
        assert_eq!(
            changes.update(state(&[(2, 9, 10), (3, 0, 11)]), LISTS, || 8),
            8
        );
        assert_eq!(changes.since(5), difference(&[2, 3], &[1]));
        assert_eq!(changes.since(7), difference(&[2], &[]));
        assert_eq!(changes.since(8), difference(&[], &[]));
        assert_eq!(
            (changes.since(4), changes.since(9)),
            (None, None),
            "never heard of"
        );
    }

    #[test]
    fn a_renewal_comes_with_the_next_change() {
        let mut changes = Changes::default();
        changes.update(state(&[(1, 0, 10), (2, 0, 10)]), LISTS, || 1);
        let renewed = state(&[(1, 0, 10), (2, 0, 90)]);
        assert_eq!(changes.update(renewed.clone(), LISTS, || unreachable!()), 1);
        assert_eq!(changes.update(renewed, (1, 400), || 2), 2, "other lists");
        assert_eq!(changes.since(1), difference(&[2], &[]));
    }

    #[test]
    fn who_comes_back_is_not_gone() {
        let mut changes = Changes::default();
        changes.update(state(&[(1, 0, 10)]), LISTS, || 1);
        changes.update(state(&[]), LISTS, || 2);
        assert_eq!(changes.since(1), difference(&[], &[1]));
        changes.update(state(&[(1, 0, 10)]), LISTS, || 3);
        assert_eq!(changes.since(1), difference(&[1], &[]));
        assert_eq!(changes.since(2), difference(&[1], &[]));
    }

    #[test]
    fn what_is_forgotten_is_told_by_all_of_it() {
        let mut changes = Changes::default();
        let many: Vec<_> = (0..=MOST_GONE as u64)
            .map(|serial| (serial, 0, 10))
            .collect();
        changes.update(state(&many), LISTS, || 1);
        changes.update(state(&many[1..]), LISTS, || 2);
        assert_eq!(changes.since(1), difference(&[], &[0]));
        changes.update(state(&[]), LISTS, || 3);
        assert_eq!(changes.since(1), None);
        assert_eq!(changes.since(2).unwrap().gone.len(), MOST_GONE);
    }
}
