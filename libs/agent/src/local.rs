//! The local API of a peer: HTTP with JSON over a Unix socket in its state directory, for its owner only.
//!
//! ```text
//! peerup status ── Client ──▶ run/api.sock ──▶ Server ── callers by uid, bounded ──▶ routes ──▶ Board
//! ```
//! The socket has mode 0600 in a directory with mode 0700, and whoever connects must run as the same user or as
//! root. Only the holder of the state directory's lock makes the socket, so one that a crash left behind is in
//! nobody's way. Errors are problem documents (RFC 9457) whose titles are single words.

mod body;
mod caller;
mod client;
mod comparisons;
mod invites;
mod problem;
mod routes;
mod server;
mod services;
mod socket;
#[cfg(test)]
mod tests;
mod tunnel;
mod wanted;
mod wire;

pub use client::{Client, ClientError};
pub use invites::{Invite, InviteWord};
pub use problem::title;
pub use routes::Peer;
pub use server::Server;
pub use tunnel::bridge;
pub use wire::{Comparison, Emoji, Hop, Outcome, Pong};

/// Paths of the API.
mod path {
    /// `GET`: [`crate::Status`].
    pub(super) const STATUS: &str = "/v1/status";
    /// `POST`: the process ends in good order.
    pub(super) const STOP: &str = "/v1/stop";
    /// `POST`: [`crate::netcheck::Netcheck`], measured anew.
    pub(super) const MEASURE: &str = "/v1/measure";
    /// `POST`: one ping.
    pub(super) const PING: &str = "/v1/ping";
    /// `POST`: the way to a peer.
    pub(super) const TRACE: &str = "/v1/trace";
    /// `POST`: something to compare; `POST` to `/<id>`: what the person says.
    pub(super) const COMPARISONS: &str = "/v1/comparisons";
    /// `POST`: sixty digits for a comparison without meeting; `PUT`: what the other person reads out.
    pub(super) const DIGITS: &str = "/v1/digits";
    /// `POST`: opens an invite; `GET`: those that wait; `GET` and `DELETE` to `/<id>`.
    pub(super) const INVITES: &str = "/v1/invites";
    /// `DELETE` to `/<name>`: sends a guest away.
    pub(super) const GUESTS: &str = "/v1/guests";
    /// `GET`: [`crate::ServiceList`].
    pub(super) const SERVICES: &str = "/v1/services";
    /// `POST`: exposes a service; `DELETE` to `/<service>`.
    pub(super) const EXPOSED: &str = "/v1/services/exposed";
    /// `POST`: forwards a local port; `DELETE` to `/<port>`.
    pub(super) const FORWARDS: &str = "/v1/services/forwards";
}

/// Largest body of a request, in bytes.
const MAX_REQUEST: usize = 16 * 1024;
/// Largest body of an answer, in bytes: a status with all members of a large network.
const MAX_ANSWER: usize = 8 * 1024 * 1024;
