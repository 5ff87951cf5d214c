//! Who leads: one replica at a time holds the Lease, decides and writes; the others pass requests on to it.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use peerup_protocol::UnixTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{clock, config::Config};

/// How long a lease is good without renewal; this and [`BELIEVE`] are what Kubernetes' own controllers have.
const LEASE: Duration = Duration::from_secs(15);
/// How often it is renewed, and how often others look.
const RENEW: Duration = Duration::from_secs(2);
/// How soon it is tried again after a call that failed: one that the API server is slow to answer must not end a term.
const AGAIN: Duration = Duration::from_millis(500);
/// How long the holder believes in it after a renewal: it stops before others begin.
const BELIEVE: Duration = Duration::from_secs(10);
/// How long one call may take.
const CALL: Duration = Duration::from_secs(3);

/// The replica that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Name of its pod.
    pub pod: String,
    /// Address of its pod.
    pub ip: IpAddr,
}

impl Holder {
    /// From `<pod>/<ip>`, as it stands in the Lease.
    #[must_use]
    pub fn parse(identity: &str) -> Option<Self> {
        let (pod, ip) = identity.split_once('/')?;
        Some(Self {
            pod: pod.to_owned(),
            ip: ip.parse().ok()?,
        })
    }

    /// `<pod>/<ip>`.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}/{}", self.pod, self.ip)
    }
}

/// One time of leading, of this replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// Random number drawn at the election: rosters of another run start anew.
    pub run: u64,
    /// When it began.
    pub since: UnixTime,
    until: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct State {
    holder: Option<Holder>,
    term: Option<Term>,
}

/// Who leads, as far as this replica knows.
#[derive(Debug, Clone)]
pub struct Leadership(Arc<watch::Sender<State>>);

impl Default for Leadership {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }
}

impl Leadership {
    /// Whether this replica leads at this moment.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.term().is_some()
    }

    /// The replica that leads, if any is known; it may be this one.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        self.0.borrow().holder.clone()
    }

    /// The present term, if this replica leads.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.0
            .borrow()
            .term
            .filter(|term| Instant::now() < term.until)
    }

    /// The run id drawn at this replica's election, if it leads.
    #[must_use]
    pub fn run(&self) -> Option<u64> {
        self.term().map(|term| term.run)
    }

    /// Waits until this replica leads.
    pub async fn elected(&self) -> Term {
        let mut states = self.0.subscribe();
        loop {
            if let Some(term) = self.term() {
                return term;
            }
            // The sender lives in self, so this cannot fail.
            drop(states.changed().await);
        }
    }

    /// Waits until the term with this run is over.
    pub async fn deposed(&self, run: u64) {
        let mut states = self.0.subscribe();
        while let Some(term) = self.term().filter(|term| term.run == run) {
            tokio::select! {
                _ = states.changed() => {}
                () = tokio::time::sleep_until(term.until.into()) => {}
            }
        }
    }

    fn lead(&self, holder: &Holder, until: Instant) {
        self.0.send_modify(|state| {
            let (run, since) = match state.term.filter(|term| Instant::now() < term.until) {
                Some(term) => (term.run, term.since),
                None => (rand::random(), clock::now()),
            };
            *state = State {
                holder: Some(holder.clone()),
                term: Some(Term { run, since, until }),
            };
        });
    }

    fn follow(&self, holder: Option<Holder>) {
        let next = State { holder, term: None };
        self.0.send_if_modified(|state| {
            let changed = *state != next;
            *state = next;
            changed
        });
    }
}

/// The campaign for the Lease.
pub struct Campaign {
    leases: Api<Lease>,
    name: String,
    me: Holder,
    leadership: Leadership,
    /// The Lease as last seen to change, and when that was by our own clock.
    seen: Option<(String, Instant)>,
    failing: bool,
}

impl Campaign {
    /// Prepares to campaign.
    #[must_use]
    pub fn new(client: Client, config: &Config, leadership: Leadership) -> Self {
        Self {
            leases: Api::namespaced(client, &config.operator_namespace),
            name: config.lease.clone(),
            me: Holder {
                pod: config.pod_name.clone(),
                ip: config.pod_ip,
            },
            leadership,
            seen: None,
            failing: false,
        }
    }

    /// Campaigns until told to stop; then gives the Lease back, so that the next one need not wait, and says who that
    /// is, until the end.
    pub async fn run(mut self, stop: CancellationToken, end: CancellationToken) {
        loop {
            self.tried(async |campaign| campaign.step(Instant::now()).await)
                .await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(if self.failing { AGAIN } else { RENEW }) => {}
            }
        }
        self.give_back().await;
        loop {
            tokio::select! {
                () = end.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
            self.tried(async |campaign| campaign.look().await).await;
        }
    }

    async fn tried(&mut self, step: impl AsyncFnOnce(&mut Self) -> Result<(), kube::Error>) {
        match tokio::time::timeout(CALL, step(self)).await {
            Ok(Ok(())) => self.failing = false,
            Ok(Err(error)) => self.failed(&crate::errors::explain(&error)),
            Err(_) => self.failed("the API server does not answer"),
        }
    }

    async fn give_back(&self) {
        if self.leadership.is_leader() {
            self.leadership.follow(None);
            if let Ok(Err(error)) = tokio::time::timeout(CALL, self.release()).await {
                tracing::warn!(%error, "the lease could not be given back");
            }
        }
    }

    fn failed(&mut self, error: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                lease = self.name,
                error,
                "the lease cannot be read or renewed"
            );
        }
    }

    /// Sees who leads, and does not want to.
    async fn look(&self) -> Result<(), kube::Error> {
        let lease = self.leases.get_opt(&self.name).await?;
        let spec = lease.and_then(|lease| lease.spec).unwrap_or_default();
        let holder = Holder::parse(&spec.holder_identity.unwrap_or_default());
        self.leadership
            .follow(holder.filter(|holder| *holder != self.me));
        Ok(())
    }

    async fn step(&mut self, begun: Instant) -> Result<(), kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            let created = self
                .leases
                .create(&PostParams::default(), &self.claim(None))
                .await;
            return self.won(created, begun);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let identity = spec.holder_identity.clone().unwrap_or_default();
        if identity != self.me.identity()
            && !identity.is_empty()
            && !self.is_stale(&lease, &spec, begun)
        {
            self.leadership.follow(Holder::parse(&identity));
            return Ok(());
        }
        let replaced = self
            .leases
            .replace(&self.name, &PostParams::default(), &self.claim(Some(lease)))
            .await;
        self.won(replaced, begun)
    }

    /// Whether the Lease has not changed for as long as it is good, measured by our own clock.
    fn is_stale(&mut self, lease: &Lease, spec: &LeaseSpec, now: Instant) -> bool {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            Some(_) | None => {
                self.seen = Some((version, now));
                now
            }
        };
        let seconds = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        now.duration_since(since) > seconds.map_or(LEASE, Duration::from_secs)
    }

    fn won(&self, result: Result<Lease, kube::Error>, begun: Instant) -> Result<(), kube::Error> {
        match result {
            Ok(_) => {
                if !self.leadership.is_leader() {
                    tracing::info!(lease = self.name, "this replica leads");
                }
                self.leadership.lead(&self.me, begun + BELIEVE);
                Ok(())
            }
            // Somebody was faster; the next look says who.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.leadership.follow(None);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn claim(&self, former: Option<Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let metadata = former.as_ref().map_or_else(
            || ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            |lease| lease.metadata.clone(),
        );
        let former = former.and_then(|lease| lease.spec).unwrap_or_default();
        let mine =
            former.holder_identity == Some(self.me.identity()) && self.leadership.is_leader();
        let transitions = former.lease_transitions.unwrap_or(0);
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.me.identity()),
                lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
                acquire_time: if mine {
                    former.acquire_time
                } else {
                    Some(now.clone())
                },
                renew_time: Some(now),
                lease_transitions: Some(if mine {
                    transitions
                } else {
                    transitions.saturating_add(1)
                }),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let mut lease = self.leases.get(&self.name).await?;
        if let Some(spec) = lease
            .spec
            .as_mut()
            .filter(|spec| spec.holder_identity == Some(self.me.identity()))
        {
            spec.holder_identity = None;
            self.leases
                .replace(&self.name, &PostParams::default(), &lease)
                .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder() -> Holder {
        Holder {
            pod: "operator-0".to_owned(),
            ip: "10.0.0.7".parse().unwrap(),
        }
    }

    #[test]
    fn identities_go_there_and_back() {
        assert_eq!(Holder::parse(&holder().identity()), Some(holder()));
        assert_eq!(
            Holder::parse("fd-pod/fd00::1").unwrap().ip.to_string(),
            "fd00::1"
        );
        for bad in ["", "pod", "pod/", "pod/host"] {
            assert_eq!(Holder::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_term_ends_by_itself_and_the_next_has_another_run() {
        let leadership = Leadership::default();
        assert!(!leadership.is_leader());
        leadership.lead(&holder(), Instant::now() + BELIEVE);
        let first = leadership.run().unwrap();
        leadership.lead(&holder(), Instant::now() + BELIEVE);
        assert_eq!(leadership.run(), Some(first), "a renewal keeps the run");

        leadership.lead(&holder(), Instant::now());
        assert!(!leadership.is_leader(), "not renewed in time");
        leadership.lead(&holder(), Instant::now() + BELIEVE);
        assert_ne!(leadership.run().unwrap(), first);

        leadership.follow(Holder::parse("other/10.0.0.8"));
        assert_eq!(leadership.run(), None);
        assert_eq!(leadership.holder().unwrap().pod, "other");
    }
}
