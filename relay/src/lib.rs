//! Peerup's relay: carries circuits between peers that cannot reach each other, pairs newcomers as the operator
//! decides, tells members who else there is, answers STUN. It holds no Kubernetes credentials but a token for the
//! operator's API, and can neither read what it carries nor mint a member.
//!
//! ```text
//! operator ◀── roster (long poll), presence ── sync, presence ──▶ network: roster, admissions ──▶ node
//!          ◀── lookup, redeem, failure ─────── pairing ◀──┐
//!          ◀── renew, report ──────────────────────────── inbound ◀── streams of peers ───────── node
//! ```
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")
)]

mod addresses;
mod clock;
pub mod config;
mod egress;
mod guests;
mod http;
mod inbound;
mod invites;
mod limits;
mod metrics;
mod network;
mod pairing;
mod presence;
mod probing;
mod relay;
mod roster;
mod store;
mod stun;
mod sync;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use relay::{Relay, StartError};
