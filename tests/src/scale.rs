//! The operator at scale: very many pods that report as sidecars do, against a real API server, and what that costs.
//!
//! Pods and Peers are stored as webhook and attestation leave them; what is measured afterwards is real: tokens of the
//! API server bound to each pod, reports over HTTPS from many addresses, reviews, decisions and writes.

mod cost;
mod crowd;

pub use cost::{Cost, Sample};
pub use crowd::Crowd;
