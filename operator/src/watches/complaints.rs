//! Tells of objects that cannot be read: in the log, in a metric, and to whoever looks at the object.

use std::future::Future;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use prometheus::IntCounterVec;
use tokio::sync::mpsc;

use super::guard::Unreadable;
use crate::{events::Events, metrics::MachineryMetrics};

/// Events that may wait to be published; those beyond are not: log and metric tell of all.
const WAITING: usize = 32;
/// In one word.
const REASON: &str = "Unreadable";

/// Where objects that cannot be read are told of.
#[derive(Clone)]
pub(super) struct Complaints {
    counter: IntCounterVec,
    events: mpsc::Sender<(ObjectReference, String)>,
}

impl Complaints {
    /// The second part publishes the events.
    pub(super) fn new(
        metrics: &MachineryMetrics,
        events: &Events,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, mut waiting) = mpsc::channel(WAITING);
        let complaints = Self {
            counter: metrics.unreadable.clone(),
            events: sender,
        };
        let events = events.clone();
        let telling = async move {
            while let Some((about, note)) = waiting.recv().await {
                events.warning(&about, "Read", REASON, &note).await;
            }
        };
        (complaints, telling)
    }

    /// For objects of one kind.
    pub(super) fn of<K>(&self) -> impl Fn(Unreadable) + Send + use<K>
    where
        K: Resource<DynamicType = ()>,
    {
        let complaints = self.clone();
        let counter = complaints.counter.with_label_values(&[&K::plural(&())]);
        move |object| {
            counter.inc();
            complaints.tell::<K>(object);
        }
    }

    fn tell<K: Resource<DynamicType = ()>>(&self, object: Unreadable) {
        let Unreadable { metadata, error } = object;
        tracing::warn!(
            kind = %K::plural(&()),
            namespace = metadata.namespace,
            name = metadata.name,
            error,
            "an object cannot be read and counts as not being there; correct or delete it"
        );
        let about = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            ..ObjectReference::default()
        };
        let note = format!(
            "the operator cannot read this object, and acts as if it were not there; correct or delete it: {error}"
        );
        // A full queue is no reason to wait: an event is a courtesy.
        drop(self.events.try_send((about, note)));
    }
}
