//! The peer controller: what peers report becomes status and pod conditions; Peers end with their pods, their
//! networks and their claims; a revocation is written before its Peer goes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kube::{
    ResourceExt as _,
    runtime::{controller::Action, reflector::ObjectRef},
};
use peerup_crds::{PairingCode, Peer, PeerNetwork};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    context::{Change, Context, PeerIndex, PeerKey, Watched, Written},
    controller::{
        self, Feeds, Reconcile, ReconcileError, Trigger, Triggers, feed, itself, reference, refs,
    },
    leader::Term,
    pods::Pod,
};

mod act;
mod bucket;
pub mod decide;
mod observe;
mod writes;

use decide::{Decision, Observed};
use writes::Writes;

/// Pause in which changes are gathered.
const PAUSE: Duration = Duration::from_millis(20);
/// Writes that are under way at once.
const WRITERS: usize = 8;
/// How long one write may take: see [`controller::PATIENCE`].
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the newest report of each network is shown.
const SHOW: Duration = Duration::from_secs(10);

/// The controller, for one term of leading.
#[derive(Clone)]
struct Peers {
    context: Context,
    term: Term,
    writes: Writes,
    written: Recent,
}

/// Peers and their pods as they were written last.
#[derive(Clone, Default)]
struct Recent {
    peers: Written<Peer>,
    pods: Written<Pod>,
}

impl Reconcile for Peers {
    type Object = Peer;
    const NAME: &'static str = "peer";

    async fn reconcile(&self, peer: Arc<Peer>) -> Result<Action, ReconcileError> {
        let seen = self.observe(peer).await?;
        let peer = seen.peer.clone();
        match decide::decide(&seen) {
            Decision::Delete { why } => act::delete(&self.context, &peer, why)
                .await
                .map(|()| Action::await_change()),
            Decision::Release => act::release(&self.context, &peer)
                .await
                .map(|()| Action::await_change()),
            Decision::Revoke { until } => {
                act::revoke(&self.context, &peer, until).await?;
                if peer.metadata.deletion_timestamp.is_some() {
                    act::release(&self.context, &peer).await?;
                }
                Ok(Action::requeue(Duration::from_secs(1)))
            }
            Decision::Keep(keep) => {
                if let Some(write) = keep.write {
                    self.writes.enqueue(ObjectRef::from_obj(&*peer), write.turn);
                }
                Ok(Action::requeue(Duration::from_secs(keep.again_seconds)))
            }
        }
    }
}

impl Peers {
    async fn observe(&self, peer: Arc<Peer>) -> Result<Observed, ReconcileError> {
        let peer = self.written.peers.newest(peer);
        observe::observe(&self.context, self.term, &self.written.pods, peer).await
    }

    /// Writes whatever is due by then, as more may have happened while the peer waited; answers whether anything was.
    async fn write(&self, key: &ObjectRef<Peer>) -> Result<bool, ReconcileError> {
        let namespace = key.namespace.as_deref().unwrap_or_default();
        let Some(peer) = self.context.stores.peers.get(namespace, &key.name) else {
            return Ok(false);
        };
        let seen = self.observe(peer).await?;
        let peer = seen.peer.clone();
        let Decision::Keep(keep) = decide::decide(&seen) else {
            return Ok(false);
        };
        let Some(write) = keep.write else {
            return Ok(false);
        };
        let result = act::write(&self.context, &self.written, &peer, write).await;
        let label = match &result {
            Ok(()) => "ok",
            Err(error) if error.is_conflict() => "conflict",
            Err(_) => "error",
        };
        self.context
            .metrics
            .machinery
            .status_writes
            .with_label_values(&[label])
            .inc();
        result.map(|()| true)
    }

    /// Serves the queue of writes.
    async fn write_all(self, triggers: Triggers<Peer>) {
        let writers = Arc::new(Semaphore::new(WRITERS));
        loop {
            let (key, turn) = self.writes.next().await;
            let Ok(permit) = writers.clone().acquire_owned().await else {
                return;
            };
            let (peers, triggers) = (self.clone(), triggers.clone());
            tokio::spawn(async move {
                let result = timeout(PATIENCE, peers.write(&key))
                    .await
                    .unwrap_or_else(|_| Err(ReconcileError::unanswered(PATIENCE)));
                let mut again = peers.writes.done(&key);
                match result {
                    Ok(true) => {}
                    Ok(false) => peers.writes.spared(turn),
                    Err(error) => {
                        if !error.is_conflict() {
                            tracing::warn!(peer = %key, %error, "grade not written");
                        }
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        again = true;
                    }
                }
                if again {
                    drop(triggers.send(key).await);
                }
                drop(permit);
            });
        }
    }

    /// Shows when any peer of each network last reported.
    async fn show(self) {
        let mut ticks = tokio::time::interval(SHOW);
        loop {
            ticks.tick().await;
            let mut newest: HashMap<(String, String), u64> = HashMap::new();
            for peer in self.context.stores.peers.list() {
                let key = key(&peer);
                let Some(heard) = self
                    .context
                    .reports
                    .get(&key, &peer.uid().unwrap_or_default())
                else {
                    continue;
                };
                let last = newest
                    .entry((key.namespace, peer.spec.network_ref.name.clone()))
                    .or_default();
                *last = heard.time.max(*last);
            }
            for ((namespace, network), time) in newest {
                self.context
                    .metrics
                    .peers
                    .last_report
                    .with_label_values(&[&namespace, &network])
                    .set(time as f64);
            }
        }
    }
}

fn key(peer: &Peer) -> PeerKey {
    PeerKey {
        namespace: peer.namespace().unwrap_or_default(),
        name: peer.name_any(),
    }
}

/// Runs the controller and its feeds until told to stop.
pub async fn run(context: Context, term: Term, stop: CancellationToken) {
    let (triggers, queue) = controller::queue();
    let feeds = Feeds::new(&stop);
    let writes = Writes::new(
        context.config.status_write_qps,
        context.metrics.machinery.status_write_queue.clone(),
    );
    let (stores, metrics) = (context.stores.clone(), context.metrics.machinery.clone());
    let peers = Peers {
        context,
        term,
        writes,
        written: Recent::default(),
    };
    feeds.spawn(peers.clone().write_all(triggers.clone()));
    feeds.spawn(peers.clone().show());
    feed_all(&peers.context, &feeds, &triggers);
    drop(triggers);
    controller::run(peers, &stores.peers, queue, metrics, stop.clone()).await;
}

fn feed_all(context: &Context, feeds: &Feeds<'_>, triggers: &Triggers<Peer>) {
    let stores = &context.stores;
    let all = {
        let peers = stores.peers.clone();
        move || refs(&peers)
    };
    feeds.start(triggers, all());
    let reports = context.reports.clone();
    let changed = move |change: Change<Peer>| {
        if let Change::Deleted(peer) = &change {
            reports.remove(&key(peer));
        }
        itself(change)
    };
    feeds.spawn(feed(
        stores.peers.changes(),
        triggers.clone(),
        PAUSE,
        changed,
        all.clone(),
    ));
    let reported = |key: PeerKey| Trigger::Some(vec![reference(&key.namespace, &key.name)]);
    feeds.spawn(feed(
        context.reports.news(),
        triggers.clone(),
        PAUSE,
        reported,
        all.clone(),
    ));
    feeds.spawn(feed(
        stores.pods.changes(),
        triggers.clone(),
        PAUSE,
        of_pod(stores.index.clone()),
        all.clone(),
    ));
    feeds.spawn(feed(
        stores.networks.changes(),
        triggers.clone(),
        PAUSE,
        of_network(stores.peers.clone()),
        all.clone(),
    ));
    feeds.spawn(feed(
        stores.codes.changes(),
        triggers.clone(),
        PAUSE,
        of_code,
        all,
    ));
}

/// The Peers of a pod that has ended.
fn of_pod(index: PeerIndex) -> impl Fn(Change<Pod>) -> Trigger<Peer> + Send {
    move |change| {
        let pod = match change {
            Change::Applied(pod) if !pod.is_ending() => return Trigger::Nothing,
            Change::Applied(pod) | Change::Deleted(pod) => pod,
            Change::Relisted => return Trigger::All,
        };
        let keys = index.keys_of_pod(&pod.uid().unwrap_or_default());
        let due = keys.iter().map(|key| reference(&key.namespace, &key.name));
        Trigger::Some(due.collect())
    }
}

/// The Peers of a network that goes.
fn of_network(peers: Watched<Peer>) -> impl Fn(Change<PeerNetwork>) -> Trigger<Peer> + Send {
    move |change| {
        let network = match change {
            Change::Applied(network) if network.metadata.deletion_timestamp.is_none() => {
                return Trigger::Nothing;
            }
            Change::Applied(network) | Change::Deleted(network) => network,
            Change::Relisted => return Trigger::All,
        };
        let mut due = peers.list_in(&network.namespace().unwrap_or_default());
        due.retain(|peer| peer.spec.network_ref.name == network.name_any());
        Trigger::Some(
            due.iter()
                .map(|peer| ObjectRef::from_obj(&**peer))
                .collect(),
        )
    }
}

/// The Peers that used a PairingCode.
fn of_code(change: Change<PairingCode>) -> Trigger<Peer> {
    match change {
        Change::Applied(code) => {
            let slots = code
                .status
                .as_ref()
                .map(|status| status.codes.as_slice())
                .unwrap_or_default();
            let users = slots.iter().filter_map(|slot| slot.peer_ref.as_ref());
            let namespace = code.namespace().unwrap_or_default();
            Trigger::Some(
                users
                    .map(|user| reference(&namespace, &user.name))
                    .collect(),
            )
        }
        Change::Deleted(_) => Trigger::Nothing,
        Change::Relisted => Trigger::All,
    }
}
