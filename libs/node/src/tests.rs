//! Real swarms on loopback: events with deadlines, no sleeps.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test picks the event it waits for"
)]

mod admission;
mod circuits;
mod dht;
mod guests;
mod invites;
mod limits;
mod pairing;
mod probation;
mod services;
mod strangers;
mod support;
mod ways;
