//! The program itself, in the background and in the foreground, against a relay on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../../../libs/agent/tests/agent/relay.rs"]
#[allow(
    dead_code,
    reason = "the relay of the agent's tests, which use all of it"
)]
mod relay;
#[path = "../../../libs/agent/tests/agent/wait.rs"]
mod wait;

mod absent;
mod background;
mod between;
mod foreground;
mod guests;
mod permissions;
mod seat;
