//! A peer's daemon on top of `peerup-node`, used by the sidecar and by `peerup`: it joins a network, stays a
//! member, keeps reservations at its relays, knows the other members, measures how it can be reached and reports.
//!
//! ```text
//! Agent ── one cycle ──▶ enrol (attest, pair) ──▶ session ─┬─ inbound  what others open: exchanges, pings, services
//!                          ▲                               ├─ links    one a relay: connect, reserve, roster
//!                          └── attested and lapsed ────────├─ contacts member exchanges with other peers
//!                                                          ├─ direct   connections without a relay
//!                                                          ├─ guard    expiry, revocation, renewal
//!                                                          └─ measure  prober's sockets, reports
//! ```
//! What all of them know is in [`session`]'s shared state; what others may see is on the [`Board`]. What outlives a
//! membership (services, comparisons) is in [`shared`], and others ask for it by the [`Handle`], other processes of
//! the owner through [`local`]:
//!
//! ```text
//! Handle ─┬─ ping, trace ──────▶ reach ──▶ node
//!         ├─ verify ─▶ verify ─▶ reach
//!         └─ expose, forward ──▶ services ─▶ reach
//! ```
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")
)]

mod address;
mod agent;
mod backoff;
mod clock;
mod contacts;
mod direct;
mod enrol;
mod guard;
mod handle;
mod hosting;
mod inbound;
mod lines;
mod link;
mod listen;
pub mod local;
mod measure;
pub mod membership;
mod metrics;
pub mod netcheck;
mod reach;
mod roster;
mod services;
mod session;
mod shared;
mod state;
pub mod status;
mod verify;

pub use agent::{Agent, AgentError, Config, Source};
pub use backoff::Backoff;
pub use handle::{Handle, Hop, MeasureError, PeerError, Pong};
pub use hosting::{Invitation, InviteError, InviteState};
pub use listen::listen_on;
pub use metrics::{METRICS_TYPE, Metrics, MetricsError, ProbeResult};
pub use peerup_node::path::PathError;
pub use peerup_pairing::sas::{Emoji, Fingerprint};
pub use reach::ReachError;
pub use services::{Exposed, Forwarded, ServiceLimits, ServiceList, ServicesError};
pub use state::{Access, StateError, Store, is_running, read_status};
pub use status::{Board, Status};
pub use verify::{Comparison, ComparisonError, Outcome, VerifyError};

use peerup_protocol::secret::Secret;
use peerup_protocol::{PeerId, SigningKey, id};

/// A new identity's seed, from the operating system's randomness.
#[must_use]
pub fn fresh_seed() -> Secret<32> {
    Secret::new(rand::random())
}

/// The identity that a seed makes.
#[must_use]
pub fn own_id(seed: &Secret<32>) -> PeerId {
    id::peer_id(&SigningKey::from_bytes(seed.expose()).verifying_key())
}
