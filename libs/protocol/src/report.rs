//! What a peer says about itself: the JSON of reports. Bounded by construction:
//! reading refuses what is too long.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::grade::{Confidence, Evidence, Filtering, Grade, Mapping, NatType, Path, Scope};
use crate::{PeerId, UnixTime};

/// Longest JSON in bytes.
pub const MAX_REPORT: usize = 3500;
/// Most entries of each list.
pub const MAX_ENTRIES: usize = 16;
/// Longest `gradeReason` in bytes.
pub const MAX_REASON: usize = 256;
/// Longest `version` in bytes.
pub const MAX_VERSION: usize = 64;

/// Why a report is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Over [`MAX_REPORT`].
    #[error("a report must have at most {MAX_REPORT} bytes, this one has {0}")]
    TooLong(usize),
    /// Not the expected JSON.
    #[error("a report must be JSON of the known form: {0}")]
    Json(#[from] serde_json::Error),
    /// A field breaks its limit.
    #[error("{field} of a report must {rule}")]
    Field {
        /// Which one.
        field: &'static str,
        /// Its rule, to be read after "must".
        rule: &'static str,
    },
}

/// How well a peer is reachable, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Unchecked")]
pub struct Report {
    /// The grade.
    pub grade: Grade,
    /// One sentence for people.
    pub grade_reason: String,
    /// In which world it is graded.
    pub scope: Scope,
    /// The NAT in one word.
    pub nat_type: NatType,
    /// Measured mapping.
    pub mapping: Mapping,
    /// Measured filtering.
    pub filtering: Filtering,
    /// How much stands behind the grade.
    pub confidence: Confidence,
    /// Why, the decisive one first.
    pub evidence: Vec<Evidence>,
    /// Addresses as seen from outside.
    pub public_addresses: Vec<IpAddr>,
    /// Whether streams need a relay.
    pub path: Path,
    /// Relays at which the peer holds a reservation.
    pub relays: Vec<PeerId>,
    /// When the grade last changed.
    pub changed_time: UnixTime,
    /// The peer's program version.
    pub version: String,
}

impl Report {
    /// The JSON.
    pub fn to_json(&self) -> Result<String, ReportError> {
        let json = serde_json::to_string(self)?;
        if json.len() > MAX_REPORT {
            Err(ReportError::TooLong(json.len()))
        } else {
            Ok(json)
        }
    }

    /// Reads JSON of a stranger. Unknown fields and evidence (of a newer version) are skipped.
    pub fn from_json(json: &[u8]) -> Result<Self, ReportError> {
        if json.len() > MAX_REPORT {
            return Err(ReportError::TooLong(json.len()));
        }
        Ok(serde_json::from_slice(json)?)
    }
}

/// A report as it comes, before its limits are checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unchecked {
    grade: Grade,
    grade_reason: String,
    scope: Scope,
    nat_type: NatType,
    mapping: Mapping,
    filtering: Filtering,
    confidence: Confidence,
    evidence: Vec<String>,
    public_addresses: Vec<IpAddr>,
    path: Path,
    #[serde(with = "crate::peer_text::list")]
    relays: Vec<PeerId>,
    changed_time: UnixTime,
    version: String,
}

impl TryFrom<Unchecked> for Report {
    type Error = ReportError;
    fn try_from(raw: Unchecked) -> Result<Self, ReportError> {
        check_text("gradeReason", &raw.grade_reason, MAX_REASON)?;
        check_text("version", &raw.version, MAX_VERSION)?;
        check_list("evidence", raw.evidence.len())?;
        check_list("publicAddresses", raw.public_addresses.len())?;
        check_list("relays", raw.relays.len())?;
        Ok(Self {
            grade: raw.grade,
            grade_reason: raw.grade_reason,
            scope: raw.scope,
            nat_type: raw.nat_type,
            mapping: raw.mapping,
            filtering: raw.filtering,
            confidence: raw.confidence,
            evidence: raw
                .evidence
                .iter()
                .filter_map(|code| Evidence::from_word(code))
                .collect(),
            public_addresses: raw.public_addresses,
            path: raw.path,
            relays: raw.relays,
            changed_time: raw.changed_time,
            version: raw.version,
        })
    }
}

fn check_list(field: &'static str, length: usize) -> Result<(), ReportError> {
    if length > MAX_ENTRIES {
        Err(ReportError::Field {
            field,
            rule: "have at most 16 entries",
        })
    } else {
        Ok(())
    }
}

fn check_text(field: &'static str, text: &str, max: usize) -> Result<(), ReportError> {
    if text.len() > max {
        return Err(ReportError::Field {
            field,
            rule: "not be longer than its limit",
        });
    }
    if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(ReportError::Field {
            field,
            rule: "be printable ASCII",
        });
    }
    Ok(())
}
