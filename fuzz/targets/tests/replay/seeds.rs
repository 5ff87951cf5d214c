//! Where fuzzing starts: bytes of the vectors, and what the encoders write. All are
//! accepted.

mod api;
mod frames;
mod operator;
mod records;
mod text;

/// The seeds of a target, each with the name of its file.
pub(crate) fn of(target: &str) -> Vec<(String, Vec<u8>)> {
    let seeds = match target {
        "admission-review" => operator::reviews(),
        "annotations" => operator::annotations(),
        "api-answer" => api::answers(),
        "api-request" => api::requests(),
        "code" => text::codes(),
        "code-payload" => text::code_payloads(),
        "direct" => frames::directs(),
        "expose" => text::exposed(),
        "forward" => text::forwarded(),
        "guest-grant" => records::guests(),
        "guest-request" => frames::guest_requests(),
        "guest-response" => frames::guest_responses(),
        "ids" => text::ids(),
        "invite" => frames::invites(),
        "join-request" => frames::join_requests(),
        "join-response" => frames::join_responses(),
        "m1" | "m2" | "m3" | "m4" | "m5" => frames::handshake(target),
        "member" => frames::member(),
        "member-record" => records::members(),
        "nat-pmp" => frames::nat_pmp(),
        "network-document" => records::documents(),
        "ping-trace" => frames::pings_and_traces(),
        "probe" => frames::probes(),
        "quantity" => operator::quantities(),
        "relay-signature" => text::relay_signatures(),
        "report-frame" => frames::reports(),
        "report-json" => vec![("full", api::report_json().into_bytes())],
        "revocations" => records::revocations(),
        "roster-answer" => frames::roster_answers(),
        "roster-ask" => frames::roster_asks(),
        "stun-answer" => frames::stun_answers(),
        "stun-request" => frames::stun_requests(),
        "token-claims" => operator::tokens(),
        "token-review" => operator::token_reviews(),
        "verify" => frames::verifications(),
        _ => panic!("target {target} has no seeds: it would begin with nothing"),
    };
    let named = |(name, bytes)| (format!("seed-{name}"), bytes);
    seeds.into_iter().map(named).collect()
}

/// The name of a seed, and its bytes.
pub(crate) type Seeds = Vec<(&'static str, Vec<u8>)>;
