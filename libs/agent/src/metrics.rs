//! Metrics of one peer. Gauges are made from the status when they are asked for, so that both tell one story.
//!
//! Which pod it is comes from the scrape; no peer is ever named in a label.

use jiff::Timestamp;
use peerup_protocol::grade::{Grade, IpVersion};
use prometheus::{
    Encoder, Gauge, GaugeVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};

use crate::status::{Status, Verification};

pub use prometheus::Error as MetricsError;

/// Content type of [`Metrics::text`].
pub const METRICS_TYPE: &str = prometheus::TEXT_FORMAT;

/// How one measurement went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeResult {
    /// A mapping was seen.
    Measured,
    /// One question has confirmed what was measured before.
    Confirmed,
    /// Nobody answered over UDP.
    Silent,
    /// It could not be made.
    Failed,
}

impl ProbeResult {
    const ALL: [Self; 4] = [Self::Measured, Self::Confirmed, Self::Silent, Self::Failed];

    const fn label(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Confirmed => "confirmed",
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
    score: GaugeVec,
    nat: GaugeVec,
    joined: Gauge,
    verified: Gauge,
    relay_connected: GaugeVec,
    expiry: GaugeVec,
    revocations: GaugeVec,
    handshake: GaugeVec,
    connections: GaugeVec,
    reservations: Gauge,
    join_duration: GaugeVec,
    probes: IntCounterVec,
    last_probe: GaugeVec,
    service_connections: IntCounterVec,
    service_bytes: IntCounterVec,
}

impl Metrics {
    /// Metrics of a peer that has done nothing yet.
    ///
    /// # Errors
    /// When two metrics have one name, which a test excludes.
    pub fn new() -> Result<Self, prometheus::Error> {
        let new = Registered {
            registry: Registry::new_custom(Some("peerup".to_owned()), None)?,
        };
        Ok(Self {
            grade: new.gauges("reachability_grade", &["grade"])?,
            score: new.gauges("reachability_score", &[])?,
            nat: new.gauges("nat_info", &["mapping", "filtering", "ip_version"])?,
            joined: new.gauge("joined")?,
            verified: new.gauge("verified")?,
            relay_connected: new.gauges("relay_connected", &["relay"])?,
            expiry: new.gauges("credential_expiry_timestamp_seconds", &[])?,
            revocations: new.gauges("revocations_timestamp_seconds", &[])?,
            handshake: new.gauges("last_handshake_timestamp_seconds", &[])?,
            connections: new.gauges("connections", &["path"])?,
            reservations: new.gauge("relay_reservations")?,
            join_duration: new.gauges("join_duration_seconds", &[])?,
            probes: new.probes()?,
            last_probe: new.gauges("last_probe_timestamp_seconds", &[])?,
            service_connections: new.counters("service_connections", &["service", "result"])?,
            service_bytes: new.counters("service_bytes_total", &["service", "direction"])?,
            registry: new.registry,
        })
    }

    /// Counts one measurement.
    pub fn probed(&self, result: ProbeResult) {
        self.probes.with_label_values(&[result.label()]).inc();
    }

    /// Counts one connection to a service, by how it began.
    pub(crate) fn service_connection(&self, service: &str, result: &str) {
        self.service_connections
            .with_label_values(&[service, result])
            .inc();
    }

    /// What counts a service's bytes: sent to other peers, received from them.
    pub(crate) fn service_bytes(&self, service: &str) -> [IntCounter; 2] {
        ["sent", "received"]
            .map(|direction| self.service_bytes.with_label_values(&[service, direction]))
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
        show(
            &self.expiry,
            membership.map(|own| seconds(own.expiration_time)),
        );
        show(
            &self.revocations,
            membership.and_then(|own| own.revocations_time.map(seconds)),
        );
        show(&self.handshake, status.last_handshake_time.map(seconds));
        show(&self.join_duration, status.join_duration_seconds);
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
        let known = status.last_probe_time.max(status.last_check_time);
        show(&self.last_probe, known.map(seconds));
        show(
            &self.score,
            status
                .reachability
                .as_ref()
                .map(|report| report.grade.score().into()),
        );
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
        let version = status.ip_version.map_or("none", IpVersion::as_str);
        self.nat
            .with_label_values(&[report.mapping.as_str(), report.filtering.as_str(), version])
            .set(1.0);
    }
}

/// What each metric says.
const HELP: [(&str, &str); 16] = [
    (
        "reachability_grade",
        "1 for the present grade, 0 for the others",
    ),
    (
        "reachability_score",
        "The present grade as a number: A 4, B 3, C 2, D 1, F 0",
    ),
    ("nat_info", "What the present measurement saw of the NAT"),
    (
        "joined",
        "1 while a record is held that a relay has accepted",
    ),
    (
        "verified",
        "1 while somebody vouches for this peer's key beyond its record",
    ),
    (
        "relay_connected",
        "1 while the relay of that ordinal is connected",
    ),
    (
        "credential_expiry_timestamp_seconds",
        "When the record ends",
    ),
    (
        "revocations_timestamp_seconds",
        "When the newest list of revocations was signed",
    ),
    (
        "last_handshake_timestamp_seconds",
        "When a relay or peer last proved its membership",
    ),
    ("connections", "Other peers that are connected"),
    (
        "relay_reservations",
        "Relays that take circuits for this peer",
    ),
    (
        "join_duration_seconds",
        "From the start of the process until it had joined",
    ),
    ("probe_total", "Measurements of reachability"),
    (
        "last_probe_timestamp_seconds",
        "When reachability was last measured or confirmed",
    ),
    (
        "service_connections",
        "Connections to services, exposed here or forwarded from here, by how they began",
    ),
    (
        "service_bytes_total",
        "Bytes of services, sent to other peers and received from them",
    ),
];

/// Makes metrics that are in the registry.
struct Registered {
    registry: Registry,
}

impl Registered {
    fn options(name: &str) -> Result<Opts, prometheus::Error> {
        let help = HELP.iter().find(|(known, _)| *known == name);
        let (_, help) =
            help.ok_or_else(|| prometheus::Error::Msg(format!("{name} has no help")))?;
        Ok(Opts::new(name, *help))
    }

    fn gauge(&self, name: &str) -> Result<Gauge, prometheus::Error> {
        let gauge = Gauge::with_opts(Self::options(name)?)?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    fn gauges(&self, name: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        let gauges = GaugeVec::new(Self::options(name)?, labels)?;
        self.registry.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }

    fn counters(&self, name: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        let counters = IntCounterVec::new(Self::options(name)?, labels)?;
        self.registry.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    fn probes(&self) -> Result<IntCounterVec, prometheus::Error> {
        let probes = self.counters("probe_total", &["result"])?;
        for result in ProbeResult::ALL {
            probes.with_label_values(&[result.label()]);
        }
        Ok(probes)
    }
}

const fn yes(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

fn count(value: usize) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

/// What is not known yet is absent: a 0 would be taken for an F, or for the year 1970.
fn show(gauge: &GaugeVec, value: Option<f64>) {
    gauge.reset();
    if let Some(value) = value {
        gauge.with_label_values::<&str>(&[]).set(value);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use peerup_protocol::grade::{Confidence, Evidence, Filtering, Mapping, NatType, Path, Scope};
    use peerup_protocol::report::Report;

    use super::*;
    use crate::status::Phase;

    fn report() -> Report {
        Report {
            grade: Grade::C,
            grade_reason: "because".to_owned(),
            scope: Scope::Internal,
            nat_type: NatType::EndpointIndependent,
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::Unknown,
            confidence: Confidence::Measured,
            evidence: vec![Evidence::FilteringUntestable],
            public_addresses: vec![Ipv4Addr::LOCALHOST.into()],
            path: Path::Relayed,
            relays: Vec::new(),
            changed_time: 1,
            version: "0".to_owned(),
        }
    }

    #[test]
    fn a_grade_is_one_of_five_and_absent_before_it_is_measured() {
        let metrics = Metrics::new().unwrap();
        let mut status = Status::starting(Timestamp::UNIX_EPOCH);
        let text = metrics.text(&status).unwrap();
        assert!(!text.contains("peerup_reachability_grade{"), "{text}");
        assert!(!text.contains("peerup_nat_info{"), "{text}");
        assert!(!text.contains("peerup_reachability_score"), "{text}");
        status.reachability = Some(report());
        status.ip_version = Some(IpVersion::V4);
        status.phase = Phase::Joined;
        let text = metrics.text(&status).unwrap();
        for line in [
            "peerup_reachability_grade{grade=\"A\"} 0",
            "peerup_reachability_grade{grade=\"C\"} 1",
            "peerup_reachability_grade{grade=\"F\"} 0",
            "peerup_reachability_score 2",
            "peerup_nat_info{filtering=\"Unknown\",ip_version=\"4\",mapping=\"EndpointIndependent\"} 1",
            "peerup_joined 1",
        ] {
            assert!(text.lines().any(|has| has == line), "{line} in\n{text}");
        }
    }

    fn membership() -> crate::status::Membership {
        crate::status::Membership {
            network_id: "00".to_owned(),
            namespace: "crew".to_owned(),
            name: "web-0".to_owned(),
            subject: String::new(),
            sponsor: None,
            verification: Verification::Attested,
            issued_time: Timestamp::UNIX_EPOCH,
            expiration_time: Timestamp::UNIX_EPOCH,
            revocations_time: Some(Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn every_metric_has_its_help() {
        let metrics = Metrics::new().unwrap();
        let mut status = Status::starting(Timestamp::UNIX_EPOCH);
        status.reachability = Some(report());
        status.relays.push(crate::status::Relay {
            ordinal: 0,
            peer_id: "r".to_owned(),
            connected: true,
            reserved: true,
        });
        status.membership = Some(membership());
        (status.last_handshake_time, status.last_probe_time) =
            (Some(Timestamp::UNIX_EPOCH), Some(Timestamp::UNIX_EPOCH));
        status.join_duration_seconds = Some(0.5);
        metrics.service_connection("http", "accepted");
        metrics.service_bytes("http");
        let text = metrics.text(&status).unwrap();
        for (name, help) in HELP {
            assert!(
                text.contains(&format!("# HELP peerup_{name} {help}\n")),
                "{name} in\n{text}"
            );
        }
    }
}
