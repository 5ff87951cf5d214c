//! How long to wait before trying again: 1 to 30 s, growing, jittered, for ever (pure).

use std::time::Duration;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Counts failures in a row and says how long to wait after each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure: anywhere between 1 s and a bound that doubles from 2 s to 30 s, so that
    /// many peers that lost one relay do not come back together. `random` lies in 0…1.
    pub fn after_failure(&mut self, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let bound = SHORTEST
            .saturating_mul(1 << self.failures.min(5))
            .min(LONGEST);
        SHORTEST
            + bound
                .saturating_sub(SHORTEST)
                .mul_f64(random.clamp(0.0, 1.0))
    }

    /// What was tried succeeded: the next failure is the first again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_thirty_seconds_and_stays() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..7)
            .map(|_| backoff.after_failure(1.0).as_secs())
            .collect();
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn never_below_a_second_and_anew_after_success() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            assert_eq!(backoff.after_failure(0.0), SHORTEST);
        }
        backoff.reset();
        assert_eq!(backoff.after_failure(7.0), Duration::from_secs(2));
    }
}
