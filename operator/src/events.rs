//! Events on objects: what a person sees in `kubectl describe`.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

/// Publishes events; the same one again within minutes only raises its count.
#[derive(Clone)]
pub struct Events(Recorder);

impl Events {
    /// Events by this replica of the operator.
    #[must_use]
    pub fn new(client: Client, pod_name: &str) -> Self {
        let reporter = Reporter {
            controller: "peerup-operator".into(),
            instance: Some(pod_name.to_owned()),
        };
        Self(Recorder::new(client, reporter))
    }

    /// Something went as it should. `action` and `reason` are single words, `note` is a sentence without secrets.
    pub async fn normal(&self, about: &ObjectReference, action: &str, reason: &str, note: &str) {
        self.publish(EventType::Normal, about, action, reason, note)
            .await;
    }

    /// Something did not go as it should.
    pub async fn warning(&self, about: &ObjectReference, action: &str, reason: &str, note: &str) {
        self.publish(EventType::Warning, about, action, reason, note)
            .await;
    }

    async fn publish(
        &self,
        type_: EventType,
        about: &ObjectReference,
        action: &str,
        reason: &str,
        note: &str,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.chars().take(1024).collect()),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.0.publish(&event, about).await {
            // An event is a courtesy: nothing depends on it.
            tracing::debug!(
                reason,
                error = crate::errors::explain(&error),
                "event not published"
            );
        }
    }
}
