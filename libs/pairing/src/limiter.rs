//! How often codes are tried at a relay, before anything is evaluated.
//!
//! A source fails once in five seconds. Groups that nobody knows cost the operator a question each, whoever asks, so
//! their failures share one bucket; a group that was there a while ago is asked for whatever the bucket says. What is
//! limited is neither evaluated nor counted, and looks to the joiner like every other failure. Attested slots are not
//! limited: their codes work for one peer only, and a whole node of pods has one address.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use peerup_protocol::id::GroupId;

/// Between two failures of one source.
pub const PAUSE: Duration = Duration::from_secs(5);
/// Between two failures with groups that nobody knows, in the long run.
pub const UNKNOWN_PAUSE: Duration = Duration::from_secs(1);
/// How many of them may come at once.
pub const UNKNOWN_BURST: u32 = 10;
/// Sources that are remembered; beyond, the one that has waited longest is forgotten.
pub const MAX_SOURCES: usize = 4096;
/// Groups that are remembered; beyond, the one that was there longest ago is forgotten.
pub const MAX_GROUPS: usize = 1024;

/// Remembers who failed. Times are durations since any fixed moment and never run backwards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limiter {
    /// When each source may fail again.
    sources: BTreeMap<IpAddr, Duration>,
    /// When the bucket of unknown groups would be full again.
    unknown: Duration,
    /// When each group was last there.
    groups: BTreeMap<GroupId, Duration>,
}

impl Limiter {
    /// A limiter that has seen nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether an attempt from `source` is evaluated at all.
    #[must_use]
    pub fn allow(&self, now: Duration, source: IpAddr) -> bool {
        self.sources
            .get(&prefix(source))
            .is_none_or(|until| *until <= now)
    }

    /// Whether the operator is asked for `group`. For one that is not remembered this takes from the bucket; what it
    /// says then goes to [`Self::known`], and that it says nothing to [`Self::unsaid`].
    pub fn ask(&mut self, now: Duration, group: &GroupId) -> bool {
        if self.groups.contains_key(group) {
            return true;
        }
        let next = self.unknown.max(now);
        let has_room = next - now <= UNKNOWN_PAUSE * (UNKNOWN_BURST - 1);
        if has_room {
            self.unknown = next + UNKNOWN_PAUSE;
        }
        has_room
    }

    /// An attempt from `source` failed. False if another one failed while it was under way: this one is to be treated
    /// as if it had been limited.
    pub fn failed(&mut self, now: Duration, source: IpAddr) -> bool {
        if !self.allow(now, source) {
            return false;
        }
        self.sources.retain(|_, until| *until > now);
        if self.sources.len() >= MAX_SOURCES {
            forget_first(&mut self.sources);
        }
        self.sources.insert(prefix(source), now + PAUSE);
        true
    }

    /// The group that was asked for is there.
    pub fn known(&mut self, now: Duration, group: GroupId) {
        self.unsaid(&group);
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&group) {
            forget_first(&mut self.groups);
        }
        self.groups.insert(group, now);
    }

    /// The operator did not say whether the group is there.
    pub fn unsaid(&mut self, group: &GroupId) {
        if !self.groups.contains_key(group) {
            self.unknown = self.unknown.saturating_sub(UNKNOWN_PAUSE);
        }
    }
}

/// Forgets the entry with the earliest time.
fn forget_first<K: Ord + Copy>(times: &mut BTreeMap<K, Duration>) {
    let first = times.iter().min_by_key(|(_, time)| **time);
    if let Some(key) = first.map(|(key, _)| *key) {
        times.remove(&key);
    }
}

/// The address, or the /64 of an IPv6 address.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}
