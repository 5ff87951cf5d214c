//! The admission webhook: gives pods that opted in their sidecar.
//!
//! Anyone in the cluster may call it: it answers nothing secret, writes nothing and asks the API server
//! nothing. `select` says which network a pod belongs to, `options` what its annotations ask for,
//! `inject` what is to be changed; all three are pure.

pub mod inject;
pub mod options;
pub mod select;

mod merge;
mod quantity;
mod server;
mod sidecar;

#[cfg(test)]
mod tests;

pub use server::{serve, settings};
