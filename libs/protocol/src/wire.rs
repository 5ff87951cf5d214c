//! Reading and writing bytes: big endian numbers, `lp(x)` = u32 length ‖ x,
//! `lp8(x)` = u8 length ‖ x.

use crate::PeerId;
use multiaddr::Multiaddr;

/// Longest multiaddr in bytes, everywhere.
pub const MAX_ADDRESS: usize = 255;
/// Length of an Ed25519 PeerId's multihash.
pub const PEER_ID_LENGTH: usize = 38;
/// How every Ed25519 PeerId starts: identity multihash of a protobuf key.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// Why bytes of a stranger are not what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("the message ends inside a field")]
    Truncated,
    /// Bytes follow the last field.
    #[error("{0} bytes follow the last field")]
    Trailing(usize),
    /// A field or list is longer than it may be.
    #[error("a field has {got} bytes or entries, at most {max} are allowed")]
    TooLong {
        /// The limit.
        max: usize,
        /// What the sender claims.
        got: usize,
    },
    /// The message is of another kind than expected.
    #[error("this is not a {expected} message")]
    Label {
        /// The label that should stand at the start.
        expected: &'static str,
    },
    /// A number that has no meaning (version, kind, suite, flag …).
    #[error("unknown {what} {value}")]
    Unknown {
        /// Which field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A field's content breaks its rule.
    #[error("{what} must {rule}")]
    Invalid {
        /// Which field.
        what: &'static str,
        /// The rule, to be read after "must".
        rule: &'static str,
    },
}

impl DecodeError {
    pub(crate) fn unknown(what: &'static str, value: impl Into<u64>) -> Self {
        Self::Unknown {
            what,
            value: value.into(),
        }
    }

    pub(crate) fn invalid(what: &'static str, rule: &'static str) -> Self {
        Self::Invalid { what, rule }
    }
}

/// Collects the fields of a message.
#[derive(Debug, Default, Clone)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty message with room, for secrets: growing would leave copies behind.
    #[must_use]
    pub fn with_capacity(length: usize) -> Self {
        Self(Vec::with_capacity(length))
    }

    /// One byte.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.bytes([value])
    }

    /// Two bytes, big endian.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.bytes(value.to_be_bytes())
    }

    /// Four bytes, big endian.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.bytes(value.to_be_bytes())
    }

    /// Eight bytes, big endian.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.bytes(value.to_be_bytes())
    }

    /// Bytes as they are.
    #[must_use]
    pub fn bytes(mut self, value: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(value.as_ref());
        self
    }

    /// `u32 length ‖ value`. Nothing of ours is near 4 GiB; what is would be cut there.
    #[must_use]
    pub fn lp(self, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.u32(length)
            .bytes(&value[..value.len().min(length as usize)])
    }

    /// `u8 length ‖ value`. A value over 255 bytes is cut there: callers check before.
    #[must_use]
    pub fn lp8(self, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
        self.u8(length).bytes(&value[..usize::from(length)])
    }

    /// The message.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

/// Takes the fields of a message one after the other.
#[derive(Debug, Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Exactly `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    /// Exactly `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    /// Two bytes, big endian.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes, big endian.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes, big endian.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// `u32 length ‖ value` of at most `max` bytes.
    pub fn lp(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        let length = self.u32()? as usize;
        self.limited(length, max)
    }

    /// `u8 length ‖ value` of at most `max` bytes.
    pub fn lp8(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        let length = usize::from(self.u8()?);
        self.limited(length, max)
    }

    /// `lp` that must be empty or exactly `N` bytes long.
    pub fn lp_array<const N: usize>(&mut self) -> Result<Option<[u8; N]>, DecodeError> {
        let value = self.lp(N)?;
        if value.is_empty() {
            return Ok(None);
        }
        let value = value.try_into().map_err(|_| DecodeError::Truncated)?;
        Ok(Some(value))
    }

    /// `lp` with a signature of 64 bytes.
    pub fn signature(&mut self) -> Result<[u8; 64], DecodeError> {
        self.lp_array()?.ok_or(DecodeError::Truncated)
    }

    /// `lp` with text of at most `max` bytes: printable ASCII only.
    pub fn text(&mut self, what: &'static str, max: usize) -> Result<&'a str, DecodeError> {
        let rule = "be printable ASCII";
        let value =
            std::str::from_utf8(self.lp(max)?).map_err(|_| DecodeError::invalid(what, rule))?;
        if value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            Ok(value)
        } else {
            Err(DecodeError::invalid(what, rule))
        }
    }

    /// `lp` with a label that says what the message is.
    pub fn label(&mut self, expected: &'static str) -> Result<(), DecodeError> {
        match self.lp(expected.len()) {
            Ok(label) if label == expected.as_bytes() => Ok(()),
            Ok(_) | Err(_) => Err(DecodeError::Label { expected }),
        }
    }

    /// `lp` with the PeerId of an Ed25519 key.
    pub fn peer(&mut self) -> Result<PeerId, DecodeError> {
        peer_from_bytes(self.lp(PEER_ID_LENGTH)?)
    }

    /// A count of at most `max` list entries, read as u16.
    pub fn count(&mut self, max: usize) -> Result<usize, DecodeError> {
        let got = usize::from(self.u16()?);
        if got > max {
            Err(DecodeError::TooLong { max, got })
        } else {
            Ok(got)
        }
    }

    /// Everything that is left.
    #[must_use]
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Refuses bytes after the last field.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing(self.0.len()))
        }
    }

    fn limited(&mut self, length: usize, max: usize) -> Result<&'a [u8], DecodeError> {
        if length > max {
            return Err(DecodeError::TooLong { max, got: length });
        }
        self.bytes(length)
    }
}

/// The PeerId with this multihash, if it is one of an Ed25519 key.
pub(crate) fn peer_from_bytes(bytes: &[u8]) -> Result<PeerId, DecodeError> {
    let error = DecodeError::invalid("a PeerId", "be that of an Ed25519 key");
    if bytes.len() != PEER_ID_LENGTH || !bytes.starts_with(&PEER_ID_PREFIX) {
        return Err(error);
    }
    PeerId::from_bytes(bytes).map_err(|_| error)
}

/// The multiaddr with these bytes.
pub(crate) fn address_from_bytes(bytes: &[u8]) -> Result<Multiaddr, DecodeError> {
    Multiaddr::try_from(bytes.to_vec())
        .map_err(|_| DecodeError::invalid("an address", "be a multiaddr"))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(a: u8, b: u16, c: u32, d: u64, e in vec(any::<u8>(), 0..300), f in vec(any::<u8>(), 0..=255)) {
            let bytes = Writer::new().u8(a).u16(b).u32(c).u64(d).lp(&e).lp8(&f).into_vec();
            let mut r = Reader::new(&bytes);
            prop_assert_eq!((r.u8(), r.u16(), r.u32(), r.u64()), (Ok(a), Ok(b), Ok(c), Ok(d)));
            prop_assert_eq!((r.lp(300), r.lp8(255)), (Ok(e.as_slice()), Ok(f.as_slice())));
            prop_assert_eq!(r.finish(), Ok(()));
        }

        #[test]
        fn every_cut_is_an_error(value in vec(any::<u8>(), 0..50), cut: prop::sample::Index) {
            let bytes = Writer::new().lp(&value).into_vec();
            let cut = cut.index(bytes.len());
            prop_assert_eq!(Reader::new(&bytes[..cut]).lp(50), Err(DecodeError::Truncated));
        }
    }

    #[test]
    fn limits_hold_before_bytes_are_looked_for() {
        let bytes = Writer::new().u32(u32::MAX).into_vec();
        let too_long = DecodeError::TooLong {
            max: 10,
            got: u32::MAX as usize,
        };
        assert_eq!(Reader::new(&bytes).lp(10), Err(too_long));
        assert_eq!(
            Reader::new(&[11]).lp8(10),
            Err(DecodeError::TooLong { max: 10, got: 11 })
        );
        assert_eq!(
            Reader::new(&[0, 11]).count(10),
            Err(DecodeError::TooLong { max: 10, got: 11 })
        );
    }

    #[test]
    fn text_is_printable_ascii() {
        let read = |text: &str| {
            Reader::new(&Writer::new().lp(text).into_vec())
                .text("a name", 20)
                .is_ok()
        };
        assert!(read("") && read("a b~"));
        for bad in ["a\0b", "a\nb", "\u{7f}", "ä", "\u{202e}abc"] {
            assert!(!read(bad), "{bad:?}");
        }
        let not_utf8 = Writer::new().lp([0xff]).into_vec();
        assert!(Reader::new(&not_utf8).text("a name", 20).is_err());
    }

    #[test]
    fn only_ed25519_peers_are_read() {
        let read = |bytes: &[u8]| Reader::new(&Writer::new().lp(bytes).into_vec()).peer();
        let good = crate::id::peer_id(&crate::SigningKey::from_bytes(&[3; 32]).verifying_key());
        assert_eq!(read(&good.to_bytes()), Ok(good));
        let mut other_kind = good.to_bytes();
        other_kind[3] = 2;
        let sha256 = [&[0x12, 0x20], [7; 32].as_slice()].concat();
        for bad in [other_kind.as_slice(), &sha256, &good.to_bytes()[..37], &[]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn signatures_have_64_bytes() {
        let read =
            |length: usize| Reader::new(&Writer::new().lp(vec![1; length]).into_vec()).signature();
        assert_eq!(read(64), Ok([1; 64]));
        assert!(read(0).is_err() && read(63).is_err() && read(65).is_err());
    }
}
