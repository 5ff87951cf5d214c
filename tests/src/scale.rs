//! The operator at scale: very many pods that report as sidecars do, against a real API server, and what that costs.
//!
//! The webhook gives the pods their sidecar, which nobody runs, and their Peers are stored as attestation leaves them.
//! What is measured afterwards is real: tokens of the API server bound to each pod, reports over HTTPS from many
//! addresses, reviews, decisions and writes.

mod cost;
mod crowd;
mod reporter;

pub use cost::{Cost, Sample};
pub use crowd::Crowd;
