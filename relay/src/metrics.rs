//! What a relay counts (kubernetes.md, "Metrics"). Labels come from enums only.

use peerup_node::pair::Verdict;
use peerup_node::{Connections, Denied, RelayLimits, Snapshot};
use peerup_protocol::api::RefusalReason;
use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

/// All metrics of this program, in one registry with the prefix `peerup_`.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    reservations: IntGauge,
    reservations_limit: IntGauge,
    circuits: IntGauge,
    circuits_limit: IntGauge,
    bytes: IntCounter,
    probation_peers: IntGauge,
    denied: IntCounterVec,
    pairing_attempts: IntCounterVec,
    stun_requests: IntCounterVec,
    connections: IntGaugeVec,
}

/// What became of a datagram at a STUN port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StunResult {
    Answered,
    Limited,
    Ignored,
}

impl StunResult {
    const ALL: [Self; 3] = [Self::Answered, Self::Limited, Self::Ignored];

    const fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Limited => "limited",
            Self::Ignored => "ignored",
        }
    }
}

impl Metrics {
    /// Registers everything; each label has its metric from the start. Limits are told beside what they limit.
    ///
    /// # Errors
    /// When two metrics have one name.
    pub(crate) fn new(limits: &RelayLimits) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            registry: Registry::new_custom(Some("peerup".to_owned()), None)?,
            reservations: IntGauge::new("relay_reservations", "Peers that hold a reservation.")?,
            reservations_limit: IntGauge::new(
                "relay_reservations_limit",
                "Reservations that there can be at most.",
            )?,
            circuits: IntGauge::new("relay_circuits", "Circuits that are carried.")?,
            circuits_limit: IntGauge::new(
                "relay_circuits_limit",
                "Circuits that there can be at most.",
            )?,
            bytes: IntCounter::new(
                "relay_bytes_total",
                "Bytes of circuits in both directions, counted once, at the side that opened the circuit: what the \
                 two ends send each other, encrypted, and requests for circuits and reservations; without what TCP \
                 and QUIC add.",
            )?,
            probation_peers: IntGauge::new(
                "relay_probation_peers",
                "Connections of peers that are not members yet.",
            )?,
            denied: counters(
                "relay_denied_total",
                "What was denied, by reason.",
                "reason",
            )?,
            pairing_attempts: counters(
                "pairing_attempts_total",
                "Attempts to pair, by result: joined, busy, or why they failed.",
                "result",
            )?,
            stun_requests: counters(
                "stun_requests_total",
                "Datagrams at the STUN ports, by result.",
                "result",
            )?,
            connections: IntGaugeVec::new(
                Opts::new("connections", "Open connections, by transport."),
                &["transport"],
            )?,
        };
        metrics.register()?;
        metrics.prepare();
        metrics.limit(limits);
        Ok(metrics)
    }

    /// Tells the limits that hold now.
    pub(crate) fn limit(&self, limits: &RelayLimits) {
        self.reservations_limit.set(gauge(limits.max_reservations));
        self.circuits_limit.set(gauge(limits.max_circuits));
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let all: [Box<dyn Collector>; 10] = [
            Box::new(self.reservations.clone()),
            Box::new(self.reservations_limit.clone()),
            Box::new(self.circuits.clone()),
            Box::new(self.circuits_limit.clone()),
            Box::new(self.bytes.clone()),
            Box::new(self.probation_peers.clone()),
            Box::new(self.denied.clone()),
            Box::new(self.pairing_attempts.clone()),
            Box::new(self.stun_requests.clone()),
            Box::new(self.connections.clone()),
        ];
        all.into_iter()
            .try_for_each(|metric| self.registry.register(metric))
    }

    fn prepare(&self) {
        for label in ["joined", "busy"] {
            self.pairing_attempts.with_label_values(&[label]);
        }
        for reason in RefusalReason::ALL {
            self.pairing_attempts.with_label_values(&[reason.as_str()]);
        }
        for result in StunResult::ALL {
            self.stun_requests.with_label_values(&[result.label()]);
        }
        self.observe(&Snapshot::default());
    }

    /// A pairing has ended.
    pub(crate) fn paired(&self, verdict: &Verdict) {
        let label = match verdict {
            Verdict::Joined(_) => "joined",
            Verdict::Busy => "busy",
            Verdict::Failed(reason) => reason.as_str(),
        };
        self.pairing_attempts.with_label_values(&[label]).inc();
    }

    /// A datagram came to a STUN port.
    pub(crate) fn stun(&self, result: StunResult) {
        self.stun_requests
            .with_label_values(&[result.label()])
            .inc();
    }

    /// Takes over what the node counts itself.
    pub(crate) fn observe(&self, snapshot: &Snapshot) {
        self.reservations.set(gauge(snapshot.reservations.len()));
        self.circuits.set(gauge(snapshot.circuits));
        let carried = snapshot.carried_bytes;
        self.bytes.inc_by(carried.saturating_sub(self.bytes.get()));
        let probation = &snapshot.probation;
        self.probation_peers.set(gauge(
            probation.arriving + probation.probationary + probation.attested + probation.renewing,
        ));
        for (transport, open) in transports(&snapshot.connections, &snapshot.gated) {
            self.connections
                .with_label_values(&[transport])
                .set(gauge(open));
        }
        for (reason, total) in reasons(&snapshot.denied) {
            let counter = self.denied.with_label_values(&[reason]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// When a metric can't be written as text.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn counters(name: &str, help: &str, label: &str) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), &[label])
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A relay dials nobody, so that no connection of its own is relayed.
fn transports(admitted: &Connections, gated: &Connections) -> [(&'static str, usize); 2] {
    [
        ("tcp", admitted.tcp + gated.tcp),
        ("quic", admitted.quic + gated.quic),
    ]
}

fn reasons(denied: &Denied) -> [(&'static str, u64); 11] {
    let Denied {
        arriving_full,
        source_full,
        probation_full,
        attested_full,
        late,
        connection,
        reservation,
        circuit,
        stream,
        record,
        misdirected,
    } = *denied;
    [
        ("arriving_full", arriving_full),
        ("source_full", source_full),
        ("probation_full", probation_full),
        ("attested_full", attested_full),
        ("late", late),
        ("connection", connection),
        ("reservation", reservation),
        ("circuit", circuit),
        ("stream", stream),
        ("record", record),
        ("misdirected", misdirected),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_beside_what_they_limit() {
        let limits = |max_reservations, max_circuits| RelayLimits {
            max_reservations,
            max_circuits,
            circuit_timeout: std::time::Duration::ZERO,
            circuit_data_limit: 0,
            probation: peerup_node::ProbationLimits::default(),
        };
        let metrics = Metrics::new(&limits(16, 8)).unwrap();
        let told = || {
            let text = metrics.text().unwrap();
            let lines = text
                .lines()
                .filter(|line| line.starts_with("peerup_relay_") && line.contains("_limit "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let [circuits, reservations] =
            ["circuits", "reservations"].map(|what| format!("peerup_relay_{what}_limit"));
        assert_eq!(
            told(),
            [format!("{circuits} 8"), format!("{reservations} 16")]
        );
        metrics.limit(&limits(2, 1));
        assert_eq!(
            told(),
            [format!("{circuits} 1"), format!("{reservations} 2")]
        );
    }
}
