//! The peers of a network, counted. Pure.

use std::collections::BTreeMap;

use peerup_crds::{GradeCounts, Peer, PeerCounts, PeerState, PeerType, names::conditions as types};
use peerup_protocol::grade::{Grade, Path};

use crate::conditions;

/// What counts about the peers of one network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    /// For the status.
    pub counts: PeerCounts,
    /// By type and grade (`None`: unknown), for metrics.
    pub by_grade: BTreeMap<(PeerKind, Option<Grade>), u32>,
    /// Those that were expelled and whose objects are still there; nothing else counts them.
    pub revoked: u32,
}

/// A peer's type, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerKind {
    /// A pod.
    Pod,
    /// A machine outside.
    External,
}

impl PeerKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Pod, Self::External];

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::External => "External",
        }
    }
}

/// Counts the peers against the worst grade that is fine.
pub fn take<'a>(peers: impl Iterator<Item = &'a Peer>, minimum: Grade) -> Census {
    let mut census = Census::default();
    for peer in peers {
        count(&mut census, peer, minimum);
    }
    census
}

fn count(census: &mut Census, peer: &Peer, minimum: Grade) {
    match peer.spec.state {
        PeerState::Active => {}
        PeerState::Revoked => {
            census.revoked += 1;
            return;
        }
    }
    let counts = &mut census.counts;
    counts.total += 1;
    let kind = match peer.spec.type_ {
        PeerType::Pod => PeerKind::Pod,
        PeerType::External => PeerKind::External,
    };
    let Some(status) = &peer.status else {
        *census.by_grade.entry((kind, None)).or_default() += 1;
        return;
    };
    counts.joined += u32::from(conditions::holds(&status.conditions, types::JOINED));
    counts.verified += u32::from(conditions::holds(&status.conditions, types::VERIFIED));
    counts.relayed += u32::from(status.path == Some(Path::Relayed));
    let reachable = conditions::find(&status.conditions, types::REACHABLE);
    let known = reachable.is_some_and(|condition| condition.status != "Unknown");
    let grade = status.grade.filter(|_| known);
    *census.by_grade.entry((kind, grade)).or_default() += 1;
    match grade {
        None => counts.unknown += u32::from(reachable.is_some()),
        Some(grade) => {
            counts.below_minimum += u32::from(grade < minimum);
            *letter(&mut counts.grades, grade) += 1;
        }
    }
}

fn letter(grades: &mut GradeCounts, grade: Grade) -> &mut u32 {
    match grade {
        Grade::A => &mut grades.a,
        Grade::B => &mut grades.b,
        Grade::C => &mut grades.c,
        Grade::D => &mut grades.d,
        Grade::F => &mut grades.f,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(type_: &str, grade: &str, reachable: &str, joined: &str) -> Peer {
        let condition = |type_: &str, status: &str| serde_json::json!({"type": type_, "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        serde_json::from_value(serde_json::json!({
            "apiVersion": "peerup.dev/v1alpha1", "kind": "Peer", "metadata": {"name": "main.x"},
            "spec": {"networkRef": {"name": "main"}, "peerID": "p", "serial": "0000000000000001", "type": type_,
                     "method": "Code", "displayName": "x", "state": "Active"},
            "status": {"grade": grade, "path": "Relayed", "conditions": [
                condition("Reachable", reachable), condition("Joined", joined), condition("Verified", "False")]},
        }))
        .unwrap()
    }

    #[test]
    fn peers_are_counted_by_what_they_are() {
        let mut new = peer("Pod", "C", "True", "False");
        new.status = None;
        let mut revoked = peer("Pod", "F", "False", "False");
        revoked.spec.state = PeerState::Revoked;
        let peers = [
            revoked,
            peer("Pod", "C", "True", "True"),
            peer("Pod", "D", "True", "True"),
            peer("External", "F", "False", "True"),
            peer("Pod", "B", "Unknown", "True"),
            new,
        ];
        let census = take(peers.iter(), Grade::C);
        let counts = PeerCounts {
            total: 5,
            joined: 4,
            verified: 0,
            relayed: 4,
            below_minimum: 2,
            unknown: 1,
            grades: GradeCounts {
                c: 1,
                d: 1,
                f: 1,
                ..GradeCounts::default()
            },
        };
        assert_eq!((census.counts, census.revoked), (counts, 1));
        let by_grade = BTreeMap::from([
            ((PeerKind::Pod, None), 2),
            ((PeerKind::Pod, Some(Grade::C)), 1),
            ((PeerKind::Pod, Some(Grade::D)), 1),
            ((PeerKind::External, Some(Grade::F)), 1),
        ]);
        assert_eq!(census.by_grade, by_grade);
    }
}
