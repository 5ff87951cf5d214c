//! How long to wait before the next attempt (pure).

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);
/// More than this is not believed of a `Retry-After`.
const LONGEST_ASKED: Duration = Duration::from_secs(30);

/// The pause after failed attempt number `attempt` (from 0): what the operator asked for, else doubling from
/// 250 ms to 5 s; `jitter` in 0…1 adds up to half of it, so that callers do not return together.
pub(crate) fn pause(attempt: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
    let base = retry_after.map_or_else(
        || FIRST.saturating_mul(1 << attempt.min(8)).min(LONGEST),
        |asked| asked.min(LONGEST_ASKED),
    );
    base.saturating_add(base.mul_f64(jitter.clamp(0.0, 1.0) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_five_seconds() {
        let pauses: Vec<_> = (0..7).map(|n| pause(n, None, 0.0).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000]);
    }

    #[test]
    fn what_the_operator_asks_wins_within_reason() {
        assert_eq!(
            pause(5, Some(Duration::from_secs(2)), 0.0),
            Duration::from_secs(2)
        );
        assert_eq!(
            pause(0, Some(Duration::from_secs(3600)), 0.0),
            LONGEST_ASKED
        );
    }

    #[test]
    fn jitter_adds_at_most_half() {
        assert_eq!(pause(2, None, 1.0), Duration::from_millis(1500));
        assert_eq!(pause(u32::MAX, None, 7.0), Duration::from_millis(7500));
    }
}
