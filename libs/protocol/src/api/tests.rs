//! The bodies as kubernetes.md writes them.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn peer() -> PeerId {
    crate::id::peer_id(&crate::SigningKey::from_bytes(&[3; 32]).verifying_key())
}

fn base64(byte: u8, count: usize) -> String {
    data_encoding::BASE64.encode(&vec![byte; count])
}

/// Writes as this JSON, and this JSON reads as it.
fn is<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(value: T, json: Value) {
    assert_eq!(serde_json::to_value(&value).unwrap(), json);
    assert_eq!(serde_json::from_value::<T>(json).unwrap(), value);
}

fn settings() -> (Settings, Value) {
    let settings = Settings {
        scope: Scope::Internal,
        internal_cidrs: vec!["10.0.0.0/8".to_owned()],
        probe_period_seconds: 60,
        report_period_seconds: 30,
        offline_after_seconds: 90,
        stabilization_seconds: 60,
        stun_servers: vec!["stun.example.com:3478".to_owned()],
    };
    let json = json!({
        "scope": "Internal", "internalCIDRs": ["10.0.0.0/8"], "probePeriodSeconds": 60,
        "reportPeriodSeconds": 30, "offlineAfterSeconds": 90, "stabilizationSeconds": 60,
        "stunServers": ["stun.example.com:3478"],
    });
    (settings, json)
}

#[test]
fn attest() {
    let peer_id = peer();
    is(
        AttestRequest {
            peer_id,
            signature: [1; 64],
        },
        json!({"peerID": peer_id.to_string(), "signature": base64(1, 64)}),
    );
    let (settings, settings_json) = settings();
    let answer = AttestAnswer {
        code: SecretText::new("peerup1-abc".to_owned()),
        name: PeerName::parse("web-0").unwrap(),
        settings,
    };
    assert!(!format!("{answer:?}").contains("abc"));
    is(
        answer,
        json!({"code": "peerup1-abc", "name": "web-0", "settings": settings_json}),
    );
}

#[test]
fn lookup_and_redeem() {
    let (peer_id, group, slot, kind) = (peer(), GroupId([2; 8]), Slot(7), HandshakeKind::Group);
    let head = json!({"kind": "group", "group": "0202020202020202", "slot": 7, "peerID": peer_id.to_string()});
    is(
        LookupRequest {
            kind,
            group,
            slot,
            peer_id,
        },
        head.clone(),
    );
    is(
        LookupAnswer {
            salt: [3; 32],
            attested: true,
        },
        json!({"salt": base64(3, 32), "attested": true}),
    );
    let name = PeerName::parse("laptop").unwrap();
    let request = RedeemRequest {
        kind,
        group,
        slot,
        peer_id,
        name,
        proof: [4; 64],
        identity: [5; 64],
    };
    let mut json = head;
    json["name"] = json!("laptop");
    json["proof"] = json!(base64(4, 64));
    json["identity"] = json!(base64(5, 64));
    is(request, json);
    let record = IssuedRecord {
        record: vec![6; 3],
        signature: [7; 64],
        network_public_key: [8; 32],
    };
    let json = json!({"record": base64(6, 3), "signature": base64(7, 64), "networkPublicKey": base64(8, 32)});
    is(RedeemAnswer::Record(record), json);
    let refused = Refused {
        refused: RefusalReason::Used,
        counted: true,
    };
    is(
        RedeemAnswer::Refused(refused),
        json!({"refused": "Used", "counted": true}),
    );
}

#[test]
fn failure_renew_presence() {
    let (peer_id, group, slot) = (peer(), GroupId([2; 8]), Slot::ATTESTED);
    let failure = FailureRequest {
        group,
        slot,
        peer_id,
        reason: RefusalReason::BadMac,
    };
    let id = peer_id.to_string();
    is(
        failure,
        json!({"group": "0202020202020202", "slot": 65535, "peerID": id, "reason": "BadMac"}),
    );
    is(Empty {}, json!({}));
    is(RenewRequest { peer_id }, json!({"peerID": id}));
    is(
        RenewAnswer {
            record: vec![1],
            signature: [2; 64],
        },
        json!({"record": base64(1, 1), "signature": base64(2, 64)}),
    );
    is(
        PresenceRequest {
            online: vec![peer_id],
            reservations: 1,
        },
        json!({"online": [id], "reservations": 1}),
    );
    let limits = Limits {
        max_reservations: 1024,
        max_circuits: 1024,
        circuit_timeout_seconds: 120,
        circuit_data_limit: 0,
        max_probationary_peers: 10,
        probation_timeout_seconds: 15,
    };
    let answer = PresenceAnswer {
        addresses: vec!["/ip4/10.0.0.1/tcp/4001".parse().unwrap()],
        limits,
    };
    let json = json!({
        "maxReservations": 1024, "maxCircuits": 1024, "circuitTimeoutSeconds": 120, "circuitDataLimit": 0,
        "maxProbationaryPeers": 10, "probationTimeoutSeconds": 15,
    });
    is(
        answer,
        json!({"addresses": ["/ip4/10.0.0.1/tcp/4001"], "limits": json}),
    );
}

#[test]
fn roster_and_problem() {
    let signed = |byte| Signed {
        bytes: vec![byte; 2],
        signature: [byte; 64],
    };
    let json = |byte| json!({"bytes": base64(byte, 2), "signature": base64(byte, 64)});
    let answer = RosterAnswer {
        run: 1,
        seq: 2,
        full: true,
        records: vec![signed(3)],
        gone: vec![Serial(4)],
        revocations: signed(5),
        network_document: signed(6),
    };
    let expected = json!({
        "run": 1, "seq": 2, "full": true, "records": [json(3)], "gone": ["0000000000000004"],
        "revocations": json(5), "networkDocument": json(6),
    });
    is(answer, expected);
    let problem = Problem {
        kind: "about:blank".to_owned(),
        title: "Not Found".to_owned(),
        status: 404,
        detail: None,
    };
    is(
        problem,
        json!({"type": "about:blank", "title": "Not Found", "status": 404}),
    );
    is(
        Problem::new("NotFound", 404, &"no such slot"),
        json!({"type": "about:blank", "title": "NotFound", "status": 404, "detail": "no such slot"}),
    );
}

fn report_json() -> Value {
    json!({
        "grade": "C", "gradeReason": "", "scope": "Internal", "natType": "None", "mapping": "None",
        "filtering": "Unknown", "confidence": "Measured", "evidence": [], "publicAddresses": [],
        "path": "None", "relays": [], "changedTime": 1, "version": "0.1.0",
    })
}

#[test]
fn reports_of_pods_and_of_others_are_told_apart() {
    let report: Report = serde_json::from_value(report_json()).unwrap();
    is(
        ReportRequest::Pod(PodReport { report }),
        json!({"report": report_json()}),
    );
    let (peer_id, text) = (peer(), report_json().to_string());
    let outside = OutsideReport {
        peer_id,
        time: 9,
        report: text.clone(),
        signature: [1; 64],
    };
    let json = json!({"peerID": peer_id.to_string(), "time": 9, "report": text, "signature": base64(1, 64)});
    is(ReportRequest::Outside(outside), json.clone());
    // Neither form passes as the other.
    let mut mixed = json;
    mixed["report"] = report_json();
    assert!(serde_json::from_value::<ReportRequest>(mixed).is_err());
    let too_long = json!({"report": {"gradeReason": "x".repeat(4000)}});
    assert!(serde_json::from_value::<ReportRequest>(too_long).is_err());
    let (settings, json) = settings();
    is(ReportAnswer { settings }, json!({"settings": json}));
}

#[test]
fn bytes_of_a_wrong_length_are_refused() {
    for signature in [base64(1, 63), base64(1, 65), "%".to_owned(), String::new()] {
        let json = json!({"peerID": peer().to_string(), "signature": signature});
        assert!(serde_json::from_value::<AttestRequest>(json).is_err());
    }
}
