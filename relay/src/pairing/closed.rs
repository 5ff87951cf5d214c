//! Groups that stay closed at this relay until their failures are written (pure).

use std::collections::BTreeMap;

use peerup_protocol::id::GroupId;

/// Failures that wait to be written; when there are as many, all groups are closed.
const MAX_WAITING: usize = 256;

#[derive(Debug, Default)]
pub(super) struct ClosedGroups {
    /// Failures of each group.
    groups: BTreeMap<GroupId, usize>,
    /// Of all groups.
    waiting: usize,
}

impl ClosedGroups {
    /// Whether attempts of the group are not evaluated now.
    pub(super) fn is_closed(&self, group: &GroupId) -> bool {
        self.waiting >= MAX_WAITING || self.groups.contains_key(group)
    }

    /// A failure of the group waits to be written; false when too many do.
    pub(super) fn close(&mut self, group: GroupId) -> bool {
        let room = self.waiting < MAX_WAITING;
        if room {
            self.waiting += 1;
            *self.groups.entry(group).or_default() += 1;
        }
        room
    }

    /// One that [`Self::close`] took is written.
    pub(super) fn written(&mut self, group: &GroupId) {
        if let Some(waiting) = self.groups.get_mut(group) {
            self.waiting -= 1;
            *waiting -= 1;
            if *waiting == 0 {
                self.groups.remove(group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: usize) -> GroupId {
        GroupId((number as u64).to_be_bytes())
    }

    #[test]
    fn a_group_opens_when_all_its_failures_are_written() {
        let mut closed = ClosedGroups::default();
        assert!(closed.close(group(0)) && closed.close(group(0)));
        closed.written(&group(0));
        assert!(closed.is_closed(&group(0)) && !closed.is_closed(&group(1)));
        closed.written(&group(0));
        closed.written(&group(0));
        assert!(!closed.is_closed(&group(0)));
        assert_eq!(closed.waiting, 0);
    }

    #[test]
    fn too_many_failures_close_all_groups() {
        let mut closed = ClosedGroups::default();
        for number in 0..MAX_WAITING {
            assert!(!closed.is_closed(&group(MAX_WAITING)));
            assert!(closed.close(group(number)));
        }
        assert!(closed.is_closed(&group(MAX_WAITING)));
        assert!(!closed.close(group(MAX_WAITING)));
        closed.written(&group(0));
        assert!(!closed.is_closed(&group(0)) && closed.is_closed(&group(1)));
    }
}
