//! The injection controller: pods that asked for a sidecar and have none, or not the one they asked for. The webhook may
//! have been away, and a ReplicaSet's pods show its warnings to nobody.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{ResourceExt as _, runtime::controller::Action};
use peerup_crds::PeerNetwork;
use tokio_util::sync::CancellationToken;

use crate::{
    admission::options::DEGRADED,
    context::{Change, Context},
    controller::{self, Feeds, Reconcile, ReconcileError, Trigger, feed, itself, refs},
    pods::Pod,
};

mod act;
pub mod decide;
pub(crate) mod observe;

use decide::Verdict;

/// Pause in which changes are gathered: a pod that is new may be about to get its network.
const PAUSE: Duration = Duration::from_secs(1);
/// How often all pods without sidecar are counted.
const COUNT: Duration = Duration::from_secs(15);

/// The controller, for one term of leading.
pub struct Injections {
    context: Context,
    told: act::Told,
}

impl Reconcile for Injections {
    type Object = Pod;
    const NAME: &'static str = "injection";

    async fn reconcile(&self, pod: Arc<Pod>) -> Result<Action, ReconcileError> {
        let networks = self.context.stores.networks.list();
        let name = pod.name_any();
        let said = match observe::Judge::new(&self.context, &networks).verdict(&pod) {
            Verdict::Missing(missing) => Some((
                missing.reason,
                format!("pod {name} has no Peerup sidecar: {}", missing.message),
            )),
            Verdict::Injected { .. } => {
                let complaint = decide::complaint(&pod, &self.context.config.allowed_images);
                complaint.map(|complaint| {
                    let note =
                        format!("pod {name} has its sidecar, but not as it asks: {complaint}");
                    (DEGRADED, note)
                })
            }
            Verdict::Uninvolved => None,
        };
        if let Some((reason, note)) = said {
            act::tell(&self.context, &self.told, &pod, reason, &note).await;
        }
        Ok(Action::await_change())
    }
}

/// Runs the controller and its feeds until told to stop.
pub async fn run(context: Context, stop: CancellationToken) {
    let (triggers, queue) = controller::queue();
    let feeds = Feeds::new(&stop);
    let pods = context.stores.pods.clone();
    let all = {
        let pods = pods.clone();
        move || refs(&pods)
    };
    feeds.start(&triggers, refs(&pods));
    feeds.spawn(feed(
        pods.changes(),
        triggers.clone(),
        PAUSE,
        only_new(context.config.allowed_images.clone()),
        all.clone(),
    ));
    feeds.spawn(feed(
        context.stores.networks.changes(),
        triggers.clone(),
        PAUSE,
        only_specs(),
        all.clone(),
    ));
    feeds.spawn(feed(
        context.stores.namespaces.changes(),
        triggers,
        PAUSE,
        |_| Trigger::All,
        all,
    ));
    feeds.spawn(count(context.clone()));
    let metrics = context.metrics.machinery.clone();
    controller::run(
        Injections {
            context,
            told: act::Told::default(),
        },
        &pods,
        queue,
        metrics,
        stop,
    )
    .await;
}

/// Pods that have the sidecar they asked for keep it; only the others are looked at.
fn only_new(allowed_images: Vec<String>) -> impl Fn(Change<Pod>) -> Trigger<Pod> + Send {
    move |change| match change {
        Change::Applied(pod)
            if pod
                .labels()
                .contains_key(peerup_crds::names::labels::INJECTED)
                && decide::complaint(&pod, &allowed_images).is_none() =>
        {
            Trigger::Nothing
        }
        Change::Applied(_) | Change::Deleted(_) | Change::Relisted => itself(change),
    }
}

/// Networks write their status often; pods care only for what they ask.
fn only_specs() -> impl Fn(Change<PeerNetwork>) -> Trigger<Pod> + Send {
    let known: Mutex<HashMap<Option<String>, Option<i64>>> = Mutex::default();
    move |change| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let network = match change {
            Change::Applied(network) => network,
            Change::Deleted(network) => {
                known.remove(&network.uid());
                return Trigger::All;
            }
            Change::Relisted => return Trigger::All,
        };
        let generation = network.metadata.generation;
        if known.insert(network.uid(), generation) == Some(generation) {
            Trigger::Nothing
        } else {
            Trigger::All
        }
    }
}

/// Counts pods without sidecar, by network where one can be told.
async fn count(context: Context) {
    let mut ticks = tokio::time::interval(COUNT);
    loop {
        ticks.tick().await;
        let networks = context.stores.networks.list();
        let mut missing: HashMap<Option<String>, i64> = HashMap::new();
        let mut judge = observe::Judge::new(&context, &networks);
        for pod in context.stores.pods.list() {
            match judge.verdict(&pod) {
                Verdict::Missing(found) if found.counts => {
                    *missing.entry(found.network_uid).or_default() += 1
                }
                Verdict::Missing(_) | Verdict::Uninvolved | Verdict::Injected { .. } => {}
            }
        }
        let gauge = &context.metrics.injection.not_injected;
        gauge.reset();
        gauge
            .with_label_values(&["", ""])
            .set(missing.get(&None).copied().unwrap_or(0));
        for network in &networks {
            let count = missing.get(&network.uid()).copied().unwrap_or(0);
            gauge
                .with_label_values(&[
                    &network.namespace().unwrap_or_default(),
                    &network.name_any(),
                ])
                .set(count);
        }
    }
}
