//! The value of the header by which a relay signs its calls.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;

use crate::UnixTime;

/// When a relay signed a call, and its signature over [`crate::message::relay_call`]. As text, in the header
/// [`super::RELAY_SIGNATURE_HEADER`]: `<Unix seconds>.<base64 with padding>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelaySignature {
    /// When it was signed.
    pub time: UnixTime,
    /// The relay's signature.
    pub signature: [u8; 64],
}

/// A header that is not what [`RelaySignature`] shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a relay's signature must be <Unix seconds>.<base64 of 64 bytes>")]
pub struct InvalidRelaySignature;

impl fmt::Display for RelaySignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.time, BASE64.encode(&self.signature))
    }
}

impl FromStr for RelaySignature {
    type Err = InvalidRelaySignature;

    fn from_str(text: &str) -> Result<Self, InvalidRelaySignature> {
        let (time, signature) = text.split_once('.').ok_or(InvalidRelaySignature)?;
        let signature = BASE64.decode(signature.as_bytes()).ok();
        let signature = signature.and_then(|bytes| bytes.try_into().ok());
        Ok(Self {
            time: time.parse().map_err(|_| InvalidRelaySignature)?,
            signature: signature.ok_or(InvalidRelaySignature)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_shows() {
        let signature = RelaySignature {
            time: 1_700_000_000,
            signature: [0xfb; 64],
        };
        let text = signature.to_string();
        assert!(text.starts_with("1700000000.+/v7"));
        assert_eq!(text.parse(), Ok(signature));
    }

    #[test]
    fn anything_else_is_refused() {
        let short = BASE64.encode(&[1; 63]);
        for text in [
            "",
            "1700000000",
            "x.AAAA",
            "1.",
            &format!("1.{short}"),
            "-1.AAAA",
        ] {
            assert_eq!(
                text.parse::<RelaySignature>(),
                Err(InvalidRelaySignature),
                "{text}"
            );
        }
    }
}
