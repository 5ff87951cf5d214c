//! Names of things: networks, groups, slots, serials, namespaces, peers.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::PeerId;
use crate::wire::{DecodeError, Writer};

/// A text that breaks the rule of what it should name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must {rule}, got {got:?}")]
pub struct InvalidId {
    /// What was read.
    pub what: &'static str,
    /// Its rule, to be read after "must".
    pub rule: &'static str,
    /// What came, cut to 80 characters.
    pub got: String,
}

impl InvalidId {
    pub(crate) fn new(what: &'static str, rule: &'static str, got: &str) -> Self {
        Self {
            what,
            rule,
            got: got.chars().take(80).collect(),
        }
    }
}

impl From<InvalidId> for DecodeError {
    fn from(error: InvalidId) -> Self {
        Self::invalid(error.what, error.rule)
    }
}

/// Bytes that people see as lower-case hex.
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $length:literal, $what:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; $length]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                HEXLOWER_PERMISSIVE
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Self)
                    .ok_or_else(|| InvalidId::new($what, $rule, text))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

hex_id! {
    /// A network: the first 16 bytes of SHA-256 of its public key.
    NetworkId, 16, "a network id", "be 32 hex digits"
}
hex_id! {
    /// The codes of one PairingCode, or of one attested join.
    GroupId, 8, "a group", "be 16 hex digits"
}

impl NetworkId {
    /// The network whose key this is.
    #[must_use]
    pub fn of(key: &VerifyingKey) -> Self {
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// 16 hex digits under which strangers meet the network; the namespace cannot be learned from it.
    #[must_use]
    pub fn tag(&self) -> String {
        let input = Writer::new().lp("peerup/1/tag").bytes(self.0).into_vec();
        HEXLOWER_PERMISSIVE.encode(&Sha256::digest(&input)[..8])
    }
}

/// A code's number in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u16);

impl Slot {
    /// The slot of attested codes: neither counted nor stored.
    pub const ATTESTED: Self = Self(0xFFFF);
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A peer's membership: 63 random bits, kept by renewals; shown as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Serial(pub u64);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Serial {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let error = || InvalidId::new("a serial", "be 16 hex digits", text);
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(error());
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| error())
    }
}

impl TryFrom<String> for Serial {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.to_string()
    }
}

/// Texts that are DNS labels.
macro_rules! label_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Most bytes.
            pub const MAX: usize = 63;

            /// The text, if it keeps the rule.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                if is_label(text.as_bytes()) {
                    Ok(Self(text.to_owned()))
                } else {
                    let rule = "be 1 to 63 lower-case letters, digits and dashes, with none of the dashes at an end";
                    Err(InvalidId::new($what, rule, text))
                }
            }

            /// The bytes of a stranger, if they keep the rule.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidId> {
                Self::parse(&String::from_utf8_lossy(bytes))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

label_id! {
    /// The network's name on the wire (DHT namespace); a DNS label.
    DhtNamespace, "a DHT namespace"
}
label_id! {
    /// A member's name; a DNS label of at most 63 bytes, at most 59 when it is asked for.
    PeerName, "a peer's name"
}

label_id! {
    /// A service that a peer offers under a name; a DNS label.
    ServiceName, "a service's name"
}
label_id! {
    /// A Kubernetes namespace; a DNS label.
    KubeNamespace, "a namespace"
}

impl PeerName {
    /// Most bytes of a name that is asked for, so that `-999` still fits.
    pub const MAX_REQUEST: usize = 59;

    /// Refuses a name that is too long to be asked for.
    pub fn check_request(&self) -> Result<(), InvalidId> {
        if self.0.len() <= Self::MAX_REQUEST {
            Ok(())
        } else {
            Err(InvalidId::new(
                "a requested name",
                "have at most 59 characters",
                &self.0,
            ))
        }
    }

    /// Whether this granted name answers a request for `asked`: the same, or with `-<number>` from 2 on.
    #[must_use]
    pub fn answers(&self, asked: &Self) -> bool {
        if self == asked {
            return true;
        }
        let suffix = self
            .0
            .strip_prefix(&asked.0)
            .and_then(|rest| rest.strip_prefix('-'));
        suffix.is_some_and(|digits| {
            let plain =
                !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain && digits.parse::<u16>().is_ok_and(|number| number >= 2)
        })
    }
}

/// `^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`
fn is_label(bytes: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            bytes.len() <= 63
                && plain(first)
                && plain(last)
                && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
        }
        (None, _) | (_, None) => false,
    }
}

/// The PeerId of an Ed25519 key.
#[must_use]
#[expect(clippy::expect_used, reason = "a VerifyingKey is a valid Ed25519 key")]
pub fn peer_id(key: &VerifyingKey) -> PeerId {
    let key = libp2p_identity::ed25519::PublicKey::try_from_bytes(key.as_bytes())
        .expect("valid Ed25519 key");
    libp2p_identity::PublicKey::from(key).to_peer_id()
}

/// The Ed25519 key inside a PeerId; refused are other kinds of keys and keys of small order.
pub fn verifying_key(peer: &PeerId) -> Result<VerifyingKey, DecodeError> {
    let bytes = peer.to_bytes();
    let peer = crate::wire::peer_from_bytes(&bytes)?.to_bytes();
    let error = || DecodeError::invalid("a PeerId", "hold an Ed25519 key");
    let key: [u8; 32] = peer[6..].try_into().map_err(|_| error())?;
    let key = VerifyingKey::from_bytes(&key).map_err(|_| error())?;
    if key.is_weak() { Err(error()) } else { Ok(key) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SigningKey;

    #[test]
    fn hex_ids_read_what_they_show() {
        let net = NetworkId([0xAB; 16]);
        assert_eq!(net.to_string(), "ab".repeat(16));
        assert_eq!(net.to_string().parse(), Ok(net));
        assert_eq!("AB".repeat(16).parse(), Ok(net));
        assert_eq!(
            serde_json::to_string(&GroupId([1; 8])).unwrap(),
            "\"0101010101010101\""
        );
        for bad in [
            "",
            "ab",
            &"ab".repeat(15),
            &"ab".repeat(17),
            &"xy".repeat(16),
        ] {
            assert!(bad.parse::<NetworkId>().is_err(), "{bad}");
        }
        assert_eq!(Serial(41).to_string(), "0000000000000029");
        assert_eq!("0000000000000029".parse(), Ok(Serial(41)));
        for bad in ["29", "", "+000000000000029", "00000000000000291"] {
            assert!(bad.parse::<Serial>().is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_keep_the_rule() {
        let longest = "a".repeat(63);
        for good in ["a", "0", "web-0", "a--b", longest.as_str()] {
            assert_eq!(DhtNamespace::parse(good).unwrap().as_str(), good);
            assert_eq!(
                PeerName::from_bytes(good.as_bytes()).unwrap().as_str(),
                good
            );
        }
        let longer = "a".repeat(64);
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a_b",
            "a\0",
            "ä",
            "\u{202e}a",
            " a",
            longer.as_str(),
        ] {
            assert!(
                DhtNamespace::parse(bad).is_err() && PeerName::parse(bad).is_err(),
                "{bad:?}"
            );
            assert!(
                serde_json::from_value::<PeerName>(bad.into()).is_err(),
                "{bad:?}"
            );
        }
        assert!(PeerName::from_bytes(&[0xff]).is_err());
    }

    #[test]
    fn errors_cut_what_came() {
        let error = PeerName::parse(&"A".repeat(5000)).unwrap_err();
        assert_eq!(error.got.len(), 80);
        assert!(
            error
                .to_string()
                .starts_with("a peer's name must be 1 to 63 lower-case")
        );
    }

    #[test]
    fn requested_names_leave_room_for_a_number() {
        assert!(
            PeerName::parse(&"a".repeat(59))
                .unwrap()
                .check_request()
                .is_ok()
        );
        assert!(
            PeerName::parse(&"a".repeat(60))
                .unwrap()
                .check_request()
                .is_err()
        );
    }

    #[test]
    fn answers_are_the_name_or_numbered() {
        let asked = PeerName::parse("web").unwrap();
        let answers = |granted: &str| PeerName::parse(granted).unwrap().answers(&asked);
        assert!(answers("web") && answers("web-2") && answers("web-10") && answers("web-999"));
        for other in [
            "web-1",
            "web-0",
            "web-02",
            "web-x",
            "web2",
            "webs-2",
            "we",
            "web-2-3",
            "web-99999",
        ] {
            assert!(!answers(other), "{other}");
        }
    }

    #[test]
    fn weak_and_foreign_keys_are_no_peers() {
        let mut small_order = peer_id(&SigningKey::from_bytes(&[1; 32]).verifying_key()).to_bytes();
        small_order[6..].fill(0);
        let weak = PeerId::from_bytes(&small_order).unwrap();
        assert!(verifying_key(&weak).is_err());
        let sha256 = PeerId::from_bytes(&[&[0x12, 0x20], [7; 32].as_slice()].concat()).unwrap();
        assert!(verifying_key(&sha256).is_err());
    }

    proptest! {
        #[test]
        fn peers_and_keys_are_one(seed: [u8; 32]) {
            let key = SigningKey::from_bytes(&seed).verifying_key();
            prop_assert_eq!(verifying_key(&peer_id(&key)), Ok(key));
        }

        #[test]
        fn parsing_is_total(text in "\\PC{0,80}") {
            let _ = (text.parse::<NetworkId>(), text.parse::<Serial>(), DhtNamespace::parse(&text));
        }
    }
}
