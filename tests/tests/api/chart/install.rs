//! The chart in a real API server: installed, upgraded and removed by helm.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use kube::{Client, ResourceExt};
use peerup_tests::light::{Light, repository};
use peerup_tests::tools::{helm, run};
use serde_json::{Value, json};

use super::{CHART, parse};

const NAMESPACE: &str = "peerup-system";

/// Runs helm against the API server.
fn helm_in(light: &Light, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(helm()?);
    command.args(arguments).args(["--namespace", NAMESPACE]);
    run(command.env("KUBECONFIG", light.kubeconfig()))
}

#[tokio::test]
async fn it_is_installed_upgraded_and_removed() -> Result<()> {
    let light = Light::start()?;
    let client = light.client().await?;
    let notes = helm_in(&light, &["install", "peerup", CHART, "--create-namespace"])?;
    ensure!(
        notes.contains("kubectl get secret colleagues -n shop -o go-template="),
        "{notes}"
    );
    peerup_tests::crds::install(&client).await?;
    examples(&client).await?;

    let webhooks = Api::<MutatingWebhookConfiguration>::all(client.clone());
    write_ca(&webhooks).await?;
    helm_in(
        &light,
        &["upgrade", "peerup", CHART, "--set", "operator.replicas=2"],
    )?;
    for webhook in webhooks
        .get("peerup-operator")
        .await?
        .webhooks
        .unwrap_or_default()
    {
        ensure!(
            webhook.client_config.ca_bundle.is_some(),
            "the upgrade took the CA of {}",
            webhook.name
        );
    }

    helm_in(&light, &["uninstall", "peerup", "--no-hooks"])?;
    let ours = ListParams::default().labels("app.kubernetes.io/part-of=peerup");
    let left = Api::<CustomResourceDefinition>::all(client.clone())
        .list(&ours)
        .await?;
    ensure!(
        left.items.len() == 3,
        "{} definitions are left",
        left.items.len()
    );
    let roles = Api::<ClusterRole>::all(client).list(&ours).await?;
    ensure!(
        roles.items.is_empty(),
        "roles are left: {:?}",
        roles
            .items
            .iter()
            .map(ResourceExt::name_any)
            .collect::<Vec<_>>()
    );
    ensure!(
        webhooks.get_opt("peerup-operator").await?.is_none(),
        "the webhook is left"
    );
    Ok(())
}

/// As the operator does it.
async fn write_ca(webhooks: &Api<MutatingWebhookConfiguration>) -> Result<()> {
    let ca = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJLVENCMGFBREFnRUNBZ1VBcTgzdkVqQUtCZ2dxaGtqT1BRUURBakFBTUI0WERUSTBNREV3TVRBd01EQXcKTUZvWERUTTBNREV3TVRBd01EQXdNRm93QURCWk1CTUdCeXFHU000OUFnRUdDQ3FHU000OUF3RUhBMElBQktOYwotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg==";
    let names = ["namespace.inject.peerup.dev", "pod.inject.peerup.dev"];
    let entries = names.map(|name| json!({ "name": name, "clientConfig": { "caBundle": ca } }));
    let patch = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "webhooks": entries,
    });
    webhooks
        .patch(
            "peerup-operator",
            &PatchParams::apply("peerup-webhook-ca"),
            &Patch::Apply(patch),
        )
        .await?;
    Ok(())
}

/// Every file of docs/examples is taken by the API server, with nothing in it that it does not know.
async fn examples(client: &Client) -> Result<()> {
    let namespace = serde_json::from_value(json!({ "metadata": { "name": "shop" } }))?;
    Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await?;
    let parameters = PatchParams {
        field_validation: Some(kube::api::ValidationDirective::Strict),
        dry_run: true,
        ..PatchParams::apply("peerup-tests").force()
    };
    let mut seen = 0;
    for file in std::fs::read_dir(repository().join("docs/examples"))? {
        let path = file?.path();
        for object in parse(&std::fs::read_to_string(&path)?)? {
            apply(client, &object, &parameters)
                .await
                .with_context(|| path.display().to_string())?;
            seen += 1;
        }
    }
    ensure!(seen >= 4, "only {seen} examples");
    Ok(())
}

async fn apply(client: &Client, object: &Value, parameters: &PatchParams) -> Result<DynamicObject> {
    let types: TypeMeta = serde_json::from_value(object.clone())?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = object["metadata"]["name"].as_str().context("no name")?;
    Ok(api.patch(name, parameters, &Patch::Apply(object)).await?)
}
