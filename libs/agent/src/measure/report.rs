//! Sends reports: a pod to the operator, another peer to one of its relays. On change, and every period.

use std::convert::Infallible;
use std::time::Duration;

use peerup_node::{PeerId, Protocol};
use peerup_operator_client::{CallError, OperatorClient};
use peerup_protocol::api::{PodReport, ReportRequest, Settings};
use peerup_protocol::frame::{MAX_FRAME, ReportFrame, ReportPeriods};
use peerup_protocol::report::{Report, ReportError};
use peerup_protocol::{UnixTime, message};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::plan::jittered;
use super::{Reported, period};
use crate::agent::Source;
use crate::backoff::Backoff;
use crate::clock::{now, timestamp};
use crate::session::Session;
use crate::session::exchange::{self, ExchangeError, Limits};

/// Longest time for a report at one relay, or at the operator with retries.
const SEND: Duration = Duration::from_secs(10);
/// Changes in quick succession are one.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Why a report was not accepted.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Operator(#[from] CallError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error("no relay is connected")]
    NoRelay,
    #[error(transparent)]
    Relay(#[from] ExchangeError),
    #[error("no answer in time")]
    TimedOut,
}

/// Reports for as long as the session lasts.
pub(super) async fn run(
    session: &Session,
    source: &Source,
    settings: &watch::Sender<Settings>,
    mut reported: watch::Receiver<Option<Reported>>,
) -> Infallible {
    let mut surroundings = session.watch_surroundings();
    let mut sender = Sender {
        session,
        source,
        settings,
        last_time: 0,
    };
    let mut plan = Plan::new(Instant::now());
    loop {
        let known = reported.borrow_and_update().clone();
        surroundings.mark_unchanged();
        if let Some(known) = known {
            let report = current(session, &known).await;
            if plan.is_due(&report, Instant::now()) {
                let result = sender.send(&report).await;
                let period = period(settings.borrow().report_period_seconds);
                let period = jittered(period, rand::random());
                if result.is_ok() {
                    let time = Some(timestamp(now()));
                    session
                        .board
                        .update(|status| status.last_report_time = time);
                }
                plan.note(report, result, Instant::now(), period);
            }
        }
        sleep(DEBOUNCE).await;
        tokio::select! {
            _ = reported.changed() => (),
            _ = surroundings.changed() => (),
            () = sleep_until(plan.due), if reported.borrow().is_some() => (),
        }
    }
}

/// When which report is sent.
struct Plan {
    sent: Option<Report>,
    /// What was sent is sent again then.
    due: Instant,
    /// Nothing is sent before, after a failure.
    not_before: Instant,
    backoff: Backoff,
}

impl Plan {
    fn new(now: Instant) -> Self {
        Self {
            sent: None,
            due: now,
            not_before: now,
            backoff: Backoff::default(),
        }
    }

    fn is_due(&self, report: &Report, now: Instant) -> bool {
        now >= self.not_before && (now >= self.due || self.sent.as_ref() != Some(report))
    }

    fn note(
        &mut self,
        report: Report,
        result: Result<(), SendError>,
        now: Instant,
        period: Duration,
    ) {
        let Err(error) = result else {
            self.backoff.reset();
            self.sent = Some(report);
            self.due = now + period;
            return;
        };
        let pause = self.backoff.after_failure(rand::random());
        tracing::info!(%error, ?pause, "report is not accepted yet");
        self.due = now + pause;
        // A relay that connects is asked at once.
        let waits = !matches!(error, SendError::NoRelay);
        self.not_before = if waits { self.due } else { now };
    }
}

/// A relay's word decides how often this peer measures and reports, within what a network may have, and nothing else.
fn take_periods(settings: &mut Settings, periods: ReportPeriods) {
    settings.probe_period_seconds = periods.probe.clamp(5, 3600);
    settings.report_period_seconds = periods.report.clamp(5, 3600);
    settings.offline_after_seconds = periods.offline_after.clamp(10, 86_400);
    settings.stabilization_seconds = periods.stabilization.clamp(5, 3600);
}

/// The steady assessment, with connections as they are now.
async fn current(session: &Session, known: &Reported) -> Report {
    let reservations = session
        .node
        .snapshot()
        .await
        .map(|snapshot| snapshot.reservations)
        .unwrap_or_default();
    let path = session.board.status().path;
    known
        .assessment
        .report(path, reservations, known.changed, env!("CARGO_PKG_VERSION"))
}

struct Sender<'a> {
    session: &'a Session,
    source: &'a Source,
    settings: &'a watch::Sender<Settings>,
    /// Times of signed reports must grow.
    last_time: UnixTime,
}

impl Sender<'_> {
    async fn send(&mut self, report: &Report) -> Result<(), SendError> {
        match self.source {
            Source::Attested(operator) => self.ask_operator(operator, report).await,
            Source::Code(..) | Source::Stored => self.via_relays(report).await,
        }
    }

    async fn ask_operator(
        &self,
        operator: &OperatorClient,
        report: &Report,
    ) -> Result<(), SendError> {
        let request = ReportRequest::Pod(PodReport {
            report: report.clone(),
        });
        let answer = operator.report(&request, Instant::now() + SEND).await?;
        self.take(|settings| *settings = answer.settings);
        Ok(())
    }

    /// Changes the settings, and wakes those who depend on them if that makes a difference.
    fn take(&self, change: impl FnOnce(&mut Settings)) {
        self.settings.send_if_modified(|settings| {
            let before = settings.clone();
            change(settings);
            *settings != before
        });
    }

    /// By the first of the connected relays that brings it to the operator: one may be cut off from it.
    async fn via_relays(&mut self, report: &Report) -> Result<(), SendError> {
        let mut result = Err(SendError::NoRelay);
        for relay in self.relays().await {
            result = timeout(SEND, self.via(relay, report))
                .await
                .unwrap_or(Err(SendError::TimedOut));
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn via(&mut self, relay: PeerId, report: &Report) -> Result<(), SendError> {
        let json = report.to_json()?.into_bytes();
        let time = now().max(self.last_time + 1);
        let net = self.session.membership().net();
        let signed = message::report(&net, &self.session.me(), time, &json);
        let frame = ReportFrame {
            time,
            json,
            signature: message::sign(&self.session.key, &signed),
        }
        .encode();
        let limits = Limits {
            bytes: MAX_FRAME,
            time: SEND,
        };
        let opened = self.session.node.open(relay, Protocol::Report).await;
        let periods = exchange::ask(opened, &frame, limits, ReportPeriods::decode).await?;
        // Only now: after a jump of the clock times that nobody took would stand in the way for as long.
        self.last_time = time;
        self.take(|settings| take_periods(settings, periods));
        Ok(())
    }

    /// This peer's relays that are connected.
    async fn relays(&self) -> Vec<PeerId> {
        let relays = self.session.membership().my_relays();
        let connected = self.session.node.snapshot().await;
        let connected = connected.map_or_else(|_| Vec::new(), |snapshot| snapshot.members);
        let is_connected = |peer: &PeerId| connected.iter().any(|(member, _)| member == peer);
        relays
            .into_iter()
            .map(|relay| relay.peer)
            .filter(is_connected)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_sets_periods_within_limits_and_nothing_else() {
        let before = crate::measure::default_settings(&Source::Stored);
        let told = |[probe, report, offline_after, stabilization]: [u32; 4]| {
            let mut settings = before.clone();
            let periods = ReportPeriods {
                probe,
                report,
                offline_after,
                stabilization,
            };
            take_periods(&mut settings, periods);
            settings
        };
        let expected = |[probe, report, offline_after, stabilization]: [u32; 4]| Settings {
            probe_period_seconds: probe,
            report_period_seconds: report,
            offline_after_seconds: offline_after,
            stabilization_seconds: stabilization,
            ..before.clone()
        };
        assert_eq!(told([7, 8, 11, 6]), expected([7, 8, 11, 6]));
        assert_eq!(told([0; 4]), expected([5, 5, 10, 5]));
        assert_eq!(told([u32::MAX; 4]), expected([3600, 3600, 86_400, 3600]));
    }
}
