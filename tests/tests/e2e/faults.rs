//! Relay and operator die while pods come and go.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use peerup_crds::{PairingCode, Peer, PeerType};
use peerup_tests::story::cluster::{Cluster, engine};
use peerup_tests::story::laptop::Laptop;
use peerup_tests::story::shell::quietly;
use peerup_tests::story::{CODES, HOME, NETWORK, SHOP, WEB};
use peerup_tests::wait::patiently;

use crate::world::World;

/// No pod on trial takes as long where the machine goes on.
const STOOD_STILL: Duration = Duration::from_secs(4);

pub(crate) async fn kills_in_a_rollout_lose_no_member(world: &mut World) -> Result<()> {
    let cluster = world.cluster.clone();
    let before = outsiders(world).await?;
    let revision = cluster.web_pods().await?;
    cluster
        .kubectl(&format!("rollout restart deployment/{WEB} -n {SHOP}"))?
        .ok()?;
    let codes = cluster.secret(SHOP, CODES).await?;
    let code = codes.get("code-1").context("there is no code-1")?.clone();
    let mut desktop = Laptop::join(&world.state("desktop"), &code, "desktop")?;
    kill_relay_container(world).await?;
    patiently(
        "the rollout to be under way",
        Duration::from_secs(60),
        async || {
            let now = cluster.web_pods().await?;
            let new = now
                .iter()
                .filter(|pod| !revision.iter().any(|old| old.uid() == pod.uid()));
            ensure!(new.count() > 0, "no new pod yet");
            Ok(())
        },
    )
    .await?;
    relay_pod_dies(&cluster).await?;
    let force = "--grace-period=0 --force --wait=false";
    cluster
        .kubectl(&format!(
            "delete pods -n {HOME} -l app.kubernetes.io/component=operator {force}"
        ))?
        .ok()?;
    cluster
        .kubectl(&format!(
            "rollout status deployment/{WEB} -n {SHOP} --timeout=180s"
        ))?
        .ok()?;
    cluster
        .network_ready(NETWORK, Duration::from_secs(120))
        .await?;
    replace_missed(&cluster).await?;
    cluster.pods_joined(6, Duration::from_secs(180)).await?;
    let first = desktop.joined(Duration::from_secs(60)).await.map(drop);
    drop(desktop);
    let desktop = joins_at_last(world, first, &code).await?;
    world.laptop()?.connected(Duration::from_secs(90)).await?;
    desktop.connected(Duration::from_secs(60)).await?;
    let after = outsiders(world).await?;
    ensure!(
        before.is_subset(&after),
        "before: {before:?}, after: {after:?}"
    );
    ensure!(
        after.len() == before.len() + 1,
        "before: {before:?}, after: {after:?}"
    );
    Ok(())
}

/// A rollout of the operator, and pods on trial all the while: `failurePolicy: Ignore` would let one through that meets
/// a replica which is not there any more.
pub(crate) async fn an_operator_that_is_replaced_misses_no_pod(world: &mut World) -> Result<()> {
    // A machine that stands still for as long as replicas drain lets one through that no operator could keep.
    for _ in 0..2 {
        let mut longest = Duration::ZERO;
        match misses_no_pod(&world.cluster, &mut longest).await {
            Err(error) if longest > STOOD_STILL => println!("{error:#}, {longest:?} for a pod"),
            result => return result,
        }
    }
    misses_no_pod(&world.cluster, &mut Duration::default()).await
}

/// `longest` is told how long one pod on trial took at most.
async fn misses_no_pod(cluster: &Cluster, longest: &mut Duration) -> Result<()> {
    let component = "app.kubernetes.io/component=operator";
    let former = operators(cluster, component).await?;
    cluster.injecting().await?;
    cluster
        .kubectl(&format!(
            "rollout restart deployment -n {HOME} -l {component}"
        ))?
        .ok()?;
    let (begun, mut asked) = (Instant::now(), 0);
    loop {
        asked += 1;
        let after = begun.elapsed().as_secs();
        let asks = Instant::now();
        let injects = cluster.injects().await?;
        *longest = asks.elapsed().max(*longest);
        ensure!(
            injects,
            "pod {asked} got no sidecar, {after} s after the rollout began"
        );
        let now = operators(cluster, component).await?;
        if now.is_disjoint(&former) {
            println!("{asked} pods on trial in {after} s");
            break;
        }
        ensure!(after < 120, "{former:?} are still there: {now:?}");
    }
    cluster
        .network_ready(NETWORK, Duration::from_secs(60))
        .await
        .map(drop)
}

/// The UIDs of the operator's pods, those that end among them.
async fn operators(cluster: &Cluster, selector: &str) -> Result<BTreeSet<Option<String>>> {
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), HOME);
    let found = pods.list(&ListParams::default().labels(selector)).await?;
    ensure!(!found.items.is_empty(), "there is no operator");
    Ok(found.iter().map(ResourceExt::uid).collect())
}

/// Deletes the relay's pod by force. It comes back on the same node: its NodePort answers there only, and what was
/// issued before, codes and addresses, leads there.
pub(crate) async fn relay_pod_dies(cluster: &Cluster) -> Result<()> {
    let name = format!("{NETWORK}-relay-0");
    let before = cluster.get::<Pod>(SHOP, &name).await?;
    let node = node_of(&before).context("the relay has no node")?;
    let nodes = Api::<Node>::all(cluster.client.clone())
        .list(&ListParams::default())
        .await?;
    let others: Vec<_> = nodes.iter().map(ResourceExt::name_any).collect();
    let others: Vec<_> = others.into_iter().filter(|name| *name != node).collect();
    let others = others.join(" ");
    cluster.kubectl(&format!("cordon {others}"))?.ok()?;
    let force = "--grace-period=0 --force --wait=false";
    let deleted = cluster.kubectl(&format!("delete pod {name} -n {SHOP} {force}"));
    let placed = patiently(
        "the relay to have a node again",
        Duration::from_secs(60),
        async || {
            let now = cluster.get::<Pod>(SHOP, &name).await?;
            ensure!(now.uid() != before.uid(), "it is the former one");
            node_of(&now).context("it has none")
        },
    )
    .await;
    cluster.kubectl(&format!("uncordon {others}"))?.ok()?;
    deleted?.ok()?;
    let placed = placed?;
    ensure!(placed == node, "it was on {node} and is on {placed}");
    Ok(())
}

fn node_of(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone()
}

/// Pods that were made while the only operator was away run without a sidecar, and are told so by an event; made
/// anew they get it.
async fn replace_missed(cluster: &Cluster) -> Result<()> {
    cluster.injecting().await?;
    for pod in cluster.web_pods().await? {
        if !pod.labels().contains_key("peerup.dev/injected") {
            cluster
                .kubectl(&format!(
                    "delete pod {} -n {SHOP} --wait=false",
                    pod.name_any()
                ))?
                .ok()?;
        }
    }
    Ok(())
}

/// The join that ran into the kills may have failed; the same machine may try the same
/// code again, and is the same member.
async fn joins_at_last(world: &World, first: Result<()>, code: &str) -> Result<Laptop> {
    if let Err(error) = first {
        println!("the first try failed: {error:#}");
    }
    let limit = Duration::from_secs(120);
    let (again, _) = Laptop::joins(&world.state("desktop"), code, "desktop", limit).await?;
    Ok(again)
}

/// Names and serials of the peers outside of the cluster.
async fn outsiders(world: &World) -> Result<BTreeSet<(String, String)>> {
    let peers = world.cluster.list::<Peer>(SHOP).await?;
    Ok(peers
        .into_iter()
        .filter(|peer| peer.spec.type_ == PeerType::External)
        .map(|peer| (peer.name_any(), peer.spec.serial))
        .collect())
}

/// Ends the relay's process as a crash would: its pod stays.
async fn kill_relay_container(world: &World) -> Result<()> {
    let pod = world
        .cluster
        .get::<Pod>(SHOP, &format!("{NETWORK}-relay-0"))
        .await?;
    let node = pod
        .spec
        .and_then(|spec| spec.node_name)
        .context("no node")?;
    let containers = pod.status.and_then(|status| status.container_statuses);
    let id = containers
        .and_then(|all| all.into_iter().next()?.container_id)
        .context("no container")?;
    let id = id.trim_start_matches("containerd://");
    let kill = "ctr --namespace k8s.io tasks kill --signal SIGKILL";
    let line = format!("{} exec {node} {kill} {id}", engine());
    println!("$ {line}");
    quietly(&line)?.ok().map(drop)
}

pub(crate) async fn no_code_was_used_twice(world: &mut World) -> Result<()> {
    let peers = world.cluster.list::<Peer>(SHOP).await?;
    distinct("PeerId", peers.iter().map(|peer| peer.spec.peer_id.clone()))?;
    distinct("serial", peers.iter().map(|peer| peer.spec.serial.clone()))?;
    let used = peers
        .iter()
        .filter_map(|peer| peer.spec.pairing_code_ref.as_ref());
    distinct(
        "code",
        used.map(|code| format!("{} {}", code.name, code.slot)),
    )?;
    for code in world.cluster.list::<PairingCode>(SHOP).await? {
        let name = code.name_any();
        let slots = code.status.map(|status| status.codes).unwrap_or_default();
        for slot in slots
            .iter()
            .filter_map(|slot| Some((slot.slot, slot.peer_ref.as_ref()?)))
        {
            let of = peers.iter().find(|peer| peer.name_any() == slot.1.name);
            let back = of.and_then(|peer| peer.spec.pairing_code_ref.as_ref());
            let told = back.map(|back| (back.name.clone(), back.slot));
            ensure!(
                told == Some((name.clone(), slot.0)),
                "{name} {}: {told:?}",
                slot.0
            );
        }
    }
    world
        .cluster
        .network_ready(NETWORK, Duration::from_secs(60))
        .await
        .map(drop)
}

fn distinct(what: &str, all: impl Iterator<Item = String>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for one in all {
        ensure!(seen.insert(one.clone()), "{what} {one} is there twice");
    }
    ensure!(!seen.is_empty(), "there is no {what} at all");
    Ok(())
}
