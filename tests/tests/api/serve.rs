//! The webhook and the operator API of a real operator, in front of a real API server. There are no nodes:
//! pods stay pending, which is alive enough; tokens are asked for as the kubelet asks for them.

mod attest;
mod hashes;
mod joiner;
mod kubectl;
mod members;
mod pairing;
mod refusals;
mod replicas;
mod revocation;
mod roll;
mod succession;
mod tokens;
mod told;
mod webhook;
mod world;
