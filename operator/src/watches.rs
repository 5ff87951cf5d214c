//! Fills the stores from the API server and keeps them so.

use std::fmt::Debug;

use futures::{Stream, StreamExt as _};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, Namespace, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Lookup, ObjectRef, store::Writer},
        watcher,
    },
};
use peerup_crds::{Peer, names::labels};
use serde::de::DeserializeOwned;

use crate::{
    config::Config,
    context::{Change, Children, Kind, PeerIndex, Stores, Watched},
    errors,
    events::Events,
    metrics::Metrics,
    shutdown::Shutdown,
};
use complaints::Complaints;
pub(crate) use guard::Guarded;
use guard::readable;

mod complaints;
mod guard;

/// Opens all watches; they run until shutdown.
#[must_use]
pub fn start(
    client: &Client,
    config: &Config,
    shutdown: &Shutdown,
    events: &Events,
    metrics: &Metrics,
) -> Stores {
    let (complaints, telling) = Complaints::new(&metrics.machinery, events);
    shutdown.spawn_until(telling);
    let open = Opener {
        client,
        namespaces: &config.watch_namespaces,
        shutdown,
        complaints,
    };
    let ours =
        watcher::Config::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::OPERATOR));
    let children = Children::default();
    open.metadata::<StatefulSet>(&children, Kind::StatefulSet, &ours);
    open.metadata::<Service>(&children, Kind::Service, &ours);
    open.metadata::<ServiceAccount>(&children, Kind::ServiceAccount, &ours);
    open.metadata::<PodDisruptionBudget>(&children, Kind::PodDisruptionBudget, &ours);
    open.metadata::<NetworkPolicy>(&children, Kind::NetworkPolicy, &ours);
    open.metadata::<ConfigMap>(&children, Kind::ConfigMap, &ours);
    let all = watcher::Config::default();
    let index = PeerIndex::default();
    Stores {
        networks: open.namespaced(&all, forget_managers),
        codes: open.namespaced(&all, forget_managers),
        peers: open.peers(&all, index.clone()),
        index,
        pods: open.namespaced(&all, |_| {}),
        namespaces: open.global(&all, trim_namespace),
        services: open.namespaced(&ours, forget_managers),
        children,
    }
}

struct Opener<'a> {
    client: &'a Client,
    namespaces: &'a [String],
    shutdown: &'a Shutdown,
    complaints: Complaints,
}

impl Opener<'_> {
    /// One API for the whole cluster, or one for each namespace to serve.
    fn apis<K>(&self) -> Vec<Api<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        if self.namespaces.is_empty() {
            return vec![Api::all(self.client.clone())];
        }
        self.namespaces
            .iter()
            .map(|namespace| Api::namespaced(self.client.clone(), namespace))
            .collect()
    }

    fn namespaced<K>(&self, config: &watcher::Config, trim: fn(&mut K)) -> Watched<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Lookup<DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.open(self.apis(), config, trim, Watched::publish)
    }

    /// Peers; the index follows before anybody else is told.
    fn peers(&self, config: &watcher::Config, index: PeerIndex) -> Watched<Peer> {
        let tell = move |peers: &Watched<Peer>, change| {
            index.follow(peers, &change);
            peers.publish(change);
        };
        self.open(self.apis(), config, forget_managers, tell)
    }

    fn global<K>(&self, config: &watcher::Config, trim: fn(&mut K)) -> Watched<K>
    where
        K: Resource<DynamicType = ()> + Lookup<DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let apis = vec![Api::all(self.client.clone())];
        self.open(apis, config, trim, Watched::publish)
    }

    fn open<K>(
        &self,
        apis: Vec<Api<Guarded<K>>>,
        config: &watcher::Config,
        trim: fn(&mut K),
        tell: impl Fn(&Watched<K>, Change<K>) + Clone + Send + 'static,
    ) -> Watched<K>
    where
        K: Resource<DynamicType = ()> + Lookup<DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let writers: Vec<_> = apis.iter().map(|_| Writer::<K>::default()).collect();
        let watched = Watched::new(writers.iter().map(Writer::as_reader).collect());
        for (api, writer) in apis.into_iter().zip(writers) {
            let events = watcher(api, config.clone()).default_backoff();
            let store = writer.as_reader();
            let known = move |meta: &ObjectMeta| {
                let store_key = ObjectRef::new(meta.name.as_deref()?);
                let store_key = match &meta.namespace {
                    Some(namespace) => store_key.within(namespace),
                    None => store_key,
                };
                store.get(&store_key).map(|object| K::clone(&object))
            };
            let events = readable(events, known, self.complaints.of::<K>()).modify(trim);
            let events = reflector::reflector(writer, events);
            let (watched, tell) = (watched.clone(), tell.clone());
            self.shutdown
                .spawn_until(reflect(events, move |change| tell(&watched, change)));
        }
        watched
    }

    fn metadata<K>(&self, children: &Children, kind: Kind, config: &watcher::Config)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let apis = self.apis::<Guarded<PartialObjectMeta<K>>>();
        for (scope, api) in apis.into_iter().enumerate() {
            let events = watcher(api, config.clone()).default_backoff();
            let events = readable(events, |_| None, self.complaints.of::<K>());
            self.shutdown
                .spawn_until(follow(events, children.clone(), kind, scope));
        }
    }
}

/// Passes changes on to the listeners once the store has them.
async fn reflect<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
    tell: impl Fn(Change<K>),
) where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + 'static,
{
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(object)) => tell(Change::Applied(object.into())),
            Ok(watcher::Event::Delete(object)) => tell(Change::Deleted(object.into())),
            Ok(watcher::Event::InitDone) => tell(Change::Relisted),
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
            Err(error) => warn(&<K as Resource>::plural(&()), &error),
        }
    }
}

async fn follow<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<PartialObjectMeta<K>>>> + Send,
    children: Children,
    kind: Kind,
    scope: usize,
) where
    K: Resource<DynamicType = ()>,
{
    let mut events = std::pin::pin!(events);
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(object)) => children.applied(kind, scope, &object.metadata),
            Ok(watcher::Event::Delete(object)) => children.deleted(kind, &object.metadata),
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(object)) => listed.push(object.metadata),
            Ok(watcher::Event::InitDone) => {
                children.listed(kind, scope, std::mem::take(&mut listed))
            }
            Err(error) => warn(&<K as Resource>::plural(&()), &error),
        }
    }
}

/// A watch that breaks is opened again; a permission that is missing is not healed by that and is said loudly.
fn warn(kind: &str, error: &watcher::Error) {
    let text = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => errors::explain(error),
        watcher::Error::WatchError(status) if status.code == 410 => return,
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => errors::chain(error),
    };
    tracing::warn!(kind, error = text, "watching");
}

fn forget_managers<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

fn trim_namespace(namespace: &mut Namespace) {
    forget_managers(namespace);
    namespace.spec = None;
    namespace.status = None;
}
