//! Reports.

use peerup_protocol::report::{MAX_ENTRIES, MAX_REASON, MAX_VERSION, Report, ReportError};

use crate::property::bounded;

/// The JSON of a report. What is accepted keeps every limit, and comes back from its
/// own JSON if that is not too long: an address may be shown longer than it came.
pub(crate) fn json(data: &[u8]) -> bool {
    let report = match bounded(data.len(), 64, || Report::from_json(data)) {
        Ok(report) => report,
        Err(error) => {
            let _ = error.to_string();
            return false;
        }
    };
    let lists = [
        report.evidence.len(),
        report.public_addresses.len(),
        report.relays.len(),
    ];
    assert!(lists.iter().all(|length| *length <= MAX_ENTRIES));
    assert!(report.grade_reason.len() <= MAX_REASON && report.version.len() <= MAX_VERSION);
    assert!(
        report
            .grade_reason
            .bytes()
            .all(|byte| (0x20..0x7f).contains(&byte))
    );
    match report.to_json() {
        Ok(json) => assert_eq!(Report::from_json(json.as_bytes()).unwrap(), report),
        Err(ReportError::TooLong(_)) => {}
        Err(error @ (ReportError::Json(_) | ReportError::Field { .. })) => panic!("{error}"),
    }
    true
}
