//! A time as a person writes it.

use std::str::FromStr;

use jiff::SignedDuration;

/// Shortest and longest life of a code that the cluster takes, in seconds.
const RANGE: std::ops::RangeInclusive<u32> = 60..=604_800;

/// Seconds, within what the cluster takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kubectl) struct Ttl(pub(in crate::kubectl) u32);

impl FromStr for Ttl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time: SignedDuration = text
            .parse()
            .map_err(|_| format!("expected a time such as 90s, 30m or 1h, got {text:?}"))?;
        u32::try_from(time.as_secs())
            .ok()
            .filter(|seconds| RANGE.contains(seconds))
            .map(Self)
            .ok_or_else(|| format!("expected 1m to 168h, got {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [
            ("90s", Some(90)),
            ("30m", Some(1800)),
            ("1h", Some(3600)),
            ("1h30m", Some(5400)),
            ("168h", Some(604_800)),
            ("60s", Some(60)),
            ("59s", None),
            ("168h1s", None),
            ("-1h", None),
            ("3600", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(
                text.parse().ok().map(|Ttl(seconds)| seconds),
                expected,
                "{text}"
            );
        }
    }
}
