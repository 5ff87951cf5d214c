//! The `caBundle` of our MutatingWebhookConfiguration: read, compared, and written by server-side apply
//! on exactly that field, so that whoever installs the rest does not fight with us.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use peerup_crds::names::managers;
use serde_json::{Value, json};

/// Whether every webhook of the configuration already believes `authority`.
pub(super) fn believes(configuration: &MutatingWebhookConfiguration, authority: &str) -> bool {
    let bundles: Vec<_> = bundles(configuration).map(|(_, bundle)| bundle).collect();
    !bundles.is_empty() && bundles.iter().all(|bundle| contains(bundle, authority))
}

/// What to apply so that every webhook believes `bundle`; `None` when all do.
pub(super) fn repair(configuration: &MutatingWebhookConfiguration, bundle: &str) -> Option<Value> {
    let drifted = bundles(configuration).any(|(_, found)| found != bundle.as_bytes());
    let encoded = k8s_openapi::ByteString(bundle.as_bytes().to_vec());
    let webhooks: Vec<_> = bundles(configuration)
        .map(|(name, _)| json!({"name": name, "clientConfig": {"caBundle": encoded}}))
        .collect();
    drifted.then(|| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": configuration.metadata.name},
            "webhooks": webhooks,
        })
    })
}

/// Writes what [`repair`] says.
pub(super) async fn apply(
    api: &Api<MutatingWebhookConfiguration>,
    name: &str,
    change: &Value,
) -> kube::Result<()> {
    api.patch(
        name,
        &PatchParams::apply(managers::WEBHOOK_CA).force(),
        &Patch::Apply(change),
    )
    .await
    .map(drop)
}

fn bundles(configuration: &MutatingWebhookConfiguration) -> impl Iterator<Item = (&str, &[u8])> {
    let webhooks = configuration.webhooks.iter().flatten();
    webhooks.map(|webhook| {
        let bundle = webhook.client_config.ca_bundle.as_ref();
        (
            webhook.name.as_str(),
            bundle.map_or(&[][..], |bytes| &bytes.0),
        )
    })
}

fn contains(bundle: &[u8], authority: &str) -> bool {
    String::from_utf8_lossy(bundle).contains(authority.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(bundles: &[Option<&str>]) -> MutatingWebhookConfiguration {
        let webhooks: Vec<_> = bundles
            .iter()
            .enumerate()
            .map(|(number, bundle)| {
                let bundle = bundle.map(|text| k8s_openapi::ByteString(text.as_bytes().to_vec()));
                json!({"name": format!("w{number}.peerup.dev"), "clientConfig": {"caBundle": bundle}, "sideEffects": "None", "admissionReviewVersions": ["v1"]})
            })
            .collect();
        serde_json::from_value(json!({"metadata": {"name": "ours"}, "webhooks": webhooks})).unwrap()
    }

    #[test]
    fn exactly_the_bundles_are_applied_and_only_when_one_differs() {
        assert_eq!(
            repair(&configuration(&[Some("a\n"), Some("a\n")]), "a\n"),
            None
        );
        assert_eq!(repair(&configuration(&[]), "a\n"), None);
        assert_eq!(
            repair(&configuration(&[Some("a\n"), None]), "a\n"),
            Some(json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": "ours"},
                "webhooks": [
                    {"name": "w0.peerup.dev", "clientConfig": {"caBundle": "YQo="}},
                    {"name": "w1.peerup.dev", "clientConfig": {"caBundle": "YQo="}},
                ],
            }))
        );
    }

    #[test]
    fn believed_is_what_stands_in_every_bundle() {
        assert!(believes(
            &configuration(&[Some("old\nnew\n"), Some("new\n")]),
            "new\n"
        ));
        assert!(!believes(
            &configuration(&[Some("new\n"), Some("old\n")]),
            "new\n"
        ));
        assert!(!believes(&configuration(&[Some("new\n"), None]), "new\n"));
        assert!(!believes(&configuration(&[]), "new\n"));
    }
}
