//! How many unknown tokens one source may show: each costs the API server a review. Pure.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Instant,
};

/// Tokens at once. All pods of a node may come from one address.
const BURST: f64 = 128.0;
/// Tokens a second.
const RATE: f64 = 10.0;

/// A token bucket for each /32 and /64, at most so many.
pub(super) struct Limiter {
    most: usize,
    buckets: HashMap<IpAddr, (f64, Instant)>,
}

impl Limiter {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            buckets: HashMap::new(),
        }
    }

    /// Whether the source may show one more now.
    pub(super) fn allow(&mut self, source: IpAddr, now: Instant) -> bool {
        let source = prefix(source);
        if self.buckets.len() >= self.most && !self.buckets.contains_key(&source) {
            self.buckets.retain(|_, bucket| filled(bucket, now) < BURST);
            if self.buckets.len() >= self.most {
                return false;
            }
        }
        let bucket = self.buckets.entry(source).or_insert((BURST, now));
        *bucket = (filled(bucket, now), now);
        let allowed = bucket.0 >= 1.0;
        if allowed {
            bucket.0 -= 1.0;
        }
        allowed
    }
}

fn filled((level, at): &(f64, Instant), now: Instant) -> f64 {
    (level + now.saturating_duration_since(*at).as_secs_f64() * RATE).min(BURST)
}

fn prefix(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn allowed(limiter: &mut Limiter, source: &str, times: usize, now: Instant) -> usize {
        (0..times)
            .filter(|_| limiter.allow(ip(source), now))
            .count()
    }

    #[test]
    fn a_source_has_a_burst_and_a_rate() {
        let (mut limiter, start) = (Limiter::new(8), Instant::now());
        assert_eq!(allowed(&mut limiter, "10.0.0.1", 200, start), 128);
        assert_eq!(
            allowed(&mut limiter, "::ffff:10.0.0.1", 1, start),
            0,
            "the same source in other words"
        );
        assert_eq!(allowed(&mut limiter, "10.0.0.2", 1, start), 1);
        assert_eq!(
            allowed(
                &mut limiter,
                "10.0.0.1",
                200,
                start + Duration::from_secs(2)
            ),
            20
        );
        assert_eq!(allowed(&mut limiter, "2001:db8::1", 200, start), 128);
        assert_eq!(
            allowed(&mut limiter, "2001:db8::ffff:1", 1, start),
            0,
            "one /64"
        );
        assert_eq!(allowed(&mut limiter, "2001:db8:0:1::1", 1, start), 1);
    }

    #[test]
    fn many_sources_do_not_fill_memory() {
        let (mut limiter, start) = (Limiter::new(2), Instant::now());
        assert!(limiter.allow(ip("10.0.0.1"), start) && limiter.allow(ip("10.0.0.2"), start));
        assert!(!limiter.allow(ip("10.0.0.3"), start));
        assert!(
            limiter.allow(ip("10.0.0.3"), start + Duration::from_secs(1)),
            "full buckets are forgotten"
        );
        assert_eq!(limiter.buckets.len(), 1);
    }
}
