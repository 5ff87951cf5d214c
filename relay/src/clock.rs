//! The clock of records: Unix seconds.

use std::time::{SystemTime, UNIX_EPOCH};

use peerup_protocol::UnixTime;

/// Now; 0 when the machine's clock is before 1970, so that nothing is valid.
pub(crate) fn now() -> UnixTime {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}
