//! Pairing as decisions: both sides of the handshake, what a joiner signs and
//! checks, the group's book, names, and who is a member. Pure: time, randomness
//! and everything read from elsewhere are arguments.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")
)]

pub mod book;
pub mod handshake;
pub mod join;
pub mod membership;
pub mod names;
