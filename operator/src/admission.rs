//! The admission webhook: gives pods that opted in their sidecar.
//!
//! Anyone in the cluster may call it: it answers nothing secret, writes nothing and asks the API server
//! nothing. `select` says which network a pod belongs to, `options` what its annotations ask for,
//! `inject` what is to be changed, `review` how the API server asks and is answered; all four are pure.

pub mod inject;
pub mod options;
pub mod quantity;
pub mod review;
pub mod select;

mod merge;
mod resources;
mod server;
mod sidecar;

#[cfg(test)]
mod tests;

pub use server::{serve, settings};
