//! A peer's daemon on top of `peerup-node`, used by the sidecar and by `peerup`: it joins a network, stays a
//! member, keeps reservations at its relays, knows the other members, measures how it can be reached and reports.
//!
//! ```text
//! Agent ── one cycle ──▶ enrol (attest, pair) ──▶ session ─┬─ events   inbound member exchanges
//!                          ▲                               ├─ links    one a relay: connect, reserve, roster
//!                          └── attested and lapsed ────────├─ contacts member exchanges with other peers
//!                                                          ├─ guard    expiry, revocation, renewal
//!                                                          └─ measure  prober's sockets, reports
//! ```
//! What all of them know is in [`session`]'s shared state; what others may see is on the [`Board`], and what the
//! owner may ask in [`local`].
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")
)]

mod address;
mod agent;
mod backoff;
mod clock;
mod contacts;
mod enrol;
mod guard;
mod link;
mod listen;
pub mod local;
mod measure;
pub mod membership;
mod metrics;
mod roster;
mod session;
mod state;
pub mod status;

pub use agent::{Agent, AgentError, Config, Source};
pub use backoff::Backoff;
pub use listen::listen_on;
pub use metrics::{METRICS_TYPE, Metrics, MetricsError, ProbeResult};
pub use state::{Access, StateError, Store, is_running, read_status};
pub use status::{Board, Status};

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
