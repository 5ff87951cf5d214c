//! Whose service a forward leads to (pure).

use peerup_protocol::PeerId;
use peerup_protocol::record::MemberRecord;
use peerup_protocol::service::Target;

/// What is known when somebody connects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// The other members whose records hold.
    pub(super) members: &'a [MemberRecord],
    /// The network's own cluster; none before the first network document.
    pub(super) cluster: Option<&'a str>,
    /// Who is connected; true if without a relay.
    pub(super) connected: &'a [(PeerId, bool)],
}

/// The members that the target means, in the order to try them: direct connections, relayed ones, others. Among equals
/// the first is another one at each `turn`.
pub(super) fn candidates(target: &Target, known: Known<'_>, turn: usize) -> Vec<MemberRecord> {
    let mut found: Vec<MemberRecord> = known
        .members
        .iter()
        .filter(|record| means(target, record, known.cluster))
        .cloned()
        .collect();
    if !found.is_empty() {
        let first = turn % found.len();
        found.rotate_left(first);
    }
    let rank = |record: &MemberRecord| {
        let connected = known
            .connected
            .iter()
            .find(|(peer, _)| *peer == record.peer);
        match connected {
            Some((_, true)) => 0,
            Some((_, false)) => 1,
            None => 2,
        }
    };
    found.sort_by_key(rank);
    found
}

/// A workload is one of the network's own cluster: another cluster may have the same names.
fn means(target: &Target, record: &MemberRecord, cluster: Option<&str>) -> bool {
    match target {
        Target::Peer(name) => record.name == *name,
        Target::Workload {
            namespace,
            service_account,
        } => {
            let mut parts = record.subject.splitn(4, '/');
            let subject = [parts.next(), parts.next(), parts.next()];
            let pod = parts.next();
            let wanted = [
                cluster,
                Some(namespace.as_str()),
                Some(service_account.as_str()),
            ];
            cluster.is_some() && subject == wanted && pod.is_some()
        }
    }
}

#[cfg(test)]
mod tests {
    use peerup_protocol::SigningKey;
    use peerup_protocol::id::{NetworkId, PeerName, Serial, peer_id};
    use peerup_protocol::record::Method;

    use super::*;

    fn member(seed: u8, subject: &str) -> MemberRecord {
        MemberRecord {
            net: NetworkId([1; 16]),
            serial: Serial(seed.into()),
            peer: peer_id(&SigningKey::from_bytes(&[seed; 32]).verifying_key()),
            name: PeerName::parse(&format!("p{seed}")).unwrap(),
            subject: subject.to_owned(),
            method: Method::Attested,
            issued: 0,
            not_after: 1,
        }
    }

    fn names(target: &str, known: Known<'_>, turn: usize) -> Vec<String> {
        let target: Target = target.parse().unwrap();
        let found = candidates(&target, known, turn);
        found.iter().map(|record| record.name.to_string()).collect()
    }

    fn members() -> Vec<MemberRecord> {
        vec![
            member(1, "local/shop/web/web-0"),
            member(2, "local/shop/web/web-1"),
            member(3, "local/shop/web/web-2"),
            member(4, "local/shop/api/api-0"),
            member(5, "local/bank/web/web-0"),
            member(6, "other/shop/web/web-0"),
            member(7, ""),
        ]
    }

    #[test]
    fn a_name_is_one_peer_and_a_workload_all_of_its_account_in_the_own_cluster() {
        let members = members();
        let known = Known {
            members: &members,
            cluster: Some("local"),
            connected: &[],
        };
        assert_eq!(names("p7", known, 3), ["p7"]);
        assert_eq!(names("p8", known, 3), Vec::<String>::new());
        assert_eq!(names("shop/web", known, 0), ["p1", "p2", "p3"]);
        assert_eq!(names("shop/api", known, 0), ["p4"]);
        assert_eq!(names("shop/db", known, 0), Vec::<String>::new());
        let early = Known {
            cluster: None,
            ..known
        };
        assert_eq!(names("shop/web", early, 0), Vec::<String>::new());
        assert_eq!(names("p1", early, 0), ["p1"]);
    }

    #[test]
    fn a_subject_of_fewer_parts_is_no_workload() {
        let members = [member(1, "local/shop/web"), member(2, "local/shop/web-1/x")];
        let known = Known {
            members: &members,
            cluster: Some("local"),
            connected: &[],
        };
        assert_eq!(names("shop/web", known, 0), Vec::<String>::new());
    }

    #[test]
    fn direct_before_relayed_before_others_and_equals_in_turn() {
        let members = members();
        let connected = [(members[2].peer, true), (members[1].peer, false)];
        let known = Known {
            members: &members,
            cluster: Some("local"),
            connected: &connected,
        };
        for turn in 0..3 {
            assert_eq!(names("shop/web", known, turn), ["p3", "p2", "p1"]);
        }
        let none = Known {
            connected: &[],
            ..known
        };
        let firsts: Vec<_> = (0..4)
            .map(|turn| names("shop/web", none, turn).remove(0))
            .collect();
        assert_eq!(firsts, ["p1", "p2", "p3", "p1"]);
    }
}
