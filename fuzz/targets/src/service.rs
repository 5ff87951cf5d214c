//! Lists of services: annotations of pods, options of the command line.

use std::fmt::{Debug, Display};

use peerup_protocol::service::{Expose, Forward, MAX_ENTRIES, ServiceError, list_text};

use crate::property::bounded;

/// What a peer exposes.
pub(crate) fn expose(data: &[u8]) -> bool {
    list(data, Expose::parse_list)
}

/// What a peer forwards.
pub(crate) fn forward(data: &[u8]) -> bool {
    list(data, Forward::parse_list)
}

/// A list is read again from its own text.
fn list<T: Debug + Display + PartialEq>(
    data: &[u8],
    parse: fn(&str) -> Result<Vec<T>, ServiceError>,
) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    match bounded(data.len(), 16, || parse(text)) {
        Ok(entries) => {
            assert!(entries.len() <= MAX_ENTRIES);
            assert_eq!(parse(&list_text(&entries)), Ok(entries));
            true
        }
        Err(error) => {
            let _ = error.to_string();
            false
        }
    }
}
