//! Measures how this peer can be reached, shows it at once, and reports it when it is steady.

mod facts;
mod probe;
mod report;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use peerup_protocol::UnixTime;
use peerup_protocol::api::Settings;
use peerup_protocol::grade::{Grade, Scope};
use peerup_reachability::{Assessment, Facts, Link, Steady, World, assess};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::agent::Source;
use crate::clock::{now, timestamp};
use crate::metrics::ProbeResult;
use crate::session::Session;

/// How long the first measurement waits for the network document, which says where STUN servers are.
const DOCUMENT_WAIT: Duration = Duration::from_secs(5);
/// Least pause between two measurements; changes of connections come in bursts.
const DEBOUNCE: Duration = Duration::from_millis(500);
/// Shortest period that settings may ask for.
const SHORTEST_PERIOD: Duration = Duration::from_secs(5);

/// What is to be reported, and since when the grade is that.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reported {
    assessment: Assessment,
    changed: UnixTime,
}

/// Until the operator has told the network's own; outside peers are graded by the Internet.
pub(crate) fn default_settings(source: &Source) -> Settings {
    let (scope, internal) = match source {
        Source::Attested(_) => {
            let ranges = [
                "10.0.0.0/8",
                "172.16.0.0/12",
                "192.168.0.0/16",
                "100.64.0.0/10",
                "fc00::/7",
            ];
            (Scope::Internal, ranges.map(str::to_owned).to_vec())
        }
        Source::Code(..) | Source::Stored => (Scope::Internet, Vec::new()),
    };
    Settings {
        scope,
        internal_cidrs: internal,
        probe_period_seconds: 60,
        report_period_seconds: 30,
        offline_after_seconds: 90,
        stabilization_seconds: 60,
    }
}

/// Measures and reports for as long as the session lasts.
pub(crate) async fn run(
    session: &Arc<Session>,
    source: &Source,
    settings: &watch::Sender<Settings>,
) -> Infallible {
    let reported = watch::Sender::new(None);
    tokio::select! {
        never = measure(session, settings.subscribe(), &reported) => never,
        never = report::run(session, source, settings, reported.subscribe()) => never,
    }
}

async fn measure(
    session: &Session,
    mut settings: watch::Receiver<Settings>,
    reported: &watch::Sender<Option<Reported>>,
) -> Infallible {
    let started = Instant::now();
    let mut steady = Steady::new(Duration::ZERO, Duration::ZERO);
    document(session).await;
    loop {
        let now_settings = settings.borrow_and_update().clone();
        let world = world(&now_settings);
        steady.set_periods(
            Duration::from_secs(now_settings.stabilization_seconds.into()),
            Duration::from_secs(now_settings.offline_after_seconds.into()),
        );
        let links = session.relay_links();
        match probe::run(session, &world).await {
            Ok(measurement) => {
                let facts = Facts {
                    world,
                    in_pod: session.is_pod(),
                    interfaces: facts::interfaces(),
                    route: facts::route(),
                    links: session.relay_links(),
                    measurement,
                };
                let answered = facts.measurement.v4.answered() || facts.measurement.v6.answered();
                session.metrics.probed(if answered {
                    ProbeResult::Measured
                } else {
                    ProbeResult::Silent
                });
                let assessment = assess(&facts);
                show(session, &assessment);
                take(reported, steady.observe(started.elapsed(), assessment));
            }
            Err(error) => {
                tracing::warn!(%error, "reachability can't be measured");
                session.metrics.probed(ProbeResult::Failed);
            }
        }
        sleep(DEBOUNCE).await;
        tokio::select! {
            () = sleep(jittered(period(now_settings.probe_period_seconds))) => (),
            () = links_differ(session, &links) => (),
            _ = settings.changed() => (),
        }
    }
}

/// Waits for the first network document, but not for ever: without one there is still something to say.
async fn document(session: &Session) {
    let mut lists = session.watch_lists();
    let known = async {
        while session.membership().document_version().is_none() {
            if lists.changed().await.is_err() {
                return;
            }
        }
    };
    let _ = timeout(DOCUMENT_WAIT, known).await;
}

fn world(settings: &Settings) -> World {
    let ranges = settings.internal_cidrs.iter();
    let internal = ranges.filter_map(|range| match range.parse() {
        Ok(range) => Some(range),
        Err(error) => {
            tracing::warn!(range, %error, "internal range is left out");
            None
        }
    });
    World {
        scope: settings.scope,
        internal: internal.collect(),
    }
}

fn period(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into()).max(SHORTEST_PERIOD)
}

/// ±20 %.
fn jittered(period: Duration) -> Duration {
    period.mul_f64(0.8 + 0.4 * rand::random::<f64>())
}

/// Waits until the connections to relays are other ones than `known`.
async fn links_differ(session: &Session, known: &[Link]) {
    let mut surroundings = session.watch_surroundings();
    while session.relay_links() == known {
        if surroundings.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn show(session: &Session, assessment: &Assessment) {
    session.board.update(|status| {
        let former = status
            .reachability
            .as_ref()
            .filter(|report| report.grade == assessment.grade);
        let changed = former.map_or_else(now, |report| report.changed_time);
        if former.is_none() {
            tracing::info!(grade = %assessment.grade, reason = assessment.reason, "reachability");
        }
        let report = assessment.report(status.path, Vec::new(), changed, env!("CARGO_PKG_VERSION"));
        status.reachability = Some(report);
        status.ip_version = assessment.version;
        status.last_probe_time = Some(timestamp(now()));
    });
}

fn take(reported: &watch::Sender<Option<Reported>>, assessment: &Assessment) {
    reported.send_if_modified(|known| {
        let grade: Option<Grade> = known.as_ref().map(|known| known.assessment.grade);
        let changed = match known {
            Some(known) if grade == Some(assessment.grade) => known.changed,
            Some(_) | None => now(),
        };
        let next = Some(Reported {
            assessment: assessment.clone(),
            changed,
        });
        let differs = *known != next;
        *known = next;
        differs
    });
}
