//! Secrets: wiped when dropped, compared in constant time, never shown.

use std::fmt;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `N` secret bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>([u8; N]);

/// Seed of a network's Ed25519 key.
pub type NetworkSeed = Secret<32>;
/// The secret inside a code.
pub type CodeSecret = Secret<16>;

impl<const N: usize> Secret<N> {
    /// Takes the bytes; the caller's copy is the caller's to wipe.
    #[must_use]
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// The secret, if the slice has `N` bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes, where they are used.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> From<[u8; N]> for Secret<N> {
    fn from(bytes: [u8; N]) -> Self {
        Self(bytes)
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Secret text, such as a code's.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// Takes the text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, where it is used.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretText {}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_show_nothing() {
        let secret = CodeSecret::new(*b"0123456789abcdef");
        let text = SecretText::new("peerup1-abc".to_owned());
        assert_eq!(format!("{secret:?} {text:?}"), "[redacted] [redacted]");
        assert_eq!(secret.expose(), b"0123456789abcdef");
        assert_eq!(text.expose(), "peerup1-abc");
    }

    #[test]
    fn equality_looks_at_every_byte() {
        let base = [7; 16];
        for at in 0..16 {
            let mut other = base;
            other[at] ^= 1;
            assert_ne!(CodeSecret::new(base), CodeSecret::new(other));
        }
        assert_eq!(CodeSecret::new(base), CodeSecret::new(base));
        assert_ne!(
            SecretText::new("a".to_owned()),
            SecretText::new("ab".to_owned())
        );
    }

    #[test]
    fn only_the_right_length_is_a_secret() {
        assert!(CodeSecret::from_slice(&[1; 16]).is_some());
        assert!(
            CodeSecret::from_slice(&[1; 15]).is_none()
                && CodeSecret::from_slice(&[1; 17]).is_none()
        );
    }

    #[test]
    fn zeroizing_leaves_zeros() {
        let mut secret = CodeSecret::new([7; 16]);
        secret.zeroize();
        assert_eq!(secret.expose(), &[0; 16]);
    }
}
