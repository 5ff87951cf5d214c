//! How well a peer can be reached: measuring (sans I/O), NAT classes, grade.
//!
//! ```text
//! prober     questions and answers over one socket per IP version → Measurement
//! filtering  which packets come in: answers of relays and datagrams → Filtering
//! nat        Measurement → mapping (RFC 4787), one word for the NAT
//! assess     Facts (addresses, relay links, Measurement) → Assessment: the grade
//! steady     Assessments over time → the one to report
//! pair       what two peers measured → whether they can meet without a relay
//! ```
//!
//! Pure: time is a [`std::time::Duration`] since any fixed moment, transaction
//! ids are drawn by the caller. Nothing is claimed that was not measured: what
//! nobody could test is said in the evidence.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")
)]

pub mod address;
pub mod assess;
pub mod filtering;
pub mod nat;
pub mod pair;
pub mod prober;
pub mod steady;

pub use address::{Cidr, World};
pub use assess::{Assessment, Facts, Link, Transport, assess};
pub use pair::can_punch;
pub use prober::{Measurement, Output, Prober, Server};
pub use steady::Steady;
