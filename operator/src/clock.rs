//! The one place where the operator reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use peerup_protocol::UnixTime;

/// Now, in Unix seconds.
#[must_use]
pub fn now() -> UnixTime {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A time as Kubernetes writes it; a time out of its range is its end.
#[must_use]
pub fn time(unix: UnixTime) -> Time {
    let seconds = i64::try_from(unix).unwrap_or(i64::MAX);
    Time(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
}

/// Unix seconds of a time that Kubernetes wrote; before 1970 is 0.
#[must_use]
pub fn unix(time: &Time) -> UnixTime {
    UnixTime::try_from(time.0.as_second()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_there_and_back() {
        assert_eq!(unix(&time(1_763_942_400)), 1_763_942_400);
        assert_eq!(unix(&time(u64::MAX)), 253_402_207_200);
        assert_eq!(
            serde_json::to_value(time(0)).unwrap(),
            "1970-01-01T00:00:00Z"
        );
    }
}
