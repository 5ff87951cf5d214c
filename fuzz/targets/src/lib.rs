//! What the fuzzer calls: one function for each parser of bytes that come from
//! strangers, and what must hold whatever the bytes are. Nothing panics; memory stays
//! in proportion to the input; what is accepted encodes to the same bytes.
//!
//! `fuzz/` drives these functions with libFuzzer; `tests/replay` feeds them the
//! committed corpora on a stable compiler.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a target says what it found"
)]

mod admission;
mod api;
mod code;
mod frames;
mod handshake;
mod property;
mod records;
mod report;
mod service;
mod stun;
mod text;
mod tokens;

pub mod vectors;

/// Runs one parser on these bytes; true if it accepts them. Panics when a property breaks.
pub type Target = fn(&[u8]) -> bool;

/// Every target by its name, which is also the name of its folder in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("admission-review", admission::review),
    ("annotations", admission::annotations),
    ("api-answer", api::answers),
    ("api-request", api::requests),
    ("code", code::text),
    ("code-payload", code::payload),
    ("direct", frames::direct),
    ("expose", service::expose),
    ("forward", service::forward),
    ("guest-grant", records::guest),
    ("guest-request", frames::guest_request),
    ("guest-response", frames::guest_response),
    ("ids", text::ids),
    ("invite", frames::invite),
    ("join-request", frames::join_request),
    ("join-response", frames::join_response),
    ("m1", handshake::m1),
    ("m2", handshake::m2),
    ("m3", handshake::m3),
    ("m4", handshake::m4),
    ("m5", handshake::m5),
    ("member", frames::member),
    ("member-record", records::member),
    ("nat-pmp", stun::nat_pmp),
    ("network-document", records::network_document),
    ("ping-trace", frames::ping_and_trace),
    ("probe", frames::probe),
    ("quantity", admission::quantity),
    ("relay-signature", text::relay_signature),
    ("report-frame", frames::report),
    ("report-json", report::json),
    ("revocations", records::revocations),
    ("roster-answer", frames::roster_answer),
    ("roster-ask", frames::roster_ask),
    ("stun-answer", stun::answer),
    ("stun-request", stun::request),
    ("token-claims", tokens::claims),
    ("token-review", tokens::review),
    ("verify", frames::verify),
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, target)| *target)
}
