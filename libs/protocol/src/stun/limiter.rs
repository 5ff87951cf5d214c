//! How often one source may ask (GCRA), in bounded memory. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// Most sources that are remembered; further ones share one bucket.
pub const MAX_SOURCES: usize = 4096;

/// So many at once, and one more each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Between two in the long run.
    pub interval: Duration,
    /// How many may come at once, at least 1.
    pub burst: u32,
}

/// Remembers for each source when its next question is due. Times are durations since any fixed moment.
#[derive(Debug, Clone)]
pub struct Limiter<K> {
    due: BTreeMap<K, Duration>,
    overflow: Duration,
}

impl<K> Default for Limiter<K> {
    fn default() -> Self {
        Self {
            due: BTreeMap::new(),
            overflow: Duration::ZERO,
        }
    }
}

impl<K: Ord> Limiter<K> {
    /// Whether `source` may ask now; if so it counts.
    pub fn allow(&mut self, now: Duration, source: K, rate: Rate) -> bool {
        if self.due.len() >= MAX_SOURCES && !self.due.contains_key(&source) {
            self.due.retain(|_, due| *due > now);
        }
        let full = self.due.len() >= MAX_SOURCES && !self.due.contains_key(&source);
        let due = if full {
            &mut self.overflow
        } else {
            self.due.entry(source).or_default()
        };
        let next = now.max(*due);
        if next - now > rate.interval * rate.burst.saturating_sub(1) {
            return false;
        }
        *due = next + rate.interval;
        true
    }
}
