//! Metrics of a network's peers.

use kube::ResourceExt as _;
use peerup_protocol::grade::Grade;

use super::{census::PeerKind, decide::Observed};
use crate::metrics::PeerMetrics;

/// States of `peerup_peers_total`.
const STATES: [&str; 4] = ["Joined", "Verified", "Pending", "Revoked"];

/// Shows what was counted.
pub(super) fn show(metrics: &PeerMetrics, seen: &Observed) {
    let (namespace, name) = (
        seen.network.namespace().unwrap_or_default(),
        seen.network.name_any(),
    );
    let network = [namespace.as_str(), name.as_str()];
    for (kind, grade) in grades() {
        let count = seen
            .census
            .by_grade
            .get(&(kind, grade))
            .copied()
            .unwrap_or(0);
        metrics
            .by_grade
            .with_label_values(&[network[0], network[1], kind.as_str(), letter(grade)])
            .set(count.into());
    }
    let counts = &seen.census.counts;
    metrics
        .minimum_grade
        .with_label_values(&network)
        .set(seen.network.spec.reachability.minimum_grade.score().into());
    metrics
        .below_minimum
        .with_label_values(&network)
        .set(counts.below_minimum.into());
    metrics
        .report_period
        .with_label_values(&network)
        .set(seen.network.spec.reachability.report_period_seconds.into());
    let values = [
        counts.joined,
        counts.verified,
        counts.total.saturating_sub(counts.joined),
        seen.census.revoked,
    ];
    for (state, value) in STATES.iter().zip(values) {
        metrics
            .by_state
            .with_label_values(&[network[0], network[1], state])
            .set(value.into());
    }
}

/// Forgets a network that is gone; a metric that was never shown is no error.
pub(super) fn forget(metrics: &PeerMetrics, namespace: &str, name: &str) {
    for (kind, grade) in grades() {
        drop(metrics.by_grade.remove_label_values(&[
            namespace,
            name,
            kind.as_str(),
            letter(grade),
        ]));
    }
    for state in STATES {
        drop(
            metrics
                .by_state
                .remove_label_values(&[namespace, name, state]),
        );
    }
    drop(
        metrics
            .minimum_grade
            .remove_label_values(&[namespace, name]),
    );
    drop(
        metrics
            .below_minimum
            .remove_label_values(&[namespace, name]),
    );
    drop(
        metrics
            .report_period
            .remove_label_values(&[namespace, name]),
    );
    drop(metrics.last_report.remove_label_values(&[namespace, name]));
}

fn grades() -> impl Iterator<Item = (PeerKind, Option<Grade>)> {
    let all = Grade::ALL.into_iter().map(Some).chain([None]);
    all.flat_map(|grade| PeerKind::ALL.map(|kind| (kind, grade)))
}

fn letter(grade: Option<Grade>) -> &'static str {
    grade.map_or("Unknown", Grade::as_str)
}
