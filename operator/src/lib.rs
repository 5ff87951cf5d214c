//! The operator: the only program of Peerup that speaks to the Kubernetes API.
//!
//! Controllers (`network`, `pairing_code`, `peer`, `injection`) run on the replica that holds the
//! lease; the admission webhook and the operator API are served by all replicas, and the API passes
//! what needs the leader on to it. The API server is the only store.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")
)]

pub mod admission;
pub mod api;
pub mod check;
pub mod cleanup;
pub mod clock;
pub mod conditions;
pub mod config;
pub mod context;
pub mod controller;
pub mod errors;
pub mod events;
pub mod health;
pub mod http;
pub mod injection;
pub mod keys;
pub mod leader;
pub mod metrics;
pub mod network;
pub mod pairing_code;
pub mod peer;
pub mod pods;
pub mod preflight;
pub mod run;
pub mod shutdown;
pub mod tls;
pub mod watches;
