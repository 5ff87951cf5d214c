//! The wall clock, read in this one place.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use peerup_protocol::UnixTime;

/// Seconds since 1970; a clock before that is taken for 1970.
pub(crate) fn now() -> UnixTime {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A time of a record for people.
pub(crate) fn timestamp(time: UnixTime) -> Timestamp {
    let seconds = i64::try_from(time).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
