//! From a PeerNetwork to its objects, its addresses, its conditions.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use peerup_crds::{PeerNetwork, names};
use peerup_tests::wait::{eventually, steadily};
use serde_json::{Value, json};

use super::world::{SOON, World, says};

/// A namespace asks for sidecars of the network.
pub(super) async fn opt_in(world: &World, namespace: &str) -> Result<()> {
    let labels = json!({"metadata": {
        "labels": {"peerup.dev/inject": "enabled"},
        "annotations": {"peerup.dev/network": format!("{}/main", world.namespace)},
    }});
    let namespaces = Api::<Namespace>::all(world.client.clone());
    namespaces
        .patch(namespace, &PatchParams::default(), &Patch::Merge(labels))
        .await?;
    Ok(())
}

/// Both namespaces hold the certificates of the operator.
async fn bundles(world: &World, uid: &str) -> Result<()> {
    for namespace in [&world.namespace, &world.other] {
        let bundle = Api::<ConfigMap>::namespaced(world.client.clone(), namespace);
        let bundle = eventually("the CA bundle", SOON, async || {
            Ok(bundle.get(&names::ca_config_map(uid)).await?)
        })
        .await?;
        ensure!(bundle.data.context("data")?["ca.crt"].contains("BEGIN CERTIFICATE"));
    }

    Ok(())
}

#[tokio::test]
async fn a_network_gets_its_objects() -> Result<()> {
    let world = World::new("network").await?;
    opt_in(&world, &world.other).await?;
    let managed = json!({"replicas": 2, "service": {"type": "NodePort"}});
    world
        .network(
            "main",
            json!({"relay": {"managed": managed}, "allowedNamespaces": {"from": "All"}}),
        )
        .await?;
    let network = world.network_says("main", "Ready", "NoRelayReady").await?;
    let uid = network.uid().context("uid")?;

    let set = world.has::<StatefulSet>("main-relay").await?;
    let spec = set.spec.context("spec")?;
    ensure!((spec.replicas, spec.service_name.as_deref()) == (Some(2), Some("main-relays")));
    let headless = world
        .has::<Service>("main-relays")
        .await?
        .spec
        .context("spec")?;
    ensure!(
        headless.cluster_ip.as_deref() == Some("None")
            && headless.publish_not_ready_addresses == Some(true)
    );
    for ordinal in [0, 1] {
        let service = world
            .has::<Service>(&names::relay_replica("main", ordinal))
            .await?
            .spec
            .context("spec")?;
        ensure!(service.external_traffic_policy.as_deref() == Some("Local"));
        ensure!(
            service
                .ports
                .context("ports")?
                .iter()
                .all(|port| port.node_port.is_some())
        );
    }
    world.has::<ServiceAccount>("main-relay").await?;
    world.has::<PodDisruptionBudget>("main-relay").await?;
    world.has::<NetworkPolicy>("main-relay").await?;
    let keys = world.has::<Secret>("main-relay-keys").await?;
    ensure!(
        keys.data.context("data")?.len() == 9
            && keys.type_.as_deref() == Some(names::secrets::RELAY_KEYS_TYPE)
    );
    let own = world
        .at_home::<Secret>()
        .get(&names::network_key(&uid))
        .await?;
    ensure!(own.data.context("data")?["seed"].0.len() == 32);
    bundles(&world, &uid).await
}

#[tokio::test]
async fn a_network_says_when_it_runs_and_where() -> Result<()> {
    let world = World::new("running").await?;
    let managed = json!({"replicas": 2, "service": {"type": "NodePort"}});
    world
        .network("main", json!({"relay": {"managed": managed}}))
        .await?;
    world.relay_runs("main-relay-1", "10.1.2.3").await?;
    let network = world.network_says("main", "Ready", "Running").await?;
    let status = network.status.context("status")?;
    ensure!(
        status.protocol
            == status
                .dht_namespace
                .as_ref()
                .map(|namespace| format!("/peerup/{namespace}/kad/1.0.0"))
    );
    ensure!(status.relays.len() == 2 && status.relays[0].addresses.len() == 4);
    let port = world
        .api::<Service>()
        .get("main-relay-1")
        .await?
        .spec
        .and_then(|spec| spec.ports)
        .context("ports")?;
    let port = port
        .iter()
        .find(|port| port.name.as_deref() == Some("tcp"))
        .and_then(|port| port.node_port);
    let address = format!("/ip4/10.1.2.3/tcp/{}", port.context("node port")?);
    ensure!(
        status.relays[1].addresses.contains(&address),
        "{:?}",
        status.relays[1]
    );
    says(&status.conditions, "RelayAvailable", "Available")?;
    let events = world.api::<Event>();
    eventually("an event that says so", SOON, async || {
        let events = events.list(&ListParams::default()).await?;
        ensure!(
            events
                .iter()
                .any(|event| event.reason.as_deref() == Some("Running"))
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn drift_is_repaired() -> Result<()> {
    let world = World::new("drift").await?;
    world.network("main", json!({})).await?;
    world.has::<StatefulSet>("main-relay").await?;
    let network = world.network_says("main", "Ready", "NoRelayReady").await?;
    let bundle = names::ca_config_map(&network.uid().context("uid")?);

    world
        .api::<Service>()
        .delete("main-relay-0", &DeleteParams::default())
        .await?;
    world
        .api::<NetworkPolicy>()
        .delete("main-relay", &DeleteParams::default())
        .await?;
    let change = |patch: Value| Patch::Merge(patch);
    let how = PatchParams::default();
    world
        .api::<StatefulSet>()
        .patch(
            "main-relay",
            &how,
            &change(json!({"spec": {"replicas": 0}})),
        )
        .await?;
    world
        .api::<ConfigMap>()
        .patch(
            &bundle,
            &how,
            &change(json!({"data": {"ca.crt": "forged"}})),
        )
        .await?;
    eventually("everything to be as it was", SOON, async || {
        world.api::<Service>().get("main-relay-0").await?;
        world.api::<NetworkPolicy>().get("main-relay").await?;
        let set = world.api::<StatefulSet>().get("main-relay").await?;
        ensure!(set.spec.and_then(|spec| spec.replicas) == Some(1));
        let data = world
            .api::<ConfigMap>()
            .get(&bundle)
            .await?
            .data
            .context("data")?;
        ensure!(data["ca.crt"].contains("BEGIN CERTIFICATE"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn relays_come_and_go() -> Result<()> {
    let world = World::new("scale").await?;
    world.network("main", json!({})).await?;
    let how = PatchParams::default();
    let replicas =
        |count: u8| Patch::Merge(json!({"spec": {"relay": {"managed": {"replicas": count}}}}));
    world
        .api::<PeerNetwork>()
        .patch("main", &how, &replicas(2))
        .await?;
    world.has::<Service>("main-relay-1").await?;
    world
        .api::<PeerNetwork>()
        .patch("main", &how, &replicas(1))
        .await?;
    super::world::gone(&world.api::<Service>(), "main-relay-1").await
}

#[tokio::test]
async fn a_quiet_network_writes_nothing() -> Result<()> {
    let world = World::new("quiet").await?;
    world.network("main", json!({})).await?;
    world.has::<StatefulSet>("main-relay").await?;
    world.relay_runs("main-relay-0", "10.1.2.3").await?;
    let network = world.network_says("main", "Ready", "Running").await?;
    let before = network.resource_version();
    let set = world.api::<StatefulSet>().get("main-relay").await?;
    steadily("peace", std::time::Duration::from_secs(4), async || {
        ensure!(
            world
                .api::<PeerNetwork>()
                .get("main")
                .await?
                .resource_version()
                == before
        );
        ensure!(
            world
                .api::<StatefulSet>()
                .get("main-relay")
                .await?
                .metadata
                .generation
                == set.metadata.generation
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_load_balancer_gives_outside_addresses() -> Result<()> {
    let world = World::new("balancer").await?;
    world
        .network(
            "main",
            json!({"relay": {"managed": {"service": {"type": "LoadBalancer", "port": 443}}}}),
        )
        .await?;
    world.has::<Service>("main-relay-0").await?;
    world.relay_runs("main-relay-0", "10.1.2.3").await?;
    world
        .network_says("main", "RelayAvailable", "NoOutsideAddress")
        .await?;
    let ingress = json!({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}});
    world
        .api::<Service>()
        .patch_status(
            "main-relay-0",
            &PatchParams::default(),
            &Patch::Merge(ingress),
        )
        .await?;
    let network = world
        .network_says("main", "RelayAvailable", "Available")
        .await?;
    let addresses = network.status.context("status")?.relays[0]
        .addresses
        .clone();
    let expected = ["udp/443/quic-v1", "tcp/443", "udp/3478", "udp/3479"]
        .map(|end| format!("/ip4/203.0.113.9/{end}"));
    ensure!(addresses[4..] == expected, "{addresses:?}");
    Ok(())
}

#[tokio::test]
async fn of_two_networks_with_one_name_the_younger_waits() -> Result<()> {
    let world = World::new("names").await?;
    // Their ages are told in seconds, and between twins the UID decides.
    let first = world
        .network("first", json!({"dhtNamespace": "shared"}))
        .await?;
    eventually("a second to pass", SOON, async || {
        let probe = world.at_home::<ConfigMap>();
        let object = serde_json::from_value(json!({"metadata": {"generateName": "clock-"}}))?;
        let now = probe
            .create(&kube::api::PostParams::default(), &object)
            .await?
            .creation_timestamp();
        ensure!(now > first.creation_timestamp(), "the same second");
        Ok(())
    })
    .await?;
    world
        .network("second", json!({"dhtNamespace": "shared"}))
        .await?;
    let second = world
        .network_says("second", "Ready", "NamespaceTaken")
        .await?;
    let conditions = second.status.context("status")?.conditions;
    ensure!(
        conditions[0]
            .message
            .contains(&format!("{}/first", world.namespace)),
        "{}",
        conditions[0].message
    );
    ensure!(
        world
            .api::<StatefulSet>()
            .get_opt("second-relay")
            .await?
            .is_none()
    );
    world.network_says("first", "Ready", "NoRelayReady").await?;
    world
        .api::<PeerNetwork>()
        .delete("first", &DeleteParams::default())
        .await?;
    world
        .network_says("second", "Ready", "NoRelayReady")
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_lost_key_is_told_and_never_made_anew() -> Result<()> {
    let world = World::new("key").await?;
    world.network("main", json!({})).await?;
    let network = world.network_says("main", "Ready", "NoRelayReady").await?;
    let name = names::network_key(&network.uid().context("uid")?);
    let secrets = world.at_home::<Secret>();
    let mut backup = secrets.get(&name).await?;
    secrets.delete(&name, &DeleteParams::default()).await?;
    world
        .network_says("main", "Ready", "NetworkKeyLost")
        .await?;
    steadily(
        "no new key",
        std::time::Duration::from_secs(2),
        async || {
            ensure!(secrets.get_opt(&name).await?.is_none());
            Ok(())
        },
    )
    .await?;
    backup.metadata.resource_version = None;
    backup.metadata.uid = None;
    secrets
        .create(&kube::api::PostParams::default(), &backup)
        .await?;
    let back = world.network_says("main", "Ready", "NoRelayReady").await?;
    let id = |network: &PeerNetwork| {
        network
            .status
            .as_ref()
            .and_then(|status| status.network_id.clone())
    };
    ensure!(id(&back) == id(&network));
    Ok(())
}
