//! Measures how this peer can be reached, shows it at once, and reports it when it is steady.

mod changes;
mod check;
pub(crate) mod facts;
mod gateway;
mod plan;
mod probe;
mod pulse;
mod report;
mod signals;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use peerup_protocol::UnixTime;
use peerup_protocol::api::Settings;
use peerup_protocol::grade::{Grade, Scope};
use peerup_reachability::{Assessment, Facts, Link, Steady, World, assess};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::agent::Source;
use crate::clock::{now, timestamp};
use crate::metrics::ProbeResult;
use crate::netcheck::Netcheck;
use crate::session::Session;
use crate::status::{Status, Trigger};
use check::Baseline;
use plan::{Due, Plan};

pub(crate) use signals::Signals;

/// How long the first measurement waits for the network document, which says where STUN servers are, and for a relay.
const JOIN_WAIT: Duration = Duration::from_secs(5);
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
        stun_servers: Vec::new(),
    }
}

/// Measures and reports for as long as the session lasts.
pub(crate) async fn run(
    session: &Arc<Session>,
    source: &Source,
    settings: &watch::Sender<Settings>,
) -> Infallible {
    // A guest knows no STUN server of the network and reports to nobody; it only holds its connections.
    if session.is_guest() {
        tokio::select! {
            never = changes::run(session) => match never {},
            never = pulse::run(session) => match never {},
        }
    }
    let reported = watch::Sender::new(None);
    tokio::select! {
        never = measure(session, settings.subscribe(), &reported) => never,
        never = report::run(session, source, settings, reported.subscribe()) => never,
        never = changes::run(session) => never,
        never = pulse::run(session) => never,
    }
}

async fn measure(
    session: &Session,
    settings: watch::Receiver<Settings>,
    reported: &watch::Sender<Option<Reported>>,
) -> Infallible {
    joined(session).await;
    let mut ears = Ears::new(session, settings);
    let mut meter = Meter {
        session,
        reported,
        started: Instant::now(),
        steady: Steady::new(Duration::ZERO, Duration::ZERO),
        baseline: None,
        improves: false,
    };
    let mut plan = Plan::new(Instant::now());
    loop {
        ears.until_due(&mut plan).await;
        let settings = ears.settings.borrow_and_update().clone();
        let due = plan.begin(Instant::now(), meter.baseline.is_some());
        let checked = meter.measure(&settings, due).await;
        // A better grade needs a second measurement: nobody has to wait a whole period for it.
        let period = match meter.improves {
            true => SHORTEST_PERIOD,
            false => period(settings.probe_period_seconds),
        };
        plan.end(Instant::now(), checked, period, rand::random());
    }
}

/// What calls for measurements.
struct Ears<'a> {
    session: &'a Session,
    settings: watch::Receiver<Settings>,
    network: watch::Receiver<()>,
    observed: watch::Receiver<()>,
    wanted: watch::Receiver<u64>,
    /// Connections to relays, as they were at the last measurement.
    links: Vec<Link>,
}

impl<'a> Ears<'a> {
    fn new(session: &'a Session, settings: watch::Receiver<Settings>) -> Self {
        Self {
            session,
            settings,
            network: session.signals.watch_network(),
            observed: session.signals.watch_observed(),
            wanted: session.signals.watch_wanted(),
            links: session.relay_links(),
        }
    }

    /// Tells the plan what comes, until something is due.
    async fn until_due(&mut self, plan: &mut Plan) {
        loop {
            let told = tokio::select! {
                // A flood of news must not keep what is due from beginning.
                biased;
                () = sleep_until(plan.at()) => break,
                Ok(()) = self.wanted.changed() => Trigger::Request,
                Ok(()) = self.network.changed() => Trigger::NetworkChange,
                Ok(()) = self.observed.changed() => Trigger::ObservedAddress,
                Ok(()) = self.settings.changed() => Trigger::Settings,
                () = links_differ(self.session, &self.links) => {
                    self.links = self.session.relay_links();
                    Trigger::RelayConnections
                }
            };
            plan.tell(told, Instant::now());
        }
        self.links = self.session.relay_links();
    }
}

/// Makes measurements, shows and reports what they say.
struct Meter<'a> {
    session: &'a Session,
    reported: &'a watch::Sender<Option<Reported>>,
    started: Instant,
    steady: Steady,
    /// What the last full measurement saw, if what it says is what is reported.
    baseline: Option<Baseline>,
    /// Whether the last full measurement was better than what is reported.
    improves: bool,
}

impl Meter<'_> {
    /// What is due; whether a check was enough.
    async fn measure(&mut self, settings: &Settings, due: Due) -> bool {
        if due.check && self.confirmed().await {
            return true;
        }
        let signals = &self.session.signals;
        let answers = *signals.watch_wanted().borrow();
        let result = self.in_full(settings, due.why).await;
        signals.found(answers, result);
        false
    }

    async fn confirmed(&self) -> bool {
        let Some(baseline) = &self.baseline else {
            return false;
        };
        let holds = baseline.holds().await;
        if holds {
            self.session.metrics.probed(ProbeResult::Confirmed);
            self.session.board.update(|status| {
                status.last_check_time = Some(timestamp(now()));
            });
        }
        holds
    }

    async fn in_full(&mut self, settings: &Settings, why: Trigger) -> signals::Result {
        let begun = Instant::now();
        (self.baseline, self.improves) = (None, false);
        let facts = match self.facts(settings).await {
            Ok(facts) => facts,
            Err(error) => {
                tracing::warn!(%error, "reachability can't be measured");
                self.session.metrics.probed(ProbeResult::Failed);
                return Err(error.to_string());
            }
        };
        let assessment = assess(&facts);
        let milliseconds = begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        let time = timestamp(now());
        let netcheck = Netcheck::new(&facts, &assessment, why, time, milliseconds);
        show(self.session, &assessment, why);
        self.steady.set_periods(
            Duration::from_secs(settings.stabilization_seconds.into()),
            Duration::from_secs(settings.offline_after_seconds.into()),
        );
        let grade = assessment.grade;
        let steady = self.steady.observe(self.started.elapsed(), assessment);
        self.improves = grade > steady.grade;
        if steady.grade == grade {
            self.baseline = Baseline::of(&facts);
        }
        take(self.reported, steady);
        Ok(netcheck)
    }

    async fn facts(&self, settings: &Settings) -> std::io::Result<Facts> {
        let (session, world) = (self.session, world(settings));
        let gateway = async {
            match session.is_pod() {
                true => None,
                false => gateway::outside().await,
            }
        };
        let (measurement, gateway_outside) =
            tokio::join!(probe::run(session, &world, &settings.stun_servers), gateway);
        let measurement = measurement?;
        let answered = measurement.v4.answered() || measurement.v6.answered();
        session.metrics.probed(if answered {
            ProbeResult::Measured
        } else {
            ProbeResult::Silent
        });
        if !answered {
            pulse::after_silence(session).await;
        }
        Ok(Facts {
            world,
            in_pod: session.is_pod(),
            interfaces: facts::interfaces(),
            route: facts::route(),
            gateway_outside,
            links: session.relay_links(),
            measurement,
        })
    }
}

/// Waits for the first network document and for the relay's connection that stays, but not for ever: without them there
/// is still something to say.
async fn joined(session: &Session) {
    let (mut lists, mut board) = (session.watch_lists(), session.board.watch());
    let known = async {
        while session.membership().document_version().is_none() {
            if lists.changed().await.is_err() {
                return;
            }
        }
        let _ = board.wait_for(Status::is_joined).await;
    };
    let _ = timeout(JOIN_WAIT, known).await;
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

/// Waits until the connections to relays are other ones than `known`.
async fn links_differ(session: &Session, known: &[Link]) {
    let mut surroundings = session.watch_surroundings();
    while session.relay_links() == known {
        if surroundings.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn show(session: &Session, assessment: &Assessment, why: Trigger) {
    session.board.update(|status| {
        let former = status
            .reachability
            .as_ref()
            .filter(|report| report.grade == assessment.grade);
        let changed = former.map_or_else(now, |report| report.changed_time);
        if former.is_none() {
            let (grade, reason) = (assessment.grade, &assessment.reason);
            tracing::info!(%grade, reason, %why, "reachability");
        }
        let report = assessment.report(status.path, Vec::new(), changed, env!("CARGO_PKG_VERSION"));
        status.reachability = Some(report);
        status.ip_version = assessment.version;
        status.last_probe_time = Some(timestamp(now()));
        status.last_probe_trigger = Some(why);
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
