//! The network controller: PeerNetwork → key, relays and all that belongs to them, signed documents, status.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Service;
use kube::{
    Resource, ResourceExt as _,
    runtime::{controller::Action, reflector::ObjectRef},
};
use peerup_crds::{PairingCode, Peer, PeerNetwork, names::labels};
use tokio_util::sync::CancellationToken;

use crate::{
    context::{Change, Context},
    controller::{
        self, Feeds, Reconcile, ReconcileError, Trigger, Triggers, feed, itself, reference, refs,
    },
    pods::Pod,
};

mod act;
pub mod addresses;
pub mod census;
pub mod decide;
mod gauges;
pub mod objects;
pub(crate) mod observe;
pub(crate) mod swap;

pub(crate) use act::unless_gone;

/// Pause in which changes that only matter for the status are gathered.
const LAZY: Duration = Duration::from_secs(1);
/// Pause in which changes that matter for relays are gathered.
const EAGER: Duration = Duration::from_millis(50);

/// The controller, for one term of leading.
pub struct Networks {
    context: Context,
    applied: act::Applied,
}

impl Reconcile for Networks {
    type Object = PeerNetwork;
    const NAME: &'static str = "network";

    async fn reconcile(&self, network: Arc<PeerNetwork>) -> Result<Action, ReconcileError> {
        let network = self.applied.written.newest(network);
        let mut seen = observe::observe(&self.context, network.clone());
        gauges::show(&self.context.metrics.peers, &seen);
        let (context, applied) = (&self.context, &self.applied);
        let mut decision = decide::decide(&seen);
        let objects = act::objects(context, applied, &network, &decision).await;
        if !objects.refused.is_empty() {
            // Status and events tell of it, so they are decided with it; the objects are the same.
            seen.refused.clone_from(&objects.refused);
            decision = decide::decide(&seen);
        }
        let action = act::act(context, applied, &network, decision).await?;
        objects.finished().map(|()| action)
    }
}

/// Feeds the controller with everything that may matter to a network.
fn feed_all(context: &Context, feeds: &Feeds<'_>, triggers: &Triggers<PeerNetwork>) {
    let all = {
        let networks = context.stores.networks.clone();
        move || refs(&networks)
    };
    feeds.start(triggers, all());
    feed_eagerly(context, feeds, triggers, all.clone());
    feed_lazily(context, feeds, triggers, all);
}

/// What relays and documents depend on.
fn feed_eagerly(
    context: &Context,
    feeds: &Feeds<'_>,
    triggers: &Triggers<PeerNetwork>,
    all: impl All,
) {
    let (stores, send) = (&context.stores, || triggers.clone());
    feeds.spawn(feed(
        stores.networks.changes(),
        send(),
        EAGER,
        by_itself,
        all.clone(),
    ));
    let services = by_label(context, |_: &Service| true);
    feeds.spawn(feed(
        stores.services.changes(),
        send(),
        EAGER,
        services,
        all.clone(),
    ));
    let relays = by_label(context, is_relay);
    feeds.spawn(feed(
        stores.pods.changes(),
        send(),
        LAZY / 4,
        relays,
        all.clone(),
    ));
    let children = by_uid(context);
    feeds.spawn(feed(
        stores.children.changes(),
        send(),
        EAGER,
        children,
        all.clone(),
    ));
    let keys = |()| Trigger::All;
    feeds.spawn(feed(
        context.keys.changes(),
        send(),
        EAGER,
        keys,
        all.clone(),
    ));
    feeds.spawn(follow_ca(context.ca.subscribe(), send(), all));
}

/// What only the status depends on.
fn feed_lazily(
    context: &Context,
    feeds: &Feeds<'_>,
    triggers: &Triggers<PeerNetwork>,
    all: impl All,
) {
    let (stores, send) = (&context.stores, || triggers.clone());
    let pods = by_label(context, |pod: &Pod| !is_relay(pod));
    feeds.spawn(feed(stores.pods.changes(), send(), LAZY, pods, all.clone()));
    let peers = |change| by_ref(change, |peer: &Peer| &peer.spec.network_ref.name);
    feeds.spawn(feed(
        stores.peers.changes(),
        send(),
        LAZY,
        peers,
        all.clone(),
    ));
    let codes = |change| by_ref(change, |code: &PairingCode| &code.spec.network_ref.name);
    feeds.spawn(feed(
        stores.codes.changes(),
        send(),
        LAZY,
        codes,
        all.clone(),
    ));
    feeds.spawn(feed(
        stores.namespaces.changes(),
        send(),
        LAZY,
        |_| Trigger::All,
        all,
    ));
}

/// All networks there are.
trait All: Fn() -> Vec<ObjectRef<PeerNetwork>> + Clone + Send + 'static {}

impl<F: Fn() -> Vec<ObjectRef<PeerNetwork>> + Clone + Send + 'static> All for F {}

fn by_itself(change: Change<PeerNetwork>) -> Trigger<PeerNetwork> {
    match change {
        // Its name on the wire may be free now.
        Change::Deleted(_) => Trigger::All,
        Change::Applied(_) | Change::Relisted => itself(change),
    }
}

fn by_uid(context: &Context) -> impl Fn(String) -> Trigger<PeerNetwork> + Send + use<> {
    let networks = context.stores.networks.clone();
    move |uid| {
        let owner = networks
            .list()
            .into_iter()
            .find(|network| network.uid().as_ref() == Some(&uid));
        owner.map_or(Trigger::Nothing, |network| {
            Trigger::Some(vec![ObjectRef::from_obj(&*network)])
        })
    }
}

async fn follow_ca(
    mut bundle: tokio::sync::watch::Receiver<Option<String>>,
    triggers: Triggers<PeerNetwork>,
    all: impl Fn() -> Vec<ObjectRef<PeerNetwork>>,
) {
    while bundle.changed().await.is_ok() {
        for network in all() {
            if triggers.send(network).await.is_err() {
                return;
            }
        }
    }
}

fn is_relay(pod: &Pod) -> bool {
    pod.labels().get(labels::NAME).map(String::as_str) == Some(labels::RELAY)
}

/// The network that an object's label names, of objects that are wanted.
fn by_label<K, W>(
    context: &Context,
    wanted: W,
) -> impl Fn(Change<K>) -> Trigger<PeerNetwork> + Send + use<K, W>
where
    K: Resource + Send + Sync,
    W: Fn(&K) -> bool + Send,
{
    let by_uid = by_uid(context);
    move |change| match change {
        Change::Applied(object) | Change::Deleted(object) if !wanted(&object) => Trigger::Nothing,
        Change::Applied(object) | Change::Deleted(object) => object
            .labels()
            .get(labels::NETWORK_UID)
            .map_or(Trigger::Nothing, |uid| by_uid(uid.clone())),
        Change::Relisted => Trigger::All,
    }
}

/// The network that an object names, in its own namespace.
fn by_ref<K: Resource>(change: Change<K>, name: impl Fn(&K) -> &String) -> Trigger<PeerNetwork> {
    match change {
        Change::Applied(object) | Change::Deleted(object) => Trigger::Some(vec![reference(
            &object.namespace().unwrap_or_default(),
            name(&object),
        )]),
        Change::Relisted => Trigger::All,
    }
}

/// What memory holds of a network that is gone.
pub async fn forget(context: Context) {
    let mut changes = context.stores.networks.changes();
    loop {
        match changes.recv().await {
            Ok(Change::Deleted(network)) => {
                let uid = network.uid().unwrap_or_default();
                context.documents.remove(&uid);
                context.presence.remove(&uid);
                gauges::forget(
                    &context.metrics.peers,
                    &network.namespace().unwrap_or_default(),
                    &network.name_any(),
                );
            }
            Ok(Change::Applied(_) | Change::Relisted)
            | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Runs the controller and its feeds until told to stop.
pub async fn run(context: Context, stop: CancellationToken) {
    let (triggers, queue) = controller::queue();
    let feeds = Feeds::new(&stop);
    feed_all(&context, &feeds, &triggers);
    drop(triggers);
    let (watched, metrics) = (
        context.stores.networks.clone(),
        context.metrics.machinery.clone(),
    );
    let networks = Networks {
        context,
        applied: act::Applied::default(),
    };
    controller::run(networks, &watched, queue, metrics, stop.clone()).await;
}
