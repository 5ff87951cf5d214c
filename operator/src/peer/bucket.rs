//! A token bucket. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// So many a second in the long run, and one second's worth at once.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    rate: f64,
    tokens: f64,
    last: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let rate = f64::from(per_second);
        Self {
            rate,
            tokens: rate,
            last: now,
        }
    }

    /// Takes tokens, or says how long to wait for them. More than the bucket holds are given when it is full, and
    /// paid for afterwards.
    pub(super) fn take(&mut self, tokens: u32, now: Instant) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.last).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate).min(self.rate);
        self.last = self.last.max(now);
        let needed = f64::from(tokens).min(self.rate);
        if self.tokens < needed {
            return Err(Duration::from_secs_f64((needed - self.tokens) / self.rate));
        }
        self.tokens -= f64::from(tokens);
        Ok(())
    }

    /// Gives back what was taken and not needed.
    pub(super) fn give_back(&mut self, tokens: u32) {
        self.tokens = (self.tokens + f64::from(tokens)).min(self.rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_bounded_and_the_rate_is_kept() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        for _ in 0..5 {
            assert_eq!(bucket.take(2, start), Ok(()));
        }
        assert_eq!(bucket.take(2, start), Err(Duration::from_millis(200)));
        assert_eq!(bucket.take(2, start + Duration::from_millis(200)), Ok(()));
        let much_later = start + Duration::from_secs(3600);
        for _ in 0..5 {
            assert_eq!(bucket.take(2, much_later), Ok(()));
        }
        assert!(
            bucket.take(2, much_later).is_err(),
            "an hour of rest is one second's worth"
        );
    }

    #[test]
    fn what_costs_more_than_the_bucket_holds_is_paid_afterwards() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1, start);
        assert_eq!(bucket.take(2, start), Ok(()));
        assert_eq!(bucket.take(2, start), Err(Duration::from_secs(2)));
    }
}
