//! Names of members and subjects of pods.

use data_encoding::HEXLOWER;
use peerup_protocol::id::{InvalidId, PeerName};
use peerup_protocol::record::MAX_SUBJECT;
use sha2::{Digest, Sha256};

/// Highest number behind a name.
pub const MAX_NUMBER: u16 = 999;

/// Pod names over this are cut.
const MAX_POD_NAME: usize = PeerName::MAX_REQUEST;
/// … to this many bytes, a dash and a hash.
const CUT_POD_NAME: usize = 50;

/// The first free name: the one asked for, else with `-2`, `-3` … `-999`.
/// Nothing if the request is too long or every number is taken.
#[must_use]
pub fn next_name(asked: &PeerName, taken: impl Fn(&PeerName) -> bool) -> Option<PeerName> {
    asked.check_request().ok()?;
    let numbered = (2..=MAX_NUMBER).filter_map(|n| PeerName::parse(&format!("{asked}-{n}")).ok());
    std::iter::once(asked.clone())
        .chain(numbered)
        .find(|name| !taken(name))
}

/// The name that a pod asks for when it has no annotation: its own with dots as
/// dashes, cut to 50 bytes ‖ `-` ‖ 8 hex digits of its SHA-256 when over 59.
pub fn pod_name(pod: &str) -> Result<PeerName, InvalidId> {
    let name = pod.replace('.', "-");
    if name.len() <= MAX_POD_NAME || !name.is_ascii() {
        return PeerName::parse(&name);
    }
    PeerName::parse(&format!("{}-{}", &name[..CUT_POD_NAME], short_hash(pod)))
}

/// The parts before the pod leave no room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cluster, namespace and service account are too long together: at most {} bytes", MAX_SUBJECT - 9 - 3)]
pub struct SubjectTooLong;

/// `<cluster>/<namespace>/<service account>/<pod>`, at most 253 bytes: a longer
/// one has its pod part cut so that it ends in `-` ‖ 8 hex digits of its SHA-256.
pub fn subject(
    cluster: &str,
    namespace: &str,
    service_account: &str,
    pod: &str,
) -> Result<String, SubjectTooLong> {
    let head = format!("{cluster}/{namespace}/{service_account}/");
    let room = MAX_SUBJECT.saturating_sub(head.len());
    if pod.len() <= room {
        return Ok(head + pod);
    }
    let kept = room.checked_sub(9).ok_or(SubjectTooLong)?;
    let kept = pod.get(..kept).unwrap_or_default();
    Ok(format!("{head}{kept}-{}", short_hash(pod)))
}

fn short_hash(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text)[..4])
}
