//! Certificates of the webhook and of the operator API, made by the operator itself.
//!
//! An authority lies in a Secret; the lease holder makes and rotates it. Every replica mints a leaf of
//! seven days in memory and renews it at two thirds. Authorities are published (webhook configuration,
//! ConfigMaps) before anything signed by them is used, and until nothing is any more.

pub mod listener;

mod authority;
mod keeper;
mod material;
mod rotation;
mod secret;
mod webhook;

#[cfg(test)]
mod tests;

pub use keeper::Certificates;
pub use material::Material;
