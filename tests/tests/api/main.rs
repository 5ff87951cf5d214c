//! The API tier: a real API server without nodes (see `peerup_tests::light`).
//! One binary, so that its tests share one server.

mod chart;
mod control;
mod crds;
mod serve;
mod smoke;
