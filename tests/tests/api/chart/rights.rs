//! The real operator with exactly the settings and rights that the chart gives it: it becomes ready, keeps a
//! network, removes it, and its cleanup leaves nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use kube::api::{Api, DeleteParams, ListParams, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use peerup_crds::{PeerNetwork, PeerNetworkSpec};
use peerup_tests::light::Light;
use peerup_tests::wait::eventually;
use serde_json::json;

use super::installed::{Installed, program};
use super::{CHART, NAMESPACE, apply, helm_in, objects};

const LIMIT: Duration = Duration::from_secs(60);
/// The garbage collector looks for new kinds of owners only now and then.
const COLLECTED: Duration = Duration::from_secs(180);

#[tokio::test]
async fn the_operator_can_do_its_work_and_leaves_nothing() -> Result<()> {
    let light = Light::start()?;
    let client = light.client().await?;
    helm_in(&light, &["install", "peerup", CHART, "--create-namespace"])?;
    let mut operator = Installed::start(&light).await?;
    network(&client).await?;
    operator.program.kill()?;
    let log = operator.program.output();
    for word in ["forbidden", "Forbidden", "denied"] {
        ensure!(!log.contains(word), "something was {word}:\n{log}");
    }
    cleanup(&light, &client).await
}

/// Makes a network, sees what the operator makes for it, and sees it go.
async fn network(client: &Client) -> Result<()> {
    let namespace = serde_json::from_value(json!({ "metadata": { "name": "shop" } }))?;
    Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await?;
    let networks = Api::<PeerNetwork>::namespaced(client.clone(), "shop");
    let network = PeerNetwork::new("crew", PeerNetworkSpec::default());
    networks.create(&PostParams::default(), &network).await?;
    eventually("the relay", LIMIT, async || {
        Api::<StatefulSet>::namespaced(client.clone(), "shop")
            .get("crew-relay")
            .await?;
        let status = networks.get("crew").await?.status.context("no status")?;
        ensure!(status.dht_namespace.is_some(), "no DHT namespace");
        Ok(())
    })
    .await?;
    networks.delete("crew", &DeleteParams::default()).await?;
    eventually("the network to be gone", COLLECTED, async || {
        ensure!(networks.get_opt("crew").await?.is_none(), "it is there");
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=peerup-operator");
        let services = Api::<Service>::namespaced(client.clone(), "shop")
            .list(&ours)
            .await?;
        ensure!(services.items.is_empty(), "Services are left");
        Ok(())
    })
    .await?;
    let keys = Api::<Secret>::namespaced(client.clone(), NAMESPACE)
        .list(&ListParams::default())
        .await?;
    let left: Vec<_> = keys
        .iter()
        .filter(|secret| secret.type_.as_deref() == Some("peerup.dev/network-key"))
        .collect();
    ensure!(
        left.is_empty(),
        "keys are left: {:?}",
        left.iter()
            .map(|secret| secret.name_any())
            .collect::<Vec<_>>()
    );
    Ok(())
}

/// Uninstalls as helm does, but runs the hook's program here: there are no nodes.
async fn cleanup(light: &Light, client: &Client) -> Result<()> {
    let secrets = Api::<Secret>::namespaced(client.clone(), NAMESPACE);
    let leases = Api::<Lease>::namespaced(client.clone(), NAMESPACE);
    secrets.get("peerup-operator-ca").await?;
    leases.get("peerup-operator").await?;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), "shop");
    let labels = json!({ "app.kubernetes.io/managed-by": "peerup-operator", "peerup.dev/network-uid": "01234567-89ab" });
    let map = serde_json::from_value(
        json!({ "metadata": { "name": "peerup-01234567", "labels": labels } }),
    )?;
    maps.create(&PostParams::default(), &map).await?;

    helm_in(light, &["uninstall", "peerup", "--no-hooks"])?;
    let parameters = PatchParams::apply("peerup-tests").force();
    for object in objects(&[])? {
        let hook = &object["metadata"]["annotations"]["helm.sh/hook"];
        if hook == "post-delete" && object["kind"] != "Job" {
            apply(client, &object, &parameters).await?;
        }
    }
    let mut cleaner = program(light, &["cleanup"], "peerup-operator-cleanup", &[])?;
    eventually("the cleanup", LIMIT, async || {
        let status = cleaner.ended()?.context("it runs")?;
        ensure!(status.success(), "{status}: {}", cleaner.output());
        Ok(())
    })
    .await?;
    ensure!(
        secrets.get_opt("peerup-operator-ca").await?.is_none(),
        "the CA is left"
    );
    ensure!(
        leases.get_opt("peerup-operator").await?.is_none(),
        "the lease is left"
    );
    ensure!(
        maps.get_opt("peerup-01234567").await?.is_none(),
        "a ConfigMap is left"
    );
    Ok(())
}
