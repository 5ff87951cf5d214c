//! The side that holds the code.

use peerup_protocol::secret::Secret;
use peerup_protocol::wire::Writer;
use x25519_dalek::{PublicKey, StaticSecret};

use super::keys::{Direction, Keys, Role, transcript_1, transcript_2};
use super::{Context, Failure, M1_LENGTH, M4_LENGTH, Reason, SUITE, VERSION};

/// A joiner that has sent M1 and waits for M2.
pub struct Joiner {
    context: Context,
    own: StaticSecret,
}

/// A joiner that has sent M3 and waits for M4.
pub struct JoinerWaiting {
    keys: Keys,
    th2: [u8; 32],
}

/// What the responder answered, confirmed and decrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The plain response.
    pub response: Vec<u8>,
}

impl Joiner {
    /// Starts. The seed is 32 random bytes that are never used again. Gives M1.
    #[must_use]
    pub fn start(context: Context, seed: &Secret<32>) -> (Self, Vec<u8>) {
        let own = StaticSecret::from(*seed.expose());
        let w = Writer::new().u8(VERSION).u8(SUITE).u8(context.kind.as_u8());
        let w = w
            .bytes(context.group.0)
            .u16(context.slot.0)
            .bytes(PublicKey::from(&own).as_bytes());
        let mut m1 = w.into_vec();
        m1.resize(M1_LENGTH, 0);
        (Self { context, own }, m1)
    }

    /// Takes M2, the salt (a group code's hash, an invite's secret) and the plain
    /// request (at most [`super::MAX_PLAIN`] bytes), gives M3.
    pub fn on_m2(
        self,
        m2: &[u8],
        salt: &[u8],
        request: &[u8],
    ) -> Result<(JoinerWaiting, Vec<u8>), Failure> {
        let theirs: [u8; 32] = m2.try_into().map_err(|_| Reason::Malformed)?;
        let th1 = transcript_1(
            &self.context,
            PublicKey::from(&self.own).as_bytes(),
            &theirs,
        );
        let keys = Keys::agree(&self.own, &theirs, salt, &th1)?;
        let mut m3 = keys.confirm(Role::Joiner, &th1).to_vec();
        m3.extend(keys.seal(Direction::ToResponder, 0, &th1, request)?);
        let th2 = transcript_2(&th1, &m3);
        Ok((JoinerWaiting { keys, th2 }, m3))
    }
}

impl JoinerWaiting {
    /// Takes M4, gives the response and M5.
    pub fn on_m4(self, m4: &[u8]) -> Result<(Outcome, Vec<u8>), Failure> {
        if m4.len() != M4_LENGTH {
            return Err(Reason::Malformed.into());
        }
        let (mac, sealed) = m4.split_first_chunk().ok_or(Reason::Malformed)?;
        self.keys.check(Role::Responder, &self.th2, mac)?;
        let response = self.keys.open(Direction::ToJoiner, 0, &self.th2, sealed)?;
        let m5 = self
            .keys
            .seal(Direction::ToResponder, 1, &self.th2, b"committed")?;
        Ok((Outcome { response }, m5))
    }

    #[cfg(test)]
    pub(super) fn okm(&self) -> &[u8] {
        self.keys.okm()
    }
}
