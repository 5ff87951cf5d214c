//! Helpers of the tests that need more than one room: the light tier (a real API
//! server), our programs as processes, waiting with a deadline.
//!
//! The tests are in `tests/tests`: `architecture` (unit tier), `api` (light tier), `lab`
//! (network namespaces), `e2e` (a kind cluster); `make demo` is `src/bin/demo.rs`.

pub mod crds;
pub mod lab;
pub mod light;
pub mod network;
pub mod operator;
pub mod programs;
pub mod scale;
pub mod story;
pub mod tally;
pub mod tools;
pub mod wait;
