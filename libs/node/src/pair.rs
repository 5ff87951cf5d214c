//! The pairing handshake over a stream: the joiner's I/O and the responder's, which
//! is a relay (stream `pair`) or an inviter (stream `invite`). All decisions are in
//! `peerup_pairing::handshake`; here are frames, deadlines, randomness and the
//! responder's silence.

mod invite;
mod joiner;
mod responder;

#[cfg(test)]
mod tests;

use std::time::Duration;

use peerup_protocol::secret::Secret;
use rand::{TryRng, rngs::SysRng};

pub use invite::{
    Host, InviteError, InviteVerdict, accept_invite, redeem_invite, relays_of_invite,
};
pub use joiner::{PairError, Paired, join, pair};
pub use responder::{Desk, Ends, Lookup, Verdict, respond};

/// How long a joiner waits for the answer to its request.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// A responder that fails says nothing and resets at the first multiple of this after M1 …
pub const SILENCE_STEP: Duration = Duration::from_secs(3);
/// … at which the failure is durable, and here in any case.
pub const SILENCE_END: Duration = Duration::from_secs(12);

/// 32 bytes of the operating system's randomness.
fn random() -> Result<Secret<32>, rand::rngs::SysError> {
    let mut bytes = [0; 32];
    SysRng.try_fill_bytes(&mut bytes)?;
    Ok(Secret::new(bytes))
}
