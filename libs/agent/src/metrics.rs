//! Metrics of one peer. Gauges are made from the status when they are asked for, so that both tell one story.
//!
//! Which pod it is comes from the scrape; no peer is ever named in a label.

use jiff::Timestamp;
use peerup_protocol::grade::{Grade, IpVersion};
use prometheus::{Encoder, Gauge, GaugeVec, IntCounterVec, Opts, Registry, TextEncoder};

use crate::status::{Status, Verification};

pub use prometheus::Error as MetricsError;

/// Content type of [`Metrics::text`].
pub const METRICS_TYPE: &str = prometheus::TEXT_FORMAT;

/// How one measurement went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeResult {
    /// A mapping was seen.
    Measured,
    /// Nobody answered over UDP.
    Silent,
    /// It could not be made.
    Failed,
}

impl ProbeResult {
    const ALL: [Self; 3] = [Self::Measured, Self::Silent, Self::Failed];

    const fn label(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Silent => "silent",
            Self::Failed => "failed",
        }
    }
}

/// All metrics of a peer; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    grade: GaugeVec,
    score: Gauge,
    nat: GaugeVec,
    joined: Gauge,
    verified: Gauge,
    relay_connected: GaugeVec,
    expiry: Gauge,
    handshake: Gauge,
    connections: GaugeVec,
    reservations: Gauge,
    join_duration: Gauge,
    probes: IntCounterVec,
    last_probe: Gauge,
}

impl Metrics {
    /// Metrics of a peer that has done nothing yet.
    ///
    /// # Errors
    /// When two metrics have one name, which a test excludes.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("peerup".to_owned()), None)?;
        let gauge = |name: &str, help: &str| -> Result<Gauge, prometheus::Error> {
            let gauge = Gauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let gauges =
            |name: &str, help: &str, labels: &[&str]| -> Result<GaugeVec, prometheus::Error> {
                let gauges = GaugeVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(gauges.clone()))?;
                Ok(gauges)
            };
        let probes = IntCounterVec::new(
            Opts::new("probe_total", "Measurements of reachability"),
            &["result"],
        )?;
        for result in ProbeResult::ALL {
            probes.with_label_values(&[result.label()]);
        }
        registry.register(Box::new(probes.clone()))?;
        Ok(Self {
            grade: gauges(
                "reachability_grade",
                "1 for the present grade, 0 for the others",
                &["grade"],
            )?,
            score: gauge(
                "reachability_score",
                "The present grade as a number: A 4, B 3, C 2, D 1, F 0",
            )?,
            nat: gauges(
                "nat_info",
                "What the present measurement saw of the NAT",
                &["mapping", "filtering", "ip_version"],
            )?,
            joined: gauge(
                "joined",
                "1 while a record is held that a relay has accepted",
            )?,
            verified: gauge(
                "verified",
                "1 while somebody vouches for this peer's key beyond its record",
            )?,
            relay_connected: gauges(
                "relay_connected",
                "1 while the relay of that ordinal is connected",
                &["relay"],
            )?,
            expiry: gauge(
                "credential_expiry_timestamp_seconds",
                "When the record ends",
            )?,
            handshake: gauge(
                "last_handshake_timestamp_seconds",
                "When a relay or peer last proved its membership",
            )?,
            connections: gauges("connections", "Connections to other peers", &["path"])?,
            reservations: gauge(
                "relay_reservations",
                "Relays that take circuits for this peer",
            )?,
            join_duration: gauge(
                "join_duration_seconds",
                "From the start of the process until it had joined",
            )?,
            probes,
            last_probe: gauge(
                "last_probe_timestamp_seconds",
                "When reachability was last measured",
            )?,
            registry,
        })
    }

    /// Counts one measurement.
    pub fn probed(&self, result: ProbeResult) {
        self.probes.with_label_values(&[result.label()]).inc();
    }

    /// The text format that Prometheus reads, for the present `status`.
    ///
    /// # Errors
    /// When it can't be encoded.
    pub fn text(&self, status: &Status) -> Result<String, prometheus::Error> {
        self.observe(status);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    fn observe(&self, status: &Status) {
        self.observe_reachability(status);
        self.joined.set(yes(status.is_joined()));
        let membership = status.membership.as_ref();
        let attested = membership.is_some_and(|own| own.verification == Verification::Attested);
        self.verified.set(yes(attested && status.is_joined()));
        self.expiry
            .set(seconds(membership.map(|own| own.expiration_time)));
        self.handshake.set(seconds(status.last_handshake_time));
        self.join_duration
            .set(status.join_duration_seconds.unwrap_or_default());
        self.relay_connected.reset();
        for relay in &status.relays {
            let ordinal = relay.ordinal.to_string();
            self.relay_connected
                .with_label_values(&[&ordinal])
                .set(yes(relay.connected));
        }
        let reserved = status.relays.iter().filter(|relay| relay.reserved).count();
        self.reservations.set(count(reserved));
        self.connections
            .with_label_values(&["direct"])
            .set(count(status.direct_connections));
        self.connections
            .with_label_values(&["relayed"])
            .set(count(status.relayed_connections));
    }

    fn observe_reachability(&self, status: &Status) {
        self.last_probe.set(seconds(status.last_probe_time));
        self.nat.reset();
        self.grade.reset();
        // Before the first measurement there is no grade, and an absent one is not an F.
        let Some(report) = &status.reachability else {
            return;
        };
        for grade in Grade::ALL {
            self.grade
                .with_label_values(&[grade.as_str()])
                .set(yes(grade == report.grade));
        }
        self.score.set(f64::from(report.grade.score()));
        let version = status.ip_version.map_or("none", IpVersion::as_str);
        self.nat
            .with_label_values(&[report.mapping.as_str(), report.filtering.as_str(), version])
            .set(1.0);
    }
}

const fn yes(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

fn count(value: usize) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

fn seconds(time: Option<Timestamp>) -> f64 {
    time.map_or(0.0, |time| time.as_millisecond() as f64 / 1000.0)
}
