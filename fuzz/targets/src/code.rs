//! Codes.

use data_encoding::BASE32_NOPAD;
use peerup_protocol::code::Code;
use peerup_protocol::wire::Writer;
use sha2::{Digest, Sha256};

use crate::property::bounded;

/// Longest error text, in bytes: nothing of a code is in it.
const MAX_ERROR: usize = 200;

/// Text as a person pastes it. Whatever is not UTF-8 never gets this far.
pub(crate) fn text(data: &[u8]) -> bool {
    std::str::from_utf8(data).is_ok_and(check)
}

/// A payload under a checksum that is right: what an attacker makes, and what flipped
/// bits never pass.
pub(crate) fn payload(data: &[u8]) -> bool {
    let label = Writer::new().lp("peerup/1/code").into_vec();
    let digest = Sha256::new_with_prefix(label).chain_update(data).finalize();
    let bytes = [data, &digest[..4]].concat();
    check(&format!("peerup1-{}", BASE32_NOPAD.encode(&bytes)))
}

/// A code has one text, but for case, dashes and white space.
fn check(text: &str) -> bool {
    match bounded(text.len(), 8, || Code::parse(text)) {
        Ok(code) => {
            let again = code.to_text();
            assert_eq!(plain(again.expose()), plain(text), "two texts of one code");
            assert_eq!(Code::parse(again.expose()), Ok(code));
            true
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.len() <= MAX_ERROR, "a long error: {said}");
            false
        }
    }
}

fn plain(text: &str) -> String {
    let kept = text.chars().filter(|c| *c != '-' && !c.is_whitespace());
    kept.map(|c| c.to_ascii_lowercase()).collect()
}
