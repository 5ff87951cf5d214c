//! Records: those of the vectors, and the longest.

use peerup_fuzz_targets::vectors::vectors;
use peerup_protocol::id::{PeerName, Serial};
use peerup_protocol::record::{
    Flags, MemberRecord, Method, NetworkDocument, Relay, Revocations, Signed,
};

use super::Seeds;

pub(crate) fn members() -> Seeds {
    let v = vectors();
    let attested = MemberRecord {
        net: v.net,
        serial: Serial(u64::MAX >> 1),
        peer: v.joiner,
        name: PeerName::parse("web-0").unwrap(),
        subject: "home/shop/web/web-0".to_owned(),
        method: Method::Attested,
        issued: v.issued,
        not_after: v.issued + 7200,
    };
    let longest = MemberRecord {
        name: PeerName::parse(&"n".repeat(63)).unwrap(),
        subject: "s".repeat(253),
        method: Method::Voucher,
        ..attested.clone()
    };
    vec![
        ("vector", v.file.bytes("/signed/member_record")),
        ("attested", attested.encode()),
        ("longest", longest.encode()),
    ]
}

pub(crate) fn guests() -> Seeds {
    vec![("vector", vectors().grant.clone())]
}

pub(crate) fn revocations() -> Seeds {
    let v = vectors();
    let list = |count: u64| Revocations {
        net: v.net,
        epoch: 8,
        issued: v.issued,
        serials: (1..=count).map(|n| Serial(n * 1000)).collect(),
    };
    vec![
        ("vector", v.file.bytes("/signed/revocations")),
        ("empty", list(0).encode()),
        ("long", list(400).encode()),
    ]
}

pub(crate) fn documents() -> Seeds {
    let v = vectors();
    let relay = Relay {
        peer: v.relay,
        addresses: [
            "/dns4/mesh-relay-0.mesh-relay.shop.svc/tcp/4001",
            "/ip4/203.0.113.6/udp/4001/quic-v1",
            "/ip6/2001:db8::6/tcp/4001",
            "/ip4/203.0.113.6/udp/3478",
            "/ip4/203.0.113.6/udp/3479",
        ]
        .map(|address| address.parse().unwrap())
        .into(),
    };
    let document = NetworkDocument {
        net: v.net,
        epoch: 9,
        issued: v.issued,
        namespace: v.namespace.clone(),
        cluster: "home".to_owned(),
        flags: Flags {
            guests: true,
            access_default_deny: true,
            verification_required: true,
            stale_refused: true,
        },
        relays: vec![relay; 3],
        access: vec!["http=laptop,ns:shop".to_owned(), "*=*".to_owned()],
    };
    vec![
        ("vector", v.file.bytes("/signed/network_document")),
        ("full", document.encode()),
    ]
}

/// The vectors' record with its signature.
pub(crate) fn signed(name: &str, signature: &str) -> Signed {
    let file = &vectors().file;
    Signed {
        bytes: file.bytes(&format!("/signed/{name}")),
        signature: file.array(&format!("/signed/{signature}")),
    }
}
