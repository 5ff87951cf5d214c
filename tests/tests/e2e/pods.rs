//! Pods become members, are graded, come and go.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use peerup_crds::Peer;
use peerup_tests::story::cluster::Cluster;
use peerup_tests::story::{NETWORK, SHOP, WEB, facts};
use peerup_tests::wait::patiently;

use crate::world::World;

/// Longest time for grades: one that went wrong is measured again after a minute, and a better one needs two.
const GRADES: Duration = Duration::from_secs(240);

pub(crate) async fn three_pods_on_two_nodes_join(world: &mut World) -> Result<()> {
    let pods = world
        .cluster
        .pods_joined(3, Duration::from_secs(120))
        .await?;
    let nodes: BTreeSet<_> = pods
        .iter()
        .filter_map(|pod| pod.spec.as_ref()?.node_name.clone())
        .collect();
    ensure!(nodes.len() == 2, "the pods run on {nodes:?}");
    Ok(())
}

pub(crate) async fn conditions_and_grade_are_told(world: &mut World) -> Result<()> {
    let cluster = &world.cluster;
    patiently("grades", GRADES, async || {
        let peers = cluster.list::<Peer>(SHOP).await?;
        for pod in cluster.web_pods().await? {
            facts::pod_says(&pod, "peerup.dev/Verified", "True", "Attested")?;
            facts::pod_says(&pod, "peerup.dev/Reachable", "True", "GradeB")?;
            is_grade_b(facts::peer_of(&pod, &peers)?)?;
        }
        Ok(())
    })
    .await
}

/// There is no NAT, and packets from the relay's other port come in: with one relay nobody can tell more.
fn is_grade_b(peer: &Peer) -> Result<()> {
    let name = peer.name_any();
    ensure!(facts::peer_condition(peer, "Verified", "True")?.reason == "Attested");
    ensure!(facts::peer_condition(peer, "Reachable", "True")?.reason == "GradeB");
    let status = peer.status.as_ref().context("no status")?;
    let grade = status.grade.context("no grade")?;
    ensure!(grade.to_string() == "B", "{name} has grade {grade}");
    ensure!(
        status.evidence == ["filtering-address-dependent", "no-nat", "one-relay"],
        "{name}: evidence {:?}",
        status.evidence
    );
    Ok(())
}

pub(crate) async fn tables_have_rows(world: &mut World) -> Result<()> {
    let cluster = &world.cluster;
    let all = patiently("the rows", GRADES, async || rows(cluster)).await?;
    println!("{all}");
    Ok(())
}

fn rows(cluster: &Cluster) -> Result<String> {
    let network = cluster.kubectl("get pnet -A --no-headers")?.ok()?;
    ensure!(network.starts_with(&format!("{SHOP}  ")), "pnet: {network}");
    ensure!(
        network.contains(NETWORK) && network.contains("True"),
        "pnet: {network}"
    );
    let codes = cluster.kubectl("get pcode -A --no-headers")?.ok()?;
    ensure!(codes.contains("colleagues"), "pcode: {codes}");
    let peers = cluster.kubectl("get peers -A --no-headers")?.ok()?;
    ensure!(peers.lines().count() == 3, "peers: {peers}");
    for word in [NETWORK, " B ", " True ", WEB] {
        ensure!(
            peers.lines().all(|line| line.contains(word)),
            "{word}: {peers}"
        );
    }
    cluster.kubectl("get pnet,pcode,peers -A")?.ok()
}

/// It is what was measured last, which may have gone wrong once.
pub(crate) async fn the_metric_shows_the_grade(world: &mut World) -> Result<()> {
    for pod in world.cluster.web_pods().await? {
        patiently("the metrics", GRADES, async || {
            shows_grade_b(&world.cluster.metrics(SHOP, &pod.name_any())?)
        })
        .await?;
    }
    Ok(())
}

fn shows_grade_b(metrics: &str) -> Result<()> {
    let mut lines = vec!["peerup_joined 1".to_owned(), "peerup_verified 1".to_owned()];
    for grade in ["A", "B", "C", "D", "F"] {
        let value = u8::from(grade == "B");
        lines.push(format!(
            "peerup_reachability_grade{{grade=\"{grade}\"}} {value}"
        ));
    }
    for line in lines {
        ensure!(
            metrics.lines().any(|is| is == line),
            "no {line} in\n{metrics}"
        );
    }
    Ok(())
}

pub(crate) async fn a_deleted_pod_takes_its_peer_along(world: &mut World) -> Result<()> {
    let cluster = &world.cluster;
    let pods = cluster.pods_joined(3, Duration::from_secs(60)).await?;
    let pod = pods.first().context("no pod")?;
    let peers = cluster.list::<Peer>(SHOP).await?;
    let peer = facts::peer_of(pod, &peers)?.name_any();
    cluster
        .kubectl(&format!(
            "delete pod {} -n {SHOP} --wait=false",
            pod.name_any()
        ))?
        .ok()?;
    patiently("the Peer to go", Duration::from_secs(60), async || {
        let left = cluster.list::<Peer>(SHOP).await?;
        ensure!(
            left.iter().all(|left| left.name_any() != peer),
            "{peer} is there"
        );
        Ok(())
    })
    .await?;
    cluster.pods_joined(3, Duration::from_secs(90)).await?;
    Ok(())
}

pub(crate) async fn twenty_pods_join_without_an_error(world: &mut World) -> Result<()> {
    scale(world, 20).await?;
    let errors = world.logs.errors()?;
    ensure!(errors.is_empty(), "errors in logs:\n{}", errors.join("\n"));
    scale(world, 6).await
}

/// Changes the number of pods and waits until exactly these have joined.
async fn scale(world: &World, count: usize) -> Result<()> {
    let cluster = &world.cluster;
    cluster
        .kubectl(&format!(
            "scale deployment/{WEB} -n {SHOP} --replicas={count}"
        ))?
        .ok()?;
    cluster
        .pods_joined(count, Duration::from_secs(240))
        .await
        .map(drop)
}
