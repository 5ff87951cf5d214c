//! Bodies of frames on admitted and member streams. On the stream each stands
//! behind a u16 length.

/// An enum whose values are frames of one byte.
macro_rules! one_byte {
    ($what:literal, $(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $byte:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $byte),+
        }

        impl $name {
            /// The frame's body.
            #[must_use]
            pub fn encode(self) -> Vec<u8> {
                vec![self as u8]
            }

            /// Reads a body.
            pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
                let [byte] = $crate::frame::exactly(bytes)?;
                match byte {
                    $($byte => Ok(Self::$variant),)+
                    other => Err(DecodeError::unknown($what, other)),
                }
            }
        }
    };
}

mod direct;
mod invite;
mod join;
mod member;
mod ping;
mod probe;
mod report;
mod roster;
#[cfg(test)]
mod tests;
mod trace;
mod verify;

pub use direct::{
    DirectAddress, DirectOffer, DirectOutcome, DirectSide, DirectTransport, MAX_DIRECT_ADDRESSES,
    MIN_DIRECT_PORT,
};
pub use invite::{GuestRequest, GuestResponse, InviteAnswer, InviteRegistration};
pub use join::{JoinRequest, JoinResponse};
pub use member::{MemberHello, MemberLists};
pub use ping::Ping;
pub use probe::{ProbeAnswer, ProbeAsk, ProbeFrom};
pub use report::{ReportFrame, ReportPeriods};
pub use roster::{RosterAnswer, RosterAsk, RosterPage, pages};
pub use trace::TraceAnswer;
pub use verify::{VerifyCommit, VerifyDecision, VerifyNonce};

use crate::record::Signed;
use crate::wire::{DecodeError, Reader, Writer};

/// Longest frame of most protocols, in bytes.
pub const MAX_FRAME: usize = 4096;
/// Longest frame of `member` and `roster`, in bytes.
pub const MAX_LONG_FRAME: usize = 65_535;
/// Seconds for one frame.
pub const FRAME_SECONDS: u64 = 5;
/// Seconds for one exchange.
pub const EXCHANGE_SECONDS: u64 = 12;
/// Longest record that a roster or a member frame carries.
const MAX_RECORD: usize = MAX_LONG_FRAME - 128;
/// Longest member record: label, net, serial, PeerId, name, subject, times.
const MAX_MEMBER_RECORD: usize = 512;
/// Longest guest grant: label, net, serial, two PeerIds, name, times.
const MAX_GUEST_GRANT: usize = 256;

/// A body that is so long.
fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    let mut r = Reader::new(bytes);
    let value = r.array()?;
    r.finish()?;
    Ok(value)
}

fn write_signed(w: Writer, signed: &Signed) -> Writer {
    w.lp(&signed.bytes).lp(signed.signature)
}

fn read_signed(r: &mut Reader<'_>, max: usize) -> Result<Signed, DecodeError> {
    Ok(Signed {
        bytes: r.lp(max)?.to_vec(),
        signature: r.signature()?,
    })
}

fn write_optional(w: Writer, signed: Option<&Signed>) -> Writer {
    match signed {
        Some(signed) => write_signed(w, signed),
        None => w.lp([]).lp([]),
    }
}

fn read_optional(r: &mut Reader<'_>, max: usize) -> Result<Option<Signed>, DecodeError> {
    let bytes = r.lp(max)?.to_vec();
    match (bytes.is_empty(), r.lp_array()?) {
        (true, None) => Ok(None),
        (false, Some(signature)) => Ok(Some(Signed { bytes, signature })),
        (true, Some(_)) | (false, None) => Err(DecodeError::invalid(
            "a signed record",
            "have bytes and a signature, or neither",
        )),
    }
}
