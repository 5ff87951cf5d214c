//! Pairing as decisions: both sides of the handshake, what a joiner signs and
//! checks, the group's book, invites, names, who is a member, and how two people verify
//! each other. Pure: time, randomness
//! and everything read from elsewhere are arguments.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")
)]

pub mod book;
pub mod handshake;
pub mod invite;
pub mod join;
pub mod limiter;
pub mod membership;
pub mod names;
pub mod sas;
