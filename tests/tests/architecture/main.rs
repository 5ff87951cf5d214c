//! The rules of ARCHITECTURE.md and CONTRIBUTING.md that a program can check: who
//! imports whom, how long files and functions are, what pure rooms must not name.

#![allow(clippy::unwrap_used, reason = "tests")]

mod docs;
mod imports;
mod locks;
mod sizes;
mod sources;
mod words;
