//! The lab: an Internet of network namespaces, with NATs made of nftables rules, in which
//! real relays and peers run.
//!
//! Everything lies in namespaces that belong to one run (see [`sandbox`]), so that nothing
//! of it is left when that run ends, however it ends:
//!
//! ```text
//!   sandbox: etcd, API server, operator, the tests       172.30.0.1
//!      │ management, no route leads over it
//!   relay ── 11.0.1.2, 2a00:1:1::2 ──┐
//!   relay ── 11.0.2.2, 2a00:1:2::2 ──┤ internet, which has no way out
//!   client ── router ── 11.0.3.2 ────┘
//! ```
//!
//! The addresses are globally routable ones, so that no rule about addresses has to be bent.

pub mod internet;
pub mod namespace;
pub mod nat;
pub mod peer;
pub mod relay;
pub mod sandbox;
pub mod site;
