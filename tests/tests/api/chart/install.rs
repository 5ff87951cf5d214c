//! The chart in a real API server: installed, upgraded and removed by helm.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use peerup_tests::light::{Light, repository};
use peerup_tests::tools;
use serde_json::json;

use super::{CHART, MONITORING, apply, helm_in, objects, parse};

#[tokio::test]
async fn it_is_installed_upgraded_and_removed() -> Result<()> {
    let light = Light::start()?;
    let client = light.client().await?;
    monitoring(&client).await?;
    let notes = helm_in(&light, &["install", "peerup", CHART, "--create-namespace"])?;
    ensure!(
        notes.contains("kubectl get secret colleagues -n shop -o go-template="),
        "{notes}"
    );
    peerup_tests::crds::install(&client).await?;
    examples(&client).await?;
    monitors(&client).await?;

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

/// Makes the kinds of prometheus-operator known, so that the chart makes objects of them.
async fn monitoring(client: &Client) -> Result<()> {
    let parameters = PatchParams::apply("peerup-tests").force();
    let directory = tools::monitoring()?;
    for kind in MONITORING {
        let name = format!("{}s.monitoring.coreos.com", kind.to_lowercase());
        let file = format!("monitoring.coreos.com_{}s.yaml", kind.to_lowercase());
        let text = std::fs::read_to_string(directory.join(file))?;
        apply(client, &serde_saphyr::from_str(&text)?, &parameters).await?;
        peerup_tests::crds::established(client, &name).await?;
    }
    Ok(())
}

/// The monitors are there, and say nothing that their kinds don't know.
async fn monitors(client: &Client) -> Result<()> {
    let parameters = PatchParams {
        field_validation: Some(kube::api::ValidationDirective::Strict),
        dry_run: true,
        ..PatchParams::apply("peerup-tests").force()
    };
    let mut seen = 0;
    for object in objects(&[])? {
        if object["apiVersion"] == "monitoring.coreos.com/v1" {
            let applied = apply(client, &object, &parameters).await?;
            let by_helm = applied
                .managed_fields()
                .iter()
                .any(|entry| entry.manager.as_deref() == Some("helm"));
            ensure!(by_helm, "helm has not made {}", object["metadata"]["name"]);
            seen += 1;
        }
    }
    ensure!(seen == 4, "{seen} monitors");
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
