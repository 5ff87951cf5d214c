//! What the API server said of tokens, by their SHA-256, for a while. Pure: time is an argument.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::Identity;

/// How long a confirmed token is believed at most.
const CONFIRMED: Duration = Duration::from_secs(300);
/// How long a token that was refused is refused without asking.
const REFUSED: Duration = Duration::from_secs(30);

/// A token's SHA-256.
pub(super) type Key = [u8; 32];
/// Whose token it is, or that it is nobody's.
pub(super) type Verdict = Option<Identity>;

/// Verdicts, at most so many.
pub(super) struct Cache {
    most: usize,
    verdicts: HashMap<Key, (Verdict, Instant)>,
}

impl Cache {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            verdicts: HashMap::new(),
        }
    }

    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Verdict> {
        self.verdicts
            .get(key)
            .filter(|(_, until)| now < *until)
            .map(|(verdict, _)| verdict.clone())
    }

    /// Keeps a verdict; one of a token that ends in `left` not longer than that. A full cache keeps
    /// nothing new until old ones end.
    pub(super) fn put(&mut self, key: Key, verdict: Verdict, left: Duration, now: Instant) {
        if self.verdicts.len() >= self.most {
            self.verdicts.retain(|_, (_, until)| now < *until);
        }
        if self.verdicts.len() < self.most {
            let life = if verdict.is_some() {
                confirmed(&key).min(left)
            } else {
                REFUSED
            };
            self.verdicts.insert(key, (verdict, now + life));
        }
    }
}

/// Between half of the time and all of it: tokens that were confirmed together, as a new leader does with all of them,
/// must not be asked for together again and again.
fn confirmed(key: &Key) -> Duration {
    (CONFIRMED + CONFIRMED * u32::from(key[0]) / 255) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn identity() -> Identity {
        Identity {
            namespace: "shop".into(),
            service_account: "web".into(),
            pod: "web-0".into(),
            uid: "u".into(),
        }
    }

    #[test]
    fn verdicts_end() {
        let (mut cache, start) = (Cache::new(8), Instant::now());
        cache.put([1; 32], Some(identity()), HOUR, start);
        cache.put([2; 32], Some(identity()), Duration::from_secs(10), start);
        cache.put([3; 32], None, HOUR, start);
        let known = |seconds| {
            [1, 2, 3].map(|key| cache.get(&[key; 32], start + Duration::from_secs(seconds)))
        };
        assert_eq!(
            known(9),
            [Some(Some(identity())), Some(Some(identity())), Some(None)]
        );
        assert_eq!(known(10), [Some(Some(identity())), None, Some(None)]);
        assert_eq!(known(30), [Some(Some(identity())), None, None]);
        assert_eq!(known(300), [None, None, None]);
    }

    #[test]
    fn tokens_that_came_together_do_not_end_together() {
        let (mut cache, start) = (Cache::new(256), Instant::now());
        for first in 0..=255 {
            cache.put([first; 32], Some(identity()), HOUR, start);
        }
        let known = |seconds| {
            let now = start + Duration::from_secs(seconds);
            (0..=255)
                .filter(|first| cache.get(&[*first; 32], now).is_some())
                .count()
        };
        assert_eq!([149, 225, 299, 300].map(known), [256, 128, 2, 0]);
    }

    #[test]
    fn it_does_not_grow_over_its_size() {
        let (mut cache, start) = (Cache::new(2), Instant::now());
        for key in 0..9 {
            cache.put([key; 32], None, HOUR, start);
        }
        assert_eq!(
            (
                cache.verdicts.len(),
                cache.get(&[0; 32], start),
                cache.get(&[8; 32], start)
            ),
            (2, Some(None), None)
        );
        let later = start + REFUSED;
        cache.put([8; 32], None, HOUR, later);
        assert_eq!(
            (cache.verdicts.len(), cache.get(&[8; 32], later)),
            (1, Some(None))
        );
    }
}
