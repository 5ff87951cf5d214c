//! The libp2p swarm of a peer or a relay, behind plain methods and events: the
//! only room that names libp2p.
//!
//! A connection whose remote is not admitted is *gated*: it carries identify
//! and the streams `member` and (at relays) `pair`, and the other behaviours
//! never hear of it. Admission is by PeerId and takes effect on connections
//! that are established afterwards, so whoever dialled closes and dials again
//! ([`member::connect`]).
//!
//! ```text
//! Node ── commands ──▶ swarm task ── events, inbound streams ──▶ Receiver<Event>
//! ```
//! Every queue is bounded. When the receiver is not read, the swarm stops
//! reading from the network; so read events in a task of their own and await
//! the methods that wait for the network (`dial`, `open`, `reserve`) elsewhere.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")
)]

mod behaviour;
mod carried;
mod circuits;
mod config;
mod counters;
mod dht;
mod event;
mod gate;
mod invites;
pub mod io;
pub mod member;
mod members;
pub mod names;
mod node;
pub mod pair;
pub mod path;
pub mod probation;
mod protocol;
mod quiet;
mod stream;
mod streams;
mod targets;
mod task;
#[cfg(test)]
mod tests;
mod transport;

pub use libp2p::swarm::ConnectionId;
pub use peerup_protocol::{Multiaddr, PeerId};

pub use config::{Config, RelayLimits, Role};
pub use counters::{Connections, Denied, Snapshot, Way};
pub use event::{Event, Origin};
pub use node::{DhtError, DialError, Node, NodeError, OpenError, ReserveError, start};
pub use probation::{Pool, ProbationLimits};
pub use protocol::{Protocol, TooManyServices};
pub use stream::Stream;
