//! Helpers of the tests that need more than one room: the light tier (a real API
//! server), our programs as processes, waiting with a deadline.
//!
//! The tests are in `tests/tests`: `architecture` (unit tier), `api` (light tier).

pub mod crds;
pub mod light;
pub mod programs;
pub mod tools;
pub mod wait;
