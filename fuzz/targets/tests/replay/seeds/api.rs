//! JSON bodies.

use peerup_fuzz_targets::vectors::{Vectors, vectors};
use peerup_protocol::api::{
    AttestAnswer, AttestRequest, FailureRequest, IssuedRecord, Limits, LookupAnswer, LookupRequest,
    OutsideReport, PodReport, PresenceAnswer, PresenceRequest, Problem, RedeemAnswer,
    RedeemRequest, RefusalReason, Refused, RenewAnswer, RenewRequest, ReportAnswer, ReportRequest,
    RosterAnswer, Settings,
};
use peerup_protocol::code::HandshakeKind;
use peerup_protocol::grade::{
    Confidence, Evidence, Filtering, Grade, Mapping, NatType, Path, Scope,
};
use peerup_protocol::id::Serial;
use peerup_protocol::report::Report;
use peerup_protocol::secret::SecretText;
use serde::Serialize;

use super::{Seeds, records::signed};

fn report() -> Report {
    let v = vectors();
    Report {
        grade: Grade::B,
        grade_reason: "A NAT through which holes can be punched.".to_owned(),
        scope: Scope::Internet,
        nat_type: NatType::FullCone,
        mapping: Mapping::EndpointIndependent,
        filtering: Filtering::EndpointIndependent,
        confidence: Confidence::Measured,
        evidence: Evidence::ALL.iter().copied().take(16).collect(),
        public_addresses: vec![
            "203.0.113.7".parse().unwrap(),
            "2001:db8::7".parse().unwrap(),
        ],
        path: Path::Direct,
        relays: vec![v.relay],
        changed_time: v.issued,
        version: "0.1.0".to_owned(),
    }
}

pub(crate) fn report_json() -> String {
    report().to_json().unwrap()
}

pub(crate) fn requests() -> Seeds {
    let v = vectors();
    let signature = v.file.array("/signed/report_signature");
    let outside = OutsideReport {
        peer_id: v.joiner,
        time: v.issued,
        report: report_json(),
        signature,
    };
    let attest = AttestRequest {
        peer_id: v.joiner,
        signature: v.file.array("/signed/attest_signature"),
    };
    let pod = ReportRequest::Pod(PodReport { report: report() });
    let presence = PresenceRequest {
        online: vec![v.joiner, v.relay],
        reservations: 2,
    };
    vec![
        ("attest", body(&attest)),
        ("report-pod", body(&pod)),
        ("report-outside", body(&ReportRequest::Outside(outside))),
        ("lookup", body(&lookup(v))),
        ("redeem", body(&redeem(v))),
        ("failure", body(&failure(v))),
        ("renew", body(&RenewRequest { peer_id: v.joiner })),
        ("presence", body(&presence)),
    ]
}

fn lookup(v: &Vectors) -> LookupRequest {
    LookupRequest {
        kind: HandshakeKind::Group,
        group: v.group,
        slot: v.slot,
        peer_id: v.joiner,
    }
}

fn redeem(v: &Vectors) -> RedeemRequest {
    RedeemRequest {
        kind: HandshakeKind::Voucher,
        group: v.group,
        slot: v.slot,
        peer_id: v.joiner,
        name: v.name.clone(),
        proof: v.file.array("/signed/code_signature"),
        identity: v.file.array("/signed/identity_signature"),
    }
}

fn failure(v: &Vectors) -> FailureRequest {
    FailureRequest {
        group: v.group,
        slot: v.slot,
        peer_id: v.joiner,
        reason: RefusalReason::BadMac,
    }
}

pub(crate) fn answers() -> Seeds {
    let v = vectors();
    let attest = AttestAnswer {
        code: SecretText::new(v.file.text("/code/text_group").to_owned()),
        name: v.name.clone(),
        settings: settings(),
    };
    let lookup = LookupAnswer {
        salt: v.file.array("/handshake_group/salt"),
        attested: true,
    };
    let refused = RedeemAnswer::Refused(Refused {
        refused: RefusalReason::Used,
        counted: true,
    });
    vec![
        ("attest", body(&attest)),
        (
            "report",
            body(&ReportAnswer {
                settings: settings(),
            }),
        ),
        ("lookup", body(&lookup)),
        ("redeem", body(&issued(v))),
        ("refused", body(&refused)),
        ("renew", body(&renewed(v))),
        ("presence", body(&presence())),
        ("roster", body(&roster())),
        ("problem", body(&problem())),
    ]
}

fn settings() -> Settings {
    Settings {
        scope: Scope::Internal,
        internal_cidrs: vec!["10.0.0.0/8".to_owned()],
        probe_period_seconds: 60,
        report_period_seconds: 30,
        offline_after_seconds: 90,
        stabilization_seconds: 60,
        stun_servers: Vec::new(),
    }
}

fn issued(v: &Vectors) -> RedeemAnswer {
    RedeemAnswer::Record(IssuedRecord {
        record: v.file.bytes("/signed/member_record"),
        signature: v.file.array("/signed/member_signature"),
        network_public_key: v.file.array("/identities/network_public_key"),
    })
}

fn renewed(v: &Vectors) -> RenewAnswer {
    RenewAnswer {
        record: v.file.bytes("/signed/member_record"),
        signature: v.file.array("/signed/member_signature"),
    }
}

fn presence() -> PresenceAnswer {
    PresenceAnswer {
        addresses: vec![
            "/ip4/203.0.113.6/udp/4001/quic-v1".parse().unwrap(),
            "/dns4/relay.example.org/tcp/4001".parse().unwrap(),
        ],
        limits: Limits {
            max_reservations: 1024,
            max_circuits: 2048,
            circuit_timeout_seconds: 3600,
            circuit_data_limit: 0,
            max_probationary_peers: 10,
            probation_timeout_seconds: 15,
        },
    }
}

fn roster() -> RosterAnswer {
    RosterAnswer {
        run: 1,
        seq: 2,
        full: true,
        records: vec![signed("member_record", "member_signature")],
        gone: vec![Serial(5)],
        revocations: signed("revocations", "revocations_signature"),
        network_document: signed("network_document", "network_document_signature"),
    }
}

fn problem() -> Problem {
    Problem {
        kind: "about:blank".to_owned(),
        title: "Not Found".to_owned(),
        status: 404,
        detail: Some("no such slot".to_owned()),
    }
}

fn body(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}
