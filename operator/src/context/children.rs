//! Objects that the operator makes for networks, as the API server has them now: enough to see that somebody else
//! changed or removed one.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use peerup_crds::names::labels;
use tokio::sync::{broadcast, watch};

/// Changes that a slow listener may lag behind before it has to look at everything again.
const CHANGES: usize = 1024;

/// The kinds of objects made for a network that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The CA bundle, in every namespace with pods of the network.
    ConfigMap,
    /// The relays' account.
    ServiceAccount,
    /// The relays' Services.
    Service,
    /// Who may reach the relays.
    NetworkPolicy,
    /// How many relays may be away.
    PodDisruptionBudget,
    /// The relays.
    StatefulSet,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ConfigMap,
        Self::ServiceAccount,
        Self::Service,
        Self::NetworkPolicy,
        Self::PodDisruptionBudget,
        Self::StatefulSet,
    ];
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

#[derive(Debug, Clone)]
struct Child {
    scope: usize,
    network_uid: String,
    version: String,
}

/// All children of all networks.
#[derive(Clone)]
pub struct Children {
    known: Arc<RwLock<HashMap<ChildKey, Child>>>,
    changes: broadcast::Sender<String>,
    listed: watch::Sender<usize>,
}

impl Default for Children {
    fn default() -> Self {
        Self {
            known: Arc::default(),
            changes: broadcast::channel(CHANGES).0,
            listed: watch::Sender::new(0),
        }
    }
}

impl Children {
    /// The resourceVersion of an object, if it is there.
    #[must_use]
    pub fn version(&self, key: &ChildKey) -> Option<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(key).map(|child| child.version.clone())
    }

    /// The objects of a network.
    #[must_use]
    pub fn of(&self, network_uid: &str) -> Vec<ChildKey> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut keys: Vec<_> = known
            .iter()
            .filter(|(_, child)| child.network_uid == network_uid)
            .map(|(key, _)| key.clone())
            .collect();
        keys.sort();
        keys
    }

    /// Tells the UID of a network when one of its objects changes.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<String> {
        self.changes.subscribe()
    }

    /// Waits until every kind has been listed once in each of so many scopes.
    pub async fn ready(&self, scopes: usize) {
        let mut listed = self.listed.subscribe();
        // The sender lives in self, so this cannot fail.
        drop(
            listed
                .wait_for(|listed| *listed >= Kind::ALL.len() * scopes)
                .await,
        );
    }

    pub(crate) fn applied(&self, kind: Kind, scope: usize, meta: &ObjectMeta) {
        let Some((key, child)) = read(kind, scope, meta) else {
            return;
        };
        let network_uid = child.network_uid.clone();
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, child);
        drop(self.changes.send(network_uid));
    }

    pub(crate) fn deleted(&self, kind: Kind, meta: &ObjectMeta) {
        let Some((key, child)) = read(kind, 0, meta) else {
            return;
        };
        self.known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
        drop(self.changes.send(child.network_uid));
    }

    pub(crate) fn listed(&self, kind: Kind, scope: usize, all: Vec<ObjectMeta>) {
        let mut networks: Vec<String> = Vec::new();
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.retain(|key, child| {
                let goes = key.kind == kind && child.scope == scope;
                if goes {
                    networks.push(child.network_uid.clone());
                }
                !goes
            });
            for (key, child) in all.iter().filter_map(|meta| read(kind, scope, meta)) {
                networks.push(child.network_uid.clone());
                known.insert(key, child);
            }
        }
        networks.sort();
        networks.dedup();
        for network in networks {
            drop(self.changes.send(network));
        }
        self.listed.send_modify(|listed| *listed += 1);
    }
}

fn read(kind: Kind, scope: usize, meta: &ObjectMeta) -> Option<(ChildKey, Child)> {
    let network_uid = meta.labels.as_ref()?.get(labels::NETWORK_UID)?.clone();
    let key = ChildKey {
        kind,
        namespace: meta.namespace.clone()?,
        name: meta.name.clone()?,
    };
    Some((
        key,
        Child {
            scope,
            network_uid,
            version: meta.resource_version.clone()?,
        },
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn meta(name: &str, version: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("shop".to_owned()),
            resource_version: Some(version.to_owned()),
            labels: Some(BTreeMap::from([(
                labels::NETWORK_UID.to_owned(),
                "uid".to_owned(),
            )])),
            ..ObjectMeta::default()
        }
    }

    fn key(kind: Kind, name: &str) -> ChildKey {
        ChildKey {
            kind,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_new_list_replaces_what_was_known_of_its_kind_and_scope() {
        let children = Children::default();
        children.applied(Kind::Service, 0, &meta("a", "1"));
        children.applied(Kind::Service, 1, &meta("b", "1"));
        children.applied(Kind::ConfigMap, 0, &meta("c", "1"));
        let mut changes = children.changes();
        children.listed(Kind::Service, 0, vec![meta("d", "7")]);
        let left = [
            key(Kind::ConfigMap, "c"),
            key(Kind::Service, "b"),
            key(Kind::Service, "d"),
        ];
        assert_eq!(children.of("uid"), left);
        assert_eq!(children.version(&left[2]).as_deref(), Some("7"));
        assert_eq!(changes.try_recv().unwrap(), "uid");
        children.deleted(Kind::Service, &meta("d", "8"));
        assert_eq!(children.version(&left[2]), None);
    }
}
