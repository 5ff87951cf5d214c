//! A time as a person writes it.

use std::ops::RangeInclusive;

use jiff::SignedDuration;

/// Which times are taken, and how a person is told.
#[derive(Debug)]
pub(crate) struct Span {
    /// In seconds.
    pub(crate) range: RangeInclusive<u32>,
    /// The range as a person writes it.
    pub(crate) range_words: &'static str,
    /// Examples, to be read after "such as".
    pub(crate) such_as: &'static str,
}

impl Span {
    /// Seconds, within the range.
    pub(crate) fn read(&self, text: &str) -> Result<u32, String> {
        let time: SignedDuration = text
            .parse()
            .map_err(|_| format!("expected a time such as {}, got {text:?}", self.such_as))?;
        u32::try_from(time.as_secs())
            .ok()
            .filter(|seconds| self.range.contains(seconds))
            .ok_or_else(|| format!("expected {}, got {text:?}", self.range_words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_A_DAY: Span = Span {
        range: 60..=43_200,
        range_words: "1m to 12h",
        such_as: "90s or 1h",
    };

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [
            ("90s", Some(90)),
            ("30m", Some(1800)),
            ("1h", Some(3600)),
            ("1h30m", Some(5400)),
            ("12h", Some(43_200)),
            ("60s", Some(60)),
            ("59s", None),
            ("12h1s", None),
            ("-1h", None),
            ("3600", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(HALF_A_DAY.read(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn who_writes_something_else_is_told_what_is_expected() {
        let says = |text: &str| HALF_A_DAY.read(text).unwrap_err();
        assert_eq!(
            says("soon"),
            r#"expected a time such as 90s or 1h, got "soon""#
        );
        assert_eq!(says("13h"), r#"expected 1m to 12h, got "13h""#);
    }
}
