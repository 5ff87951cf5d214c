//! The report's JSON, its limits, and reports of strangers.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn peer() -> PeerId {
    crate::id::peer_id(&crate::SigningKey::from_bytes(&[3; 32]).verifying_key())
}

fn report() -> Report {
    Report {
        grade: Grade::C,
        grade_reason: "There is no NAT.".to_owned(),
        scope: Scope::Internal,
        nat_type: NatType::None,
        mapping: Mapping::None,
        filtering: Filtering::Unknown,
        confidence: Confidence::Measured,
        evidence: vec![Evidence::FilteringUntestable, Evidence::NoNat],
        public_addresses: vec!["10.244.1.7".parse().unwrap()],
        path: Path::Relayed,
        relays: vec![peer()],
        changed_time: 1_790_000_000,
        version: "0.1.0".to_owned(),
    }
}

#[test]
fn the_json_is_what_people_expect() {
    let expected = json!({
        "grade": "C", "gradeReason": "There is no NAT.", "scope": "Internal", "natType": "None",
        "mapping": "None", "filtering": "Unknown", "confidence": "Measured",
        "evidence": ["filtering-untestable", "no-nat"], "publicAddresses": ["10.244.1.7"],
        "path": "Relayed", "relays": [peer().to_string()], "changedTime": 1_790_000_000u64, "version": "0.1.0",
    });
    let json = report().to_json().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), expected);
    assert_eq!(Report::from_json(json.as_bytes()).unwrap(), report());
}

/// The longest report that the limits allow still fits, so that a peer within them is never refused.
#[test]
fn limits_fit_the_frame() {
    let longest = Report {
        grade_reason: "\"".repeat(MAX_REASON),
        version: "\\".repeat(MAX_VERSION),
        evidence: vec![Evidence::FilteringAddress; MAX_ENTRIES],
        public_addresses: vec![
            "2001:0db8:ffff:ffff:ffff:ffff:255.255.255.255"
                .parse()
                .unwrap();
            MAX_ENTRIES
        ],
        relays: vec![peer(); MAX_ENTRIES],
        changed_time: u64::MAX,
        ..report()
    };
    let json = longest.to_json().unwrap();
    assert_eq!(Report::from_json(json.as_bytes()).unwrap(), longest);
}

fn with(field: &str, value: Value) -> Result<Report, ReportError> {
    let mut json = serde_json::to_value(report()).unwrap();
    json[field] = value;
    Report::from_json(json.to_string().as_bytes())
}

#[test]
fn what_breaks_a_limit_is_refused() {
    for (field, value) in [
        ("gradeReason", json!("x".repeat(MAX_REASON + 1))),
        ("gradeReason", json!("a\u{202e}b")),
        ("gradeReason", json!("a\0b")),
        ("version", json!("x".repeat(MAX_VERSION + 1))),
        ("evidence", json!(vec!["no-nat"; MAX_ENTRIES + 1])),
        ("publicAddresses", json!(vec!["10.0.0.1"; MAX_ENTRIES + 1])),
        ("relays", json!(vec![peer().to_string(); MAX_ENTRIES + 1])),
        ("publicAddresses", json!(["laptop"])),
        ("relays", json!(["nobody"])),
        ("grade", json!("E")),
        ("natType", json!("Cone")),
        ("changedTime", json!(-1)),
    ] {
        assert!(with(field, value).is_err(), "{field}");
    }
    assert!(matches!(
        Report::from_json(&[b' '; MAX_REPORT + 1]),
        Err(ReportError::TooLong(_))
    ));
}

#[test]
fn a_report_that_is_too_long_is_not_sent() {
    let report = Report {
        grade_reason: "x".repeat(MAX_REPORT),
        ..report()
    };
    assert!(matches!(report.to_json(), Err(ReportError::TooLong(_))));
}

#[test]
fn what_a_newer_version_adds_is_skipped() {
    let report = with("news", json!({"a": 1})).unwrap();
    assert_eq!(report, self::report());
    let report = with(
        "evidence",
        json!(["filtering-untestable", "of-the-future", "no-nat"]),
    )
    .unwrap();
    assert_eq!(report.evidence, self::report().evidence);
}

#[test]
fn deep_json_is_an_error() {
    let deep = format!("{}1{}", "[".repeat(1500), "]".repeat(1500));
    assert!(Report::from_json(deep.as_bytes()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_report_or_an_error(bytes in vec(any::<u8>(), 0..400)) {
        let _ = Report::from_json(&bytes);
    }
}
