//! Fills the stores from the API server and keeps them so.

use std::fmt::Debug;

use futures::{Stream, StreamExt as _};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        core::v1::{
            ConfigMap, Container, Namespace, Pod, PodCondition, Service, ServiceAccount, Volume,
        },
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Lookup, store::Writer},
        watcher,
    },
};
use peerup_crds::names::{annotations, labels};
use serde::de::DeserializeOwned;

use crate::{
    config::Config,
    context::{Change, Children, Kind, Stores, Watched},
    errors,
    shutdown::Shutdown,
};

/// Opens all watches; they run until shutdown.
#[must_use]
pub fn start(client: &Client, config: &Config, shutdown: &Shutdown) -> Stores {
    let open = Opener {
        client,
        namespaces: &config.watch_namespaces,
        shutdown,
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
    Stores {
        networks: open.namespaced(&all, forget_managers),
        codes: open.namespaced(&all, forget_managers),
        peers: open.namespaced(&all, forget_managers),
        pods: open.namespaced(&all, trim_pod),
        namespaces: open.global(&all, trim_namespace),
        services: open.namespaced(&ours, forget_managers),
        children,
    }
}

struct Opener<'a> {
    client: &'a Client,
    namespaces: &'a [String],
    shutdown: &'a Shutdown,
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
        self.open(self.apis(), config, trim)
    }

    fn global<K>(&self, config: &watcher::Config, trim: fn(&mut K)) -> Watched<K>
    where
        K: Resource<DynamicType = ()> + Lookup<DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.open(vec![Api::all(self.client.clone())], config, trim)
    }

    fn open<K>(&self, apis: Vec<Api<K>>, config: &watcher::Config, trim: fn(&mut K)) -> Watched<K>
    where
        K: Resource<DynamicType = ()> + Lookup<DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let writers: Vec<_> = apis.iter().map(|_| Writer::<K>::default()).collect();
        let watched = Watched::new(writers.iter().map(Writer::as_reader).collect());
        for (api, writer) in apis.into_iter().zip(writers) {
            let events = watcher(api, config.clone()).default_backoff().modify(trim);
            self.shutdown.spawn_until(reflect(
                reflector::reflector(writer, events),
                watched.clone(),
            ));
        }
        watched
    }

    fn metadata<K>(&self, children: &Children, kind: Kind, config: &watcher::Config)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        for (scope, api) in self.apis::<PartialObjectMeta<K>>().into_iter().enumerate() {
            let events = watcher(api, config.clone()).default_backoff();
            self.shutdown
                .spawn_until(follow(events, children.clone(), kind, scope));
        }
    }
}

/// Passes changes on to the listeners once the store has them.
async fn reflect<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
    watched: Watched<K>,
) where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + 'static,
{
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(object)) => watched.publish(Change::Applied(object.into())),
            Ok(watcher::Event::Delete(object)) => watched.publish(Change::Deleted(object.into())),
            Ok(watcher::Event::InitDone) => watched.publish(Change::Relisted),
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

/// Keeps what decisions need: there may be ten thousands of pods.
fn trim_pod(pod: &mut Pod) {
    forget_managers(pod);
    pod.annotations_mut().retain(|key, _| {
        key.starts_with(annotations::PREFIX) || key == "kubernetes.io/config.mirror"
    });
    if let Some(spec) = pod.spec.take() {
        pod.spec = Some(k8s_openapi::api::core::v1::PodSpec {
            node_name: spec.node_name,
            service_account_name: spec.service_account_name,
            host_network: spec.host_network,
            os: spec.os,
            containers: spec.containers.into_iter().map(name_only).collect(),
            init_containers: spec
                .init_containers
                .map(|list| list.into_iter().map(name_only).collect()),
            volumes: spec
                .volumes
                .map(|list| list.into_iter().map(volume_name_only).collect()),
            ..Default::default()
        });
    }
    if let Some(status) = pod.status.take() {
        pod.status = Some(k8s_openapi::api::core::v1::PodStatus {
            phase: status.phase,
            host_ips: status.host_ips,
            pod_ip: status.pod_ip,
            conditions: status
                .conditions
                .map(|list| list.into_iter().filter(is_used).collect()),
            ..Default::default()
        });
    }
}

fn name_only(container: Container) -> Container {
    Container {
        name: container.name,
        ..Container::default()
    }
}

fn volume_name_only(volume: Volume) -> Volume {
    Volume {
        name: volume.name,
        ..Volume::default()
    }
}

fn is_used(condition: &PodCondition) -> bool {
    condition.type_ == "Ready" || condition.type_.starts_with(annotations::PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_keeps_what_decisions_need() {
        let mut pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web-0", "annotations": {"peerup.dev/name": "web", "other": "dropped"}},
            "spec": {
                "nodeName": "n1", "serviceAccountName": "web", "hostNetwork": true,
                "containers": [{"name": "app", "image": "x", "env": [{"name": "SECRET", "value": "y"}]}],
                "initContainers": [{"name": "peerup", "image": "z"}],
                "volumes": [{"name": "peerup-token", "emptyDir": {}}],
            },
            "status": {"phase": "Running", "hostIPs": [{"ip": "10.0.0.1"}], "conditions": [
                {"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"},
                {"type": "peerup.dev/Joined", "status": "True"}]},
        }))
        .unwrap();
        trim_pod(&mut pod);
        assert_eq!(
            serde_json::to_value(&pod).unwrap(),
            serde_json::json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "web-0", "annotations": {"peerup.dev/name": "web"}},
                "spec": {
                    "nodeName": "n1", "serviceAccountName": "web", "hostNetwork": true,
                    "containers": [{"name": "app"}], "initContainers": [{"name": "peerup"}],
                    "volumes": [{"name": "peerup-token"}],
                },
                "status": {"phase": "Running", "hostIPs": [{"ip": "10.0.0.1"}], "conditions": [
                    {"type": "Ready", "status": "True"}, {"type": "peerup.dev/Joined", "status": "True"}]},
            })
        );
    }
}
