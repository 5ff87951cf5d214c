//! Several entries in one text, separated by commas.

use std::fmt::Display;
use std::str::FromStr;

use super::ServiceError;

/// Most entries of a list.
pub const MAX_ENTRIES: usize = 32;
/// Longest text of a list in bytes; 32 of the longest entries fit.
pub const MAX_LIST_TEXT: usize = 16 * 1024;

/// The entries of a list in their order. Text of white space alone is the empty list.
pub(super) fn parse_list<T: FromStr<Err = ServiceError>>(
    text: &str,
) -> Result<Vec<T>, ServiceError> {
    if text.len() > MAX_LIST_TEXT {
        return Err(ServiceError::TooLong {
            max: MAX_LIST_TEXT,
            got: text.len(),
        });
    }
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    for part in text.split(',') {
        if entries.len() == MAX_ENTRIES {
            return Err(ServiceError::TooMany { max: MAX_ENTRIES });
        }
        entries.push(part.trim().parse()?);
    }
    Ok(entries)
}

/// The text of a list, as it is read.
#[must_use]
pub fn list_text<T: Display>(entries: &[T]) -> String {
    let texts: Vec<_> = entries.iter().map(T::to_string).collect();
    texts.join(",")
}

/// The first entry whose key an earlier one has, too.
pub(super) fn first_twice<T, K: PartialEq>(entries: &[T], key: impl Fn(&T) -> K) -> Option<&T> {
    entries
        .iter()
        .enumerate()
        .find(|(at, entry)| {
            let mut before = entries[..*at].iter();
            before.any(|other| key(other) == key(entry))
        })
        .map(|(_, entry)| entry)
}

/// A port that one can connect to: 1 to 65535, digits only.
pub(super) fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.then(|| text.parse().ok()).flatten()?;
    (port != 0).then_some(port)
}
