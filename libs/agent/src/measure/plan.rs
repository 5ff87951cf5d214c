//! When the next measurement is due, and why (pure).
//!
//! | trigger | due |
//! |---|---|
//! | start, changed settings | at once |
//! | somebody asks | at once, but [`PAUSE`] after the last one |
//! | the machine's network changed (told when it has settled), a relay sees another address | the same, within the budget |
//! | connections to relays changed | [`BURST`] later: they come and go together; within the budget |
//! | period | jittered by ±20 % after the end of the last one |
//!
//! The budget holds machines whose network never rests to one measurement in [`REFILL`]. A period's measurement may
//! be a check: one question whether what the last full one saw is still so. After [`MAX_CHECKS`] checks in a row
//! comes a full one.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use crate::status::Trigger;

/// Least time between the end of a measurement and the next one.
pub(super) const PAUSE: Duration = Duration::from_millis(500);
/// Changes of connections in so short a time are one.
const BURST: Duration = Duration::from_millis(500);
/// Measurements for changes that may follow each other at once …
const BUDGET: u32 = 6;
/// … and how long it takes until there is one more.
const REFILL: Duration = Duration::from_secs(10);
/// Checks in a row instead of full measurements.
const MAX_CHECKS: u32 = 4;

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// Why.
    pub(super) why: Trigger,
    /// Whether one question is enough, as long as its answer is the expected one.
    pub(super) check: bool,
}

/// The plan.
#[derive(Debug)]
pub(super) struct Plan {
    /// When what was told is due, and the first of its reasons.
    told: Option<(Instant, Trigger)>,
    period: Instant,
    not_before: Instant,
    budget: Budget,
    checks: u32,
}

impl Plan {
    /// The first measurement is due now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            told: Some((now, Trigger::Start)),
            period: now,
            not_before: now,
            budget: Budget {
                left: BUDGET,
                since: now,
            },
            checks: 0,
        }
    }

    /// Something was told that calls for a measurement.
    pub(super) fn tell(&mut self, why: Trigger, now: Instant) {
        let at = match why {
            Trigger::Start | Trigger::Settings | Trigger::Request | Trigger::Period => now,
            Trigger::NetworkChange | Trigger::ObservedAddress => self.budget.next(now),
            Trigger::RelayConnections => self.budget.next(now).max(now + BURST),
        };
        let at = at.max(self.not_before);
        self.told = Some(match self.told {
            Some((known, first)) => (known.min(at), first.min(why)),
            None => (at, why),
        });
    }

    /// When the next measurement is due.
    pub(super) fn at(&self) -> Instant {
        match self.told {
            Some((told, _)) => told.min(self.period),
            None => self.period,
        }
    }

    /// What is due now, which begins thereby. It is never a check unless `steady`: what was seen last is what is
    /// reported.
    pub(super) fn begin(&mut self, now: Instant, steady: bool) -> Due {
        let why = match self.told.take() {
            Some((at, why)) if at <= now => why,
            later => {
                self.told = later;
                Trigger::Period
            }
        };
        if why.is_change() {
            self.budget.take(now);
        }
        let check = why == Trigger::Period && steady && self.checks < MAX_CHECKS;
        Due { why, check }
    }

    /// What began has ended: with a check, or a full measurement. `random` lies in 0…1.
    pub(super) fn end(&mut self, now: Instant, checked: bool, period: Duration, random: f64) {
        self.checks = if checked { self.checks + 1 } else { 0 };
        self.not_before = now + PAUSE;
        self.period = now + jittered(period, random);
        if let Some((at, _)) = &mut self.told {
            *at = (*at).max(self.not_before);
        }
    }
}

/// A period ±20 %; `random` lies in 0…1.
pub(super) fn jittered(period: Duration, random: f64) -> Duration {
    period.mul_f64(0.8 + 0.4 * random.clamp(0.0, 1.0))
}

/// Measurements that changes may still cause.
#[derive(Debug)]
struct Budget {
    left: u32,
    /// When `left` was true.
    since: Instant,
}

impl Budget {
    /// When there is one: now or later.
    fn next(&self, now: Instant) -> Instant {
        if self.left > 0 {
            now
        } else {
            now.max(self.since + REFILL)
        }
    }

    fn take(&mut self, now: Instant) {
        while self.left < BUDGET && now >= self.since + REFILL {
            self.left += 1;
            self.since += REFILL;
        }
        if self.left == BUDGET {
            self.since = now;
        }
        self.left = self.left.saturating_sub(1);
    }
}
