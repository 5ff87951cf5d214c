//! Frames and datagrams.

use peerup_fuzz_targets::vectors::vectors;
use peerup_protocol::frame::{
    DirectAddress, DirectOffer, DirectOutcome, DirectSide, InviteAnswer, InviteRegistration,
    MemberHello, MemberLists, Ping, ProbeAnswer, ProbeAsk, ProbeFrom, ReportFrame, ReportPeriods,
    RosterAnswer, RosterAsk, RosterPage, TraceAnswer, VerifyCommit, VerifyDecision,
};
use peerup_protocol::grade::{Filtering, Grade, Mapping};
use peerup_protocol::id::Serial;
use peerup_protocol::record::Signed;
use peerup_protocol::stun::{self, server};

use super::{Seeds, api, records::signed};

/// The frame of the vectors, of each kind of handshake where the frame differs in form;
/// for sealed ones also the padded plain text.
pub(crate) fn handshake(frame: &str) -> Seeds {
    let v = vectors();
    let of = |kind: &str| v.file.bytes(&format!("/handshake_{kind}/{frame}"));
    let kinds = ["group", "invite", "voucher"];
    let plain: &[u8] = match frame {
        "m1" => return kinds.map(|kind| (kind, of(kind))).into(),
        "m3" => &v.request,
        "m4" => &v.response,
        "m5" => b"committed",
        _ => return vec![("vector", of("group"))],
    };
    let length = u16::try_from(plain.len()).unwrap().to_be_bytes();
    let mut padded = [&length, plain].concat();
    padded.resize(1024, 0);
    vec![("vector", of("group")), ("plain", padded)]
}

pub(crate) fn join_requests() -> Seeds {
    vec![("vector", vectors().request.clone())]
}

pub(crate) fn join_responses() -> Seeds {
    vec![("vector", vectors().response.clone())]
}

pub(crate) fn guest_requests() -> Seeds {
    vec![("vector", vectors().file.bytes("/handshake_invite/request"))]
}

pub(crate) fn guest_responses() -> Seeds {
    vec![("vector", vectors().file.bytes("/handshake_invite/response"))]
}

pub(crate) fn invites() -> Seeds {
    let registration = InviteRegistration {
        group: vectors().group,
        until: vectors().issued + 600,
    };
    vec![
        ("registration", registration.encode()),
        ("answer", InviteAnswer::Full.encode()),
    ]
}

pub(crate) fn verifications() -> Seeds {
    let commit = vectors().file.array("/verify/commitment");
    vec![
        ("commit", VerifyCommit(commit).encode()),
        ("matches", VerifyDecision::Matches.encode()),
    ]
}

pub(crate) fn pings_and_traces() -> Seeds {
    let trace = |relayed, observed: &str| TraceAnswer {
        relayed,
        observed: observed.parse().unwrap(),
    };
    let relay = vectors().relay;
    let circuit = format!("/ip4/203.0.113.6/tcp/4001/p2p/{relay}/p2p-circuit");
    vec![
        ("ping", Ping(7).encode()),
        (
            "direct",
            trace(false, "/ip6/2001:db8::6/udp/4001/quic-v1").encode(),
        ),
        ("relayed", trace(true, &circuit).encode()),
    ]
}

pub(crate) fn directs() -> Seeds {
    let address = |text: &str| DirectAddress::from_multiaddr(&text.parse().unwrap()).unwrap();
    let full = DirectOffer {
        addresses: vec![
            address("/ip6/2001:db8::6/udp/4001/quic-v1"),
            address("/ip6/2001:db8::6/tcp/4001"),
            address("/ip4/192.0.2.6/udp/54001/quic-v1"),
            address("/ip4/10.0.0.6/tcp/4001"),
        ],
        side: Some(DirectSide {
            grade: Grade::B,
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::AddressDependent,
        }),
    };
    let nowhere = DirectOffer {
        addresses: Vec::new(),
        side: None,
    };
    vec![
        ("offer", full.encode()),
        ("nowhere", nowhere.encode()),
        ("not-reached", DirectOutcome::NotReached.encode()),
    ]
}

fn member_record() -> Signed {
    signed("member_record", "member_signature")
}

fn revocations() -> Signed {
    signed("revocations", "revocations_signature")
}

fn document() -> Signed {
    signed("network_document", "network_document_signature")
}

pub(crate) fn member() -> Seeds {
    let hello = |credential| MemberHello {
        credential,
        epoch: 7,
        issued: vectors().issued,
    };
    let lists = MemberLists {
        revocations: revocations(),
    };
    vec![
        ("member", hello(member_record()).encode()),
        ("relay", hello(document()).encode()),
        ("lists", lists.encode()),
    ]
}

pub(crate) fn probes() -> Seeds {
    let ask = |from| ProbeAsk {
        nonce: *b"sixteen bytes ..",
        port: 40_000,
        from,
    };
    vec![
        ("main", ask(ProbeFrom::MainPort).encode()),
        ("other", ask(ProbeFrom::OtherPort).encode()),
        ("answer", ProbeAnswer::Limited.encode()),
    ]
}

pub(crate) fn reports() -> Seeds {
    let frame = ReportFrame {
        time: vectors().issued,
        json: api::report_json().into_bytes(),
        signature: vectors().file.array("/signed/report_signature"),
    };
    let periods = ReportPeriods {
        probe: 60,
        report: 30,
        offline_after: 90,
        stabilization: 60,
    };
    vec![("full", frame.encode()), ("periods", periods.encode())]
}

pub(crate) fn roster_asks() -> Seeds {
    let sync = RosterAsk::Sync { run: 1, seq: 2 };
    vec![
        ("sync", sync.encode()),
        ("renew", RosterAsk::Renew.encode()),
    ]
}

pub(crate) fn roster_answers() -> Seeds {
    let page = RosterPage {
        run: 1,
        seq: 2,
        full: true,
        last: true,
        records: vec![member_record(); 2],
        gone: vec![Serial(5), Serial(9)],
    };
    let lists = |revocations, document| RosterAnswer::Lists {
        revocations,
        document,
    };
    vec![
        ("page", RosterAnswer::Page(page).encode()),
        ("empty", RosterAnswer::Page(RosterPage::default()).encode()),
        (
            "lists",
            lists(Some(revocations()), Some(document())).encode(),
        ),
        ("document", lists(None, Some(document())).encode()),
        ("record", RosterAnswer::Record(member_record()).encode()),
        ("refused", RosterAnswer::Refused.encode()),
    ]
}

/// A padded question, a bare one, and one with CHANGE-REQUEST, which is not served.
pub(crate) fn stun_requests() -> Seeds {
    let padded = stun::request(b"twelve bytes");
    let mut bare = padded[..20].to_vec();
    bare[3] = 0;
    let mut change = [&bare, [0, 3, 0, 4, 0, 0, 0, 6].as_slice()].concat();
    change[3] = 8;
    vec![("padded", padded), ("bare", bare), ("change", change)]
}

pub(crate) fn nat_pmp() -> Seeds {
    vec![
        ("told", vec![0, 128, 0, 0, 0, 0, 1, 44, 100, 64, 7, 2]),
        ("none", vec![0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ]
}

pub(crate) fn stun_answers() -> Seeds {
    let questions = stun_requests();
    let answer = |question: usize, source: &str| {
        let local = server::Local {
            origin: "198.51.100.1:3478".parse().unwrap(),
            other: "[2001:db8::1]:3479".parse().unwrap(),
        };
        let answer = server::answer(&questions[question].1, source.parse().unwrap(), &local);
        answer.unwrap().bytes
    };
    vec![
        ("v4", answer(0, "192.0.2.1:5000")),
        ("v6", answer(0, "[2001:db8::2]:5000")),
        ("short", answer(1, "192.0.2.1:5000")),
        ("error", answer(2, "192.0.2.1:5000")),
    ]
}
