//! The controllers of a real operator in front of a real API server. There are no nodes: StatefulSets make pods that
//! stay pending, and a test writes what a kubelet or a cloud would.

mod codes;
mod ends;
mod hashes;
mod networks;
mod peers;
mod refusals;
mod rights;
mod unreadable;
mod world;
