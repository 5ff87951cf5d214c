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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> PeerName {
        PeerName::parse(text).unwrap()
    }

    fn next(asked: &str, taken: &[&str]) -> Option<String> {
        let taken: BTreeSet<_> = taken.iter().map(|text| name(text)).collect();
        next_name(&name(asked), |name| taken.contains(name)).map(String::from)
    }

    #[test]
    fn three_laptops_get_three_names() {
        assert_eq!(next("laptop", &[]).unwrap(), "laptop");
        assert_eq!(next("laptop", &["laptop"]).unwrap(), "laptop-2");
        assert_eq!(next("laptop", &["laptop", "laptop-2"]).unwrap(), "laptop-3");
        assert_eq!(next("laptop", &["laptop-2"]).unwrap(), "laptop");
        assert_eq!(next("laptop-2", &["laptop-2"]).unwrap(), "laptop-2-2");
    }

    #[test]
    fn numbers_end_somewhere() {
        assert_eq!(next_name(&name("a"), |_| true), None);
        let last = next_name(&name("a"), |name| name.as_str() != "a-999").unwrap();
        assert_eq!(last.as_str(), "a-999");
        assert_eq!(next_name(&name(&"a".repeat(60)), |_| false), None);
    }

    #[test]
    fn pods_ask_for_their_own_name() {
        assert_eq!(pod_name("web-0").unwrap().as_str(), "web-0");
        assert_eq!(pod_name("my.web.0").unwrap().as_str(), "my-web-0");
        let exactly = "a".repeat(59);
        assert_eq!(pod_name(&exactly).unwrap().as_str(), exactly);
        let long = "a".repeat(60);
        // SHA-256 of sixty times "a", by sha256sum.
        assert_eq!(
            pod_name(&long).unwrap().as_str(),
            format!("{}-11ee3912", "a".repeat(50))
        );
        assert_ne!(pod_name(&format!("{long}a")), pod_name(&format!("{long}b")));
        assert!(
            pod_name("Web").is_err() && pod_name("").is_err() && pod_name(&"ä".repeat(60)).is_err()
        );
    }

    #[test]
    fn long_subjects_keep_their_head() {
        let short = subject("local", "shop", "web", "web-0").unwrap();
        assert_eq!(short, "local/shop/web/web-0");
        let account = "s".repeat(253 - "c/n//".len() - 9);
        let cut = subject("c", "n", &account, "a-pod-that-is-long").unwrap();
        assert_eq!(cut.len(), MAX_SUBJECT);
        assert!(cut.starts_with(&format!("c/n/{account}/-")), "{cut}");
        assert_eq!(
            subject("c", "n", &format!("{account}s"), "a-pod-that-is-long"),
            Err(SubjectTooLong)
        );
        assert_eq!(
            subject("c", "n", &"s".repeat(400), "p"),
            Err(SubjectTooLong)
        );
    }

    proptest! {
        #[test]
        fn granted_names_answer_the_request(asked in "[a-z0-9]([-a-z0-9]{0,57}[a-z0-9])?", taken in 0..1200usize) {
            let asked = name(&asked);
            let asks = std::cell::Cell::new(0);
            let granted = next_name(&asked, |_| asks.replace(asks.get() + 1) < taken);
            if let Some(granted) = granted {
                prop_assert!(granted.answers(&asked));
            } else {
                prop_assert!(taken > 998);
            }
        }

        #[test]
        fn pods_names_can_be_asked_for(pod in "[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?){0,4}") {
            pod_name(&pod).unwrap().check_request().unwrap();
        }

        #[test]
        fn subjects_fit_records(cluster in "[a-z]{1,32}", ns in "[a-z]{1,63}", account in "[a-z.]{1,253}", pod in "[a-z.]{1,253}") {
            if let Ok(subject) = subject(&cluster, &ns, &account, &pod) {
                prop_assert!(subject.len() <= MAX_SUBJECT);
                let prefix = format!("{cluster}/{ns}/{account}/");
                prop_assert!(subject.starts_with(&prefix));
            }
        }
    }
}
