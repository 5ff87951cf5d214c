//! What the operator knows of the cluster: reflector stores, and a word whenever something in them changes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::{
    Resource,
    runtime::reflector::{Lookup, ObjectRef, Store},
};
use peerup_crds::{PairingCode, Peer, PeerNetwork};
use tokio::sync::{OnceCell, broadcast};

use super::{Children, PeerIndex};
use crate::pods::Pod;

/// Changes that a slow listener may lag behind before it has to look at everything again.
const CHANGES: usize = 4096;

/// Something that happened to a kind of object.
#[derive(Debug)]
pub enum Change<K> {
    /// It is new or different.
    Applied(Arc<K>),
    /// It is gone.
    Deleted(Arc<K>),
    /// All were listed anew; some may have changed or gone meanwhile.
    Relisted,
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Applied(object) => Self::Applied(object.clone()),
            Self::Deleted(object) => Self::Deleted(object.clone()),
            Self::Relisted => Self::Relisted,
        }
    }
}

/// One kind of object in all namespaces that are watched: a store each, or one for the whole cluster.
pub struct Watched<K: Lookup + Clone + 'static>
where
    K::DynamicType: std::hash::Hash + Eq,
{
    scopes: Arc<Vec<Store<K>>>,
    listed: Arc<OnceCell<()>>,
    changes: broadcast::Sender<Change<K>>,
}

impl<K: Lookup + Clone + 'static> Clone for Watched<K>
where
    K::DynamicType: std::hash::Hash + Eq,
{
    fn clone(&self) -> Self {
        Self {
            scopes: self.scopes.clone(),
            listed: self.listed.clone(),
            changes: self.changes.clone(),
        }
    }
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + 'static,
{
    /// Puts stores together; whoever fills them calls [`Watched::publish`].
    #[must_use]
    pub fn new(scopes: Vec<Store<K>>) -> Self {
        Self {
            scopes: Arc::new(scopes),
            listed: Arc::default(),
            changes: broadcast::channel(CHANGES).0,
        }
    }

    /// A namespaced object.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = ObjectRef::new(name).within(namespace);
        self.scopes.iter().find_map(|store| store.get(&key))
    }

    /// An object without namespace.
    #[must_use]
    pub fn get_global(&self, name: &str) -> Option<Arc<K>> {
        let key = ObjectRef::new(name);
        self.scopes.iter().find_map(|store| store.get(&key))
    }

    /// All of them.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<K>> {
        self.scopes.iter().flat_map(Store::state).collect()
    }

    /// Those of one namespace.
    #[must_use]
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.list_where(namespace, |_| true)
    }

    /// Those of one namespace that are wanted. Nothing can be stored meanwhile, so `wanted` must be quick.
    #[must_use]
    pub fn list_where(&self, namespace: &str, wanted: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let all =
            |object: &K| object.meta().namespace.as_deref() == Some(namespace) && wanted(object);
        self.scopes
            .iter()
            .flat_map(|store| store.state_filter(all))
            .collect()
    }

    /// Tells of changes from now on. A listener that lags must look at everything again.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change<K>> {
        self.changes.subscribe()
    }

    /// The stores, one for each namespace that is watched.
    #[must_use]
    pub fn scopes(&self) -> &[Store<K>] {
        &self.scopes
    }

    /// Tells the listeners; that there is none is fine.
    pub fn publish(&self, change: Change<K>) {
        drop(self.changes.send(change));
    }

    /// Waits until all have been listed once.
    pub async fn ready(&self) {
        // Of several that wait for a store only the last is woken: so one waits for it, the others for that one.
        let listed = self.listed.get_or_init(|| async {
            for store in self.scopes.iter() {
                // A dropped writer means that the program is ending.
                drop(store.wait_until_ready().await);
            }
        });
        listed.await;
    }
}

/// The stores that the operator decides from. Of pods and namespaces they hold what is used.
#[derive(Clone)]
pub struct Stores {
    /// PeerNetworks.
    pub networks: Watched<PeerNetwork>,
    /// PairingCodes.
    pub codes: Watched<PairingCode>,
    /// Peers.
    pub peers: Watched<Peer>,
    /// Where to look for one of them.
    pub index: PeerIndex,
    /// Pods.
    pub pods: Watched<Pod>,
    /// Namespaces: metadata.
    pub namespaces: Watched<Namespace>,
    /// Services of ours.
    pub services: Watched<Service>,
    /// All that the operator makes for networks.
    pub children: Children,
}

impl Stores {
    /// Waits until everything has been listed once.
    pub async fn ready(&self) {
        self.networks.ready().await;
        self.codes.ready().await;
        self.peers.ready().await;
        self.pods.ready().await;
        self.namespaces.ready().await;
        self.services.ready().await;
        self.children.ready(self.services.scopes().len()).await;
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector::store::Writer, watcher::Event};

    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_is_woken() {
        let mut writer = Writer::<Namespace>::default();
        let watched = Watched::new(vec![writer.as_reader()]);
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                tokio::spawn({
                    let watched = watched.clone();
                    async move { watched.ready().await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        for one in waiting {
            tokio::time::timeout(std::time::Duration::from_secs(5), one)
                .await
                .unwrap()
                .unwrap();
        }
    }
}
