//! Words that cross a wire: ids, codes, signed records, frames, reports, the
//! operator API's bodies and STUN messages. Pure: no I/O, no clock, no
//! randomness; whoever calls brings time and secrets.
//!
//! Every decoder is total: bytes of strangers give a value or an error, never a
//! panic, and never an allocation beyond the input's own size. The vectors in
//! `vectors/` were made by an independent program; tests reproduce each byte.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")
)]

pub mod api;
pub mod code;
pub mod derive;
pub mod frame;
pub mod grade;
pub mod id;
pub mod message;
pub mod names;
pub mod natpmp;
pub mod record;
pub mod relay_address;
pub mod report;
pub mod secret;
pub mod service;
pub mod stun;
pub mod wire;

mod base64;
mod peer_text;
#[cfg(test)]
mod vectors;

pub use ed25519_dalek::{SigningKey, VerifyingKey};
pub use libp2p_identity::PeerId;
pub use multiaddr::Multiaddr;

/// Seconds since 1970-01-01 UTC.
pub type UnixTime = u64;
