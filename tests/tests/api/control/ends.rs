//! What is left when networks and operators go: nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Resource, ResourceExt};
use peerup_crds::{PairingCode, Peer, PeerNetwork, names};
use peerup_tests::light::Light;
use peerup_tests::programs::Program;
use peerup_tests::wait::eventually;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::world::{SOON, World, gone};

/// The garbage collector looks for new kinds every 30 s, and again after pauses that grow.
const COLLECTED: Duration = Duration::from_secs(180);

/// Waits until no object of ours is left of a kind.
async fn none_left<K>(world: &World) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=peerup-operator");
    for namespace in [&world.namespace, &world.other] {
        let api = Api::<K>::namespaced(world.client.clone(), namespace);
        eventually(
            &format!("no {} to be left", K::plural(&())),
            COLLECTED,
            async || {
                let left: Vec<_> = api
                    .list(&ours)
                    .await?
                    .iter()
                    .map(ResourceExt::name_any)
                    .collect();
                ensure!(left.is_empty(), "{left:?}");
                Ok(())
            },
        )
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_network_leaves_nothing() -> Result<()> {
    let world = World::new("end").await?;
    let advertised = json!([{"ordinal": 0, "addresses": ["/ip4/192.0.2.1/tcp/4001"]}]);
    let network = world
        .network(
            "main",
            json!({"relay": {"managed": {"advertiseAddresses": advertised}}}),
        )
        .await?;
    world
        .code("team", json!({"networkRef": {"name": "main"}}))
        .await?;
    world.code_says("team", "Delivered", "Written").await?;
    let peer = json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "Peer",
        "metadata": {"name": "main.laptop", "finalizers": ["peerup.dev/relay-revoke"]},
        "spec": {"networkRef": {"name": "main"}, "peerID": "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
                 "serial": "0000000000000005", "type": "External", "method": "Code", "displayName": "laptop",
                 "pairingCodeRef": {"name": "team", "slot": 0}},
    });
    world
        .api::<Peer>()
        .create(&PostParams::default(), &serde_json::from_value(peer)?)
        .await?;

    world
        .api::<PeerNetwork>()
        .delete("main", &DeleteParams::default())
        .await?;
    gone(&world.api::<PeerNetwork>(), "main").await?;
    gone(&world.api::<Peer>(), "main.laptop").await?;
    gone(&world.api::<PairingCode>(), "team").await?;
    gone(
        &world.at_home::<Secret>(),
        &names::network_key(&network.uid().context("uid")?),
    )
    .await?;
    none_left::<StatefulSet>(&world).await?;
    none_left::<Service>(&world).await?;
    none_left::<ServiceAccount>(&world).await?;
    none_left::<NetworkPolicy>(&world).await?;
    none_left::<PodDisruptionBudget>(&world).await?;
    none_left::<ConfigMap>(&world).await?;
    none_left::<Secret>(&world).await
}

#[tokio::test]
async fn a_retained_key_stays() -> Result<()> {
    let world = World::new("retain").await?;
    let network = world
        .network("main", json!({"deletionPolicy": "Retain"}))
        .await?;
    world.network_says("main", "Ready", "NoRelayReady").await?;
    world
        .api::<PeerNetwork>()
        .delete("main", &DeleteParams::default())
        .await?;
    gone(&world.api::<PeerNetwork>(), "main").await?;
    world
        .at_home::<Secret>()
        .get(&names::network_key(&network.uid().context("uid")?))
        .await?;
    Ok(())
}

/// A ConfigMap of somebody else with the operator's labels.
fn labelled(name: &str, network: &PeerNetwork) -> Result<ConfigMap> {
    let labels = json!({
        "app.kubernetes.io/managed-by": "peerup-operator", "peerup.dev/network-uid": network.uid(),
    });
    let object = json!({"metadata": {"name": name, "labels": labels}});
    Ok(serde_json::from_value(object)?)
}

#[tokio::test]
async fn cleanup_removes_what_is_the_operators_and_names_what_is_left() -> Result<()> {
    let mut world = World::new("cleanup").await?;
    let network = world.network("main", json!({})).await?;
    world.network_says("main", "Ready", "NoRelayReady").await?;
    let bundle = names::ca_config_map(&network.uid().context("uid")?);
    world.has::<ConfigMap>(&bundle).await?;
    world.operator.program.kill()?;
    let config_maps = world.api::<ConfigMap>();
    let alike = labelled("notes", &network)?;
    config_maps.create(&PostParams::default(), &alike).await?;

    let light = Light::shared()?.kubeconfig();
    let serves = world.home.serves.join(",");
    let environment = [
        ("KUBECONFIG", light.to_str().context("path")?),
        ("POD_NAMESPACE", world.home.namespace.as_str()),
        ("PEERUP_WATCH_NAMESPACES", serves.as_str()),
    ];
    let mut cleanup = Program::start("peerup-operator", &["cleanup"], &environment)?;
    let status = eventually("cleanup to end", SOON, async || {
        cleanup.ended()?.context("it runs")
    })
    .await?;
    let output = cleanup.output();
    ensure!(
        status.success() && output.contains(&format!("{}/main", world.namespace)),
        "{status}: {output}"
    );
    ensure!(
        world
            .at_home::<Lease>()
            .get_opt("peerup-operator")
            .await?
            .is_none()
    );
    ensure!(
        world
            .at_home::<Secret>()
            .get_opt("peerup-operator-ca")
            .await?
            .is_none()
    );
    ensure!(config_maps.get_opt(&bundle).await?.is_none());
    config_maps.get("notes").await.context("it is not ours")?;
    ensure!(
        world
            .api::<StatefulSet>()
            .get_opt("main-relay")
            .await?
            .is_some(),
        "relays are left"
    );
    world
        .at_home::<Secret>()
        .get(&names::network_key(&network.uid().context("uid")?))
        .await?;
    Ok(())
}
