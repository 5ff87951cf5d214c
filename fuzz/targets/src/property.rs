//! Properties that many parsers share.

use std::fmt::{Debug, Display};

use peerup_protocol::wire::DecodeError;
use serde::{Serialize, de::DeserializeOwned};

/// Memory that a parser may take whatever comes: lists sized by limits, error texts.
const FREE: u64 = 8 * 1024;
/// Longest error text of a decoder, in bytes: it does not repeat what came.
const MAX_ERROR: usize = 200;

/// Runs a parser; at no time may it hold more than [`FREE`] and `factor` bytes for
/// each byte of input.
pub(crate) fn bounded<T>(length: usize, factor: u64, parse: impl FnOnce() -> T) -> T {
    let mut parsed = None;
    let used = allocation_counter::measure(|| parsed = Some(parse()));
    let most = FREE + factor * length as u64;
    let held = used.bytes_max;
    assert!(
        held <= most,
        "{held} bytes held for {length} bytes of input"
    );
    parsed.expect("the closure has run")
}

/// Decodes bytes of the wire: bounded memory, a short error, and what is accepted
/// encodes to the very bytes that came. Gives the value.
pub(crate) fn decode<T: Debug>(
    data: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
    encode: impl FnOnce(&T) -> Vec<u8>,
) -> Option<T> {
    match bounded(data.len(), 8, || decode(data)) {
        Ok(value) => {
            assert_eq!(encode(&value), data, "two encodings of {value:?}");
            Some(value)
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() <= MAX_ERROR, "a long error: {text}");
            None
        }
    }
}

/// Reads JSON: bounded memory, and what is accepted comes back from its own JSON.
pub(crate) fn json<T: Debug + PartialEq + Serialize + DeserializeOwned>(data: &[u8]) -> Option<T> {
    let parsed = bounded(data.len(), 64, || serde_json::from_slice::<T>(data));
    let value = parsed.map_err(|error| error.to_string()).ok()?;
    let text = serde_json::to_vec(&value).expect("what was read can be written");
    let again = serde_json::from_slice::<T>(&text).expect("what was written can be read");
    assert_eq!(again, value, "JSON that changes on its way");
    Some(value)
}

/// Reads text that has one form, but for the case of its letters.
pub(crate) fn text<T, E>(text: &str) -> Option<T>
where
    T: std::str::FromStr<Err = E> + Display + PartialEq,
    E: Display,
{
    match bounded(text.len(), 8, || text.parse::<T>()) {
        Ok(value) => {
            let shown = value.to_string();
            assert!(
                shown.eq_ignore_ascii_case(text),
                "{text} is shown as {shown}"
            );
            assert!(shown.parse::<T>().is_ok_and(|again| again == value));
            Some(value)
        }
        Err(error) => {
            let _ = error.to_string();
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(data: &[u8]) -> Result<u8, DecodeError> {
        data.first().copied().ok_or(DecodeError::Truncated)
    }

    #[test]
    fn sound_parsers_pass() {
        assert_eq!(decode(&[7], byte, |byte| vec![*byte]), Some(7));
        assert_eq!(decode(&[], byte, |byte| vec![*byte]), None);
        assert_eq!(json::<Vec<u8>>(b"[1, 2]"), Some(vec![1, 2]));
        assert_eq!(json::<u8>(b"256"), None);
        assert_eq!(text::<u8, _>("12"), Some(12));
        assert_eq!(text::<u8, _>("x"), None);
    }

    #[test]
    #[should_panic(expected = "65536 bytes held for 2 bytes of input")]
    fn memory_beyond_the_input_is_found() {
        bounded(2, 8, || Vec::<u8>::with_capacity(65_536).len());
    }

    #[test]
    #[should_panic(expected = "two encodings of 7")]
    fn skipped_bytes_are_found() {
        decode(&[7, 8], byte, |byte| vec![*byte]);
    }

    #[test]
    #[should_panic(expected = "+1 is shown as 1")]
    fn a_second_form_is_found() {
        text::<u8, _>("+1");
    }
}
