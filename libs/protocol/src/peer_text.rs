//! PeerIds in JSON of strangers: the base58 text of an Ed25519 key's PeerId.
//! For `#[serde(with = "crate::peer_text")]`; `…::list` for lists of them.
//!
//! The time to read base58 grows with the square of its length, and a body holds
//! 64 KiB: a text that is too long is refused before it is read.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::PeerId;
use crate::wire::peer_from_bytes;

/// Every PeerId of an Ed25519 key has as many characters.
const LENGTH: usize = 52;

/// Why a text is not the PeerId of an Ed25519 key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Invalid {
    #[error("a PeerId must have {LENGTH} characters of base58, got {0}")]
    Length(usize),
    #[error("a PeerId must be that of an Ed25519 key")]
    Kind,
}

pub(crate) fn serialize<S: Serializer>(peer: &PeerId, serializer: S) -> Result<S::Ok, S::Error> {
    peer.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PeerId, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn parse(text: &str) -> Result<PeerId, Invalid> {
    if text.len() != LENGTH {
        return Err(Invalid::Length(text.len()));
    }
    let peer = PeerId::from_str(text).map_err(|_| Invalid::Kind)?;
    peer_from_bytes(&peer.to_bytes()).map_err(|_| Invalid::Kind)
}

pub(crate) mod list {
    //! Lists of them.

    use super::{Deserialize, Deserializer, PeerId, Serialize, Serializer};

    /// One entry.
    #[derive(Deserialize)]
    struct Entry(#[serde(with = "crate::peer_text")] PeerId);

    pub(crate) fn serialize<S: Serializer>(
        peers: &[PeerId],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        peers.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<PeerId>, D::Error> {
        let entries = Vec::<Entry>::deserialize(deserializer)?;
        Ok(entries.into_iter().map(|Entry(peer)| peer).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{PresenceRequest, RenewRequest};

    #[test]
    fn every_ed25519_key_fits_the_length() {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
        for fill in 0..=255 {
            bytes[6..].fill(fill);
            let peer = PeerId::from_bytes(&bytes).unwrap();
            assert_eq!(parse(&peer.to_string()), Ok(peer));
        }
    }

    /// Its base58 would be read for a second.
    #[test]
    fn a_long_text_is_refused_unread() {
        let long = "z".repeat(64_000);
        assert_eq!(parse(&long), Err(Invalid::Length(64_000)));
        let refused = Invalid::Length(64_000).to_string();
        let one = format!(r#"{{"peerID":"{long}"}}"#);
        let error = serde_json::from_str::<RenewRequest>(&one).unwrap_err();
        assert!(error.to_string().starts_with(&refused));
        let list = format!(r#"{{"online":["{long}"],"reservations":0}}"#);
        let error = serde_json::from_str::<PresenceRequest>(&list).unwrap_err();
        assert!(error.to_string().starts_with(&refused));
    }

    #[test]
    fn other_kinds_of_peers_are_refused() {
        // an identity multihash of another kind of key, as long as ours
        let mut other = [7; 38];
        other[..6].copy_from_slice(&[0x00, 0x24, 0x08, 0x02, 0x12, 0x20]);
        let other = PeerId::from_bytes(&other).unwrap().to_string();
        assert_eq!(parse(&other), Err(Invalid::Kind));
        assert_eq!(parse(&"0".repeat(52)), Err(Invalid::Kind));
        assert_eq!(parse("11"), Err(Invalid::Length(2)));
    }
}
