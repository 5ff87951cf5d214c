//! Names of all objects in a cluster.

use std::collections::BTreeSet;

use anyhow::Result;
use kube::api::{Api, DynamicObject, ListParams};
use kube::discovery::{Discovery, verbs};
use kube::{Client, ResourceExt};

/// Kinds that Kubernetes makes and forgets by itself.
const PASSING: [&str; 8] = [
    "Event",
    "Pod",
    "Endpoints",
    "EndpointSlice",
    "ControllerRevision",
    "PodMetrics",
    "NodeMetrics",
    "IPAddress",
];

/// All objects but those that come and go by themselves.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    objects: BTreeSet<Object>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    pub(crate) kind: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

impl Snapshot {
    pub(crate) async fn take(client: &Client) -> Result<Snapshot> {
        Ok(Snapshot {
            objects: objects(client, &ListParams::default()).await?,
        })
    }

    /// What is in `later` and not in this one.
    pub(crate) fn new_in(&self, later: &Snapshot) -> Vec<Object> {
        later.objects.difference(&self.objects).cloned().collect()
    }
}

/// All objects with a label, except pods.
pub(crate) async fn labelled(client: &Client, label: &str) -> Result<BTreeSet<Object>> {
    objects(client, &ListParams::default().labels(label)).await
}

async fn objects(client: &Client, which: &ListParams) -> Result<BTreeSet<Object>> {
    let mut found = BTreeSet::new();
    for group in Discovery::new(client.clone()).run().await?.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            let passing = PASSING.contains(&resource.kind.as_str());
            if passing || !capabilities.supports_operation(verbs::LIST) {
                continue;
            }
            let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
            let list = match api.list_metadata(which).await {
                Ok(list) => list,
                // a kind that has just been removed
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 405 => {
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            found.extend(list.into_iter().map(|object| Object {
                kind: resource.kind.clone(),
                namespace: object.namespace(),
                name: object.name_any(),
            }));
        }
    }
    Ok(found)
}
