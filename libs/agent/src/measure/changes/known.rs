//! What is known of links, addresses and routes, so that news that say nothing new are told apart from changes (pure):
//! routers announce their prefixes, and wireless links their strength, again and again.

use std::collections::BTreeMap;

use super::message::{Change, Thing};

/// Things that are remembered; what is told of more of them is always taken for a change.
const MAX: usize = 4096;

/// What was told last of each thing. It begins empty: the first news of a thing is a change.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<Thing, u32>);

impl Known {
    /// Takes what is told; whether it is a change.
    pub(super) fn take(&mut self, change: Change) -> bool {
        let Some(state) = change.state else {
            self.0.remove(&change.thing);
            return true;
        };
        if let Some(known) = self.0.get_mut(&change.thing) {
            let changed = *known != state;
            *known = state;
            return changed;
        }
        if self.0.len() < MAX {
            self.0.insert(change.thing, state);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, state: Option<u32>) -> Change {
        Change {
            thing: Thing::Link(index),
            state,
        }
    }

    #[test]
    fn what_is_told_again_is_no_change() {
        let mut known = Known::default();
        let told = [
            (link(1, Some(1)), true),
            (link(1, Some(1)), false),
            (link(2, Some(1)), true),
            (link(1, Some(0)), true),
            (link(1, Some(0)), false),
            (link(1, None), true),
            (link(1, Some(0)), true),
            (link(9, None), true),
        ];
        for (at, (change, is_change)) in told.into_iter().enumerate() {
            assert_eq!(known.take(change), is_change, "{at}");
        }
    }

    #[test]
    fn what_does_not_fit_is_always_a_change() {
        let mut known = Known::default();
        for index in 0..u32::try_from(MAX).unwrap() + 10 {
            assert!(known.take(link(index, Some(1))));
        }
        assert_eq!(known.0.len(), MAX);
        assert!(!known.take(link(0, Some(1))));
        assert!(known.take(link(u32::try_from(MAX).unwrap(), Some(1))));
    }
}
