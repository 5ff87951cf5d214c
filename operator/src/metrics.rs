//! What the operator counts, under the prefix `peerup_`.

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

/// Metrics of the operator; a clone counts into the same.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// Peers of networks and their grades.
    pub peers: PeerMetrics,
    /// The admission webhook and pods without sidecar.
    pub injection: InjectionMetrics,
    /// Codes and their use.
    pub pairing: PairingMetrics,
    /// Controllers, writes, lease and certificates.
    pub machinery: MachineryMetrics,
}

/// Peers of networks; every one has the labels `network_namespace` and `network` first.
#[derive(Clone)]
pub struct PeerMetrics {
    /// `peerup_peers{type,grade}`; grade is A to F or `Unknown`.
    pub by_grade: IntGaugeVec,
    /// `peerup_network_minimum_grade`: 4 (A) to 0 (F).
    pub minimum_grade: IntGaugeVec,
    /// `peerup_peers_below_minimum`.
    pub below_minimum: IntGaugeVec,
    /// `peerup_peers_total{state}`: `Joined`, `Verified`, `Pending` or `Revoked`.
    pub by_state: IntGaugeVec,
    /// `peerup_network_report_period_seconds`.
    pub report_period: IntGaugeVec,
    /// `peerup_last_report_timestamp_seconds`.
    pub last_report: GaugeVec,
}

/// Injection of sidecars.
#[derive(Clone)]
pub struct InjectionMetrics {
    /// `peerup_injection_total{result,reason}`.
    pub requests: IntCounterVec,
    /// `peerup_injection_duration_seconds`.
    pub duration: Histogram,
    /// `peerup_not_injected_pods{network_namespace,network}`; both empty where no network can be told.
    pub not_injected: IntGaugeVec,
}

/// Codes and pairing.
#[derive(Clone)]
pub struct PairingMetrics {
    /// `peerup_pairing_total{result,reason}`.
    pub attempts: IntCounterVec,
    /// `peerup_codes{state}`.
    pub codes: IntGaugeVec,
    /// `peerup_groups_burned_total`.
    pub groups_burned: IntCounter,
}

/// The operator itself.
#[derive(Clone)]
pub struct MachineryMetrics {
    /// `peerup_reconcile_total{controller,result}`.
    pub reconciles: IntCounterVec,
    /// `peerup_reconcile_duration_seconds{controller}`.
    pub reconcile_duration: HistogramVec,
    /// `peerup_status_writes_total{result}`.
    pub status_writes: IntCounterVec,
    /// `peerup_status_write_queue`.
    pub status_write_queue: IntGauge,
    /// `peerup_webhook_cert_not_after_seconds{kind}`: `ca` or `leaf`.
    pub cert_not_after: GaugeVec,
    /// `peerup_leader`: 1 while this replica leads.
    pub leader: IntGauge,
    /// `peerup_unreadable_objects_total{kind}`: objects that came and could not be read.
    pub unreadable: IntCounterVec,
}

const NETWORK: [&str; 2] = ["network_namespace", "network"];

/// Registers as it makes, so that nothing is forgotten.
struct Maker(Registry);

impl Maker {
    fn register<T: Collector + Clone + 'static>(
        &self,
        metric: prometheus::Result<T>,
    ) -> prometheus::Result<T> {
        let metric = metric?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn times(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        self.register(GaugeVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::new(name, help))
    }
}

impl Metrics {
    /// Makes and registers all metrics.
    ///
    /// # Errors
    /// When a name or label is malformed or given twice, which a test excludes.
    pub fn new() -> prometheus::Result<Self> {
        let make = Maker(Registry::new_custom(Some("peerup".to_owned()), None)?);
        Ok(Self {
            peers: PeerMetrics::new(&make)?,
            injection: InjectionMetrics::new(&make)?,
            pairing: PairingMetrics::new(&make)?,
            machinery: MachineryMetrics::new(&make)?,
            registry: make.0,
        })
    }

    /// Shows no network any more: only the leader counts them.
    pub fn forget_term(&self) {
        let Self {
            registry: _,
            peers,
            injection,
            pairing,
            machinery,
        } = self;
        for gauges in [
            &peers.by_grade,
            &peers.minimum_grade,
            &peers.below_minimum,
            &peers.by_state,
            &peers.report_period,
            &injection.not_injected,
            &pairing.codes,
        ] {
            gauges.reset();
        }
        peers.last_report.reset();
        machinery.leader.set(0);
        machinery.status_write_queue.set(0);
    }

    /// All of them in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl PeerMetrics {
    fn new(make: &Maker) -> prometheus::Result<Self> {
        let with = |more: &[&'static str]| [&NETWORK[..], more].concat();
        Ok(Self {
            by_grade: make.gauges(
                "peers",
                "Peers by type and grade.",
                &with(&["type", "grade"]),
            )?,
            minimum_grade: make.gauges(
                "network_minimum_grade",
                "Worst grade that is fine, 4 (A) to 0 (F).",
                &NETWORK,
            )?,
            below_minimum: make.gauges(
                "peers_below_minimum",
                "Peers below the network's minimum grade.",
                &NETWORK,
            )?,
            by_state: make.gauges("peers_total", "Peers by state.", &with(&["state"]))?,
            report_period: make.gauges(
                "network_report_period_seconds",
                "How often each peer is to report.",
                &NETWORK,
            )?,
            last_report: make.times(
                "last_report_timestamp_seconds",
                "When any peer last reported.",
                &NETWORK,
            )?,
        })
    }
}

impl InjectionMetrics {
    fn new(make: &Maker) -> prometheus::Result<Self> {
        let buckets = vec![
            0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
        ];
        let duration = HistogramOpts::new(
            "injection_duration_seconds",
            "Time to answer an admission review.",
        )
        .buckets(buckets);
        Ok(Self {
            requests: make.counters(
                "injection_total",
                "Admission reviews.",
                &["result", "reason"],
            )?,
            duration: make.register(Histogram::with_opts(duration))?,
            not_injected: make.gauges(
                "not_injected_pods",
                "Pods that asked for a sidecar and have none.",
                &NETWORK,
            )?,
        })
    }
}

impl PairingMetrics {
    fn new(make: &Maker) -> prometheus::Result<Self> {
        Ok(Self {
            attempts: make.counters("pairing_total", "Attempts to join.", &["result", "reason"])?,
            codes: make.gauges("codes", "Codes of all PairingCodes by state.", &["state"])?,
            groups_burned: make.register(IntCounter::new(
                "groups_burned_total",
                "PairingCodes closed by failed attempts.",
            ))?,
        })
    }
}

impl MachineryMetrics {
    fn new(make: &Maker) -> prometheus::Result<Self> {
        let duration =
            HistogramOpts::new("reconcile_duration_seconds", "Time to reconcile an object.");
        Ok(Self {
            reconciles: make.counters(
                "reconcile_total",
                "Reconciled objects.",
                &["controller", "result"],
            )?,
            reconcile_duration: make.register(HistogramVec::new(duration, &["controller"]))?,
            status_writes: make.counters(
                "status_writes_total",
                "Writes of grades and conditions.",
                &["result"],
            )?,
            status_write_queue: make
                .gauge("status_write_queue", "Peers that wait for such a write.")?,
            cert_not_after: make.times(
                "webhook_cert_not_after_seconds",
                "End of the webhook's certificates.",
                &["kind"],
            )?,
            leader: make.gauge("leader", "1 while this replica leads.")?,
            unreadable: make.counters(
                "unreadable_objects_total",
                "Objects of the API server that came and could not be read.",
                &["kind"],
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_metrics_can_be_made_and_shown() {
        let metrics = Metrics::new().unwrap();
        metrics.pairing.groups_burned.inc();
        metrics
            .peers
            .by_grade
            .with_label_values(&["shop", "main", "Pod", "C"])
            .set(3);
        let text = metrics.render().unwrap();
        assert!(text.contains("peerup_groups_burned_total 1"), "{text}");
        assert!(
            text.contains(
                r#"peerup_peers{grade="C",network="main",network_namespace="shop",type="Pod"} 3"#
            ),
            "{text}"
        );
    }
}
