//! The wall clock, read in this one place.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use peerup_protocol::UnixTime;

/// The clock is looked at this often at least while something ends by it: it may jump, and a laptop may sleep.
pub(crate) const LOOK: Duration = Duration::from_secs(60);

/// Seconds since 1970; a clock before that is taken for 1970.
pub(crate) fn now() -> UnixTime {
    since_1970().as_secs()
}

/// How long it is until then; nothing when it has been.
pub(crate) fn left(time: UnixTime) -> Duration {
    Duration::from_secs(time).saturating_sub(since_1970())
}

fn since_1970() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

/// A time of a record for people.
pub(crate) fn timestamp(time: UnixTime) -> Timestamp {
    let seconds = i64::try_from(time).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
