//! Words of reachability that the resources show.

use serde::{Deserialize, Serialize};

/// How well a peer can be reached, from A (best) to F (offline).
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Public IPv6.
    A,
    /// Public IPv4, or a NAT that can be punched.
    B,
    /// A port-restricted NAT.
    C,
    /// A symmetric NAT.
    D,
    /// Offline.
    F,
}

/// Which addresses count as public.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Those of the organisation.
    #[default]
    Internal,
    /// Those that are globally routable.
    Internet,
}

/// How sure a grade is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// Somebody else has tried it.
    Verified,
    /// The peer has measured it.
    Measured,
    /// The peer says so.
    Claimed,
}
