//! What is deleted is gone, and what was installed too.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use peerup_crds::{PairingCode, Peer, PeerNetwork};
use peerup_tests::story::{HOME, NETWORK, SHOP};
use peerup_tests::wait::patiently;

use crate::snapshot::{Object, Snapshot, labelled};
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(120);

pub(crate) async fn a_deleted_network_takes_all_along(world: &mut World) -> Result<()> {
    let cluster = &world.cluster;
    let uid = cluster
        .get::<PeerNetwork>(SHOP, NETWORK)
        .await?
        .uid()
        .context("no uid")?;
    let label = format!("peerup.dev/network-uid={uid}");
    ensure!(
        labelled(&cluster.client, &label).await?.len() > 5,
        "nothing has its label"
    );
    cluster
        .kubectl(&format!("delete pnet {NETWORK} -n {SHOP} --timeout=120s"))?
        .ok()?;
    patiently("all of the network to go", LIMIT, async || {
        let left = labelled(&cluster.client, &label).await?;
        ensure!(left.is_empty(), "left: {left:?}");
        ensure!(
            cluster.list::<Peer>(SHOP).await?.is_empty(),
            "Peers are left"
        );
        ensure!(
            cluster.list::<PairingCode>(SHOP).await?.is_empty(),
            "PairingCodes are left"
        );
        for namespace in [SHOP, HOME] {
            let secrets = cluster.list::<Secret>(namespace).await?;
            let left = secrets.iter().find(|secret| {
                let kind = secret.type_.as_deref().unwrap_or_default();
                kind.starts_with("peerup.dev/") && kind != "peerup.dev/ca"
            });
            ensure!(
                left.is_none(),
                "left: {:?}",
                left.map(ResourceExt::name_any)
            );
        }
        Ok(())
    })
    .await?;
    let pods = cluster.web_pods().await?;
    let running = |phase: Option<&str>| phase == Some("Running");
    let apps = pods.iter().filter(|pod| {
        running(
            pod.status
                .as_ref()
                .and_then(|status| status.phase.as_deref()),
        )
    });
    ensure!(
        apps.count() == 6,
        "the applications do not all run any more"
    );
    Ok(())
}

pub(crate) async fn nothing_but_kinds_is_left(world: &mut World) -> Result<()> {
    let cluster = &world.cluster;
    let ours = format!("{SHOP} strays rightless");
    cluster
        .kubectl(&format!(
            "delete namespace {ours} --ignore-not-found --timeout=180s"
        ))?
        .ok()?;
    cluster
        .shell
        .run(&format!(
            "helm uninstall peerup --namespace {HOME} --wait --timeout 3m"
        ))?
        .ok()?;
    patiently("nothing but kinds to be left", LIMIT, async || {
        let now = Snapshot::take(&cluster.client).await?;
        let mut left = world.before.new_in(&now);
        left.retain(|object| !may_stay(object));
        ensure!(left.is_empty(), "left: {left:?}");
        Ok(())
    })
    .await
}

/// Kinds, and the namespace that helm has made with what Kubernetes puts into each.
fn may_stay(object: &Object) -> bool {
    match (object.kind.as_str(), object.namespace.as_deref()) {
        ("CustomResourceDefinition" | "APIService", None) => object.name.ends_with("peerup.dev"),
        ("Namespace", None) => object.name == HOME,
        ("ConfigMap", Some(HOME)) => object.name == "kube-root-ca.crt",
        ("ServiceAccount", Some(HOME)) => object.name == "default",
        (_, _) => false,
    }
}
