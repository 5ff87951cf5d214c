//! A pod whose network gets worse and better again: grade, conditions, counts, metrics and alerts say the same.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use peerup_crds::{Peer, PeerNetwork};
use peerup_tests::story::cluster::engine;
use peerup_tests::story::{HOME, NETWORK, SHOP, facts};
use peerup_tests::wait::patiently;
use serde_json::{Value, json};

use crate::prometheus::Prometheus;
use crate::world::World;

/// Longest time for a grade to be measured, reported, stabilised and written.
const LIMIT: Duration = Duration::from_secs(240);
/// Alerts about pods, not about laptops that were closed.
const PODS: [(&str, &str); 2] = [("network", NETWORK), ("type", "Pod")];

pub(crate) async fn a_prometheus_watches(world: &mut World) -> Result<()> {
    periods(world, quick()).await?;
    let directory = world.directory().join("prometheus");
    let prometheus = Prometheus::start(&world.cluster, &directory).await?;
    let pod = away_from_the_relay(world).await?;
    world.prometheus = Some(prometheus);
    world.watched = Some(pod.name_any());
    agree(world, "B", ("True", "GradeB")).await?;
    world.prometheus()?.resolves("PeerupGradeD", &[]).await?;
    world
        .prometheus()?
        .resolves("PeerupPeerOffline", &PODS)
        .await
}

pub(crate) async fn without_udp_it_is_d(world: &mut World) -> Result<()> {
    // Names are asked for over UDP, too.
    cut(world, &rules("udp dport != 53 drop")).await?;
    agree(world, "D", ("True", "GradeD")).await?;
    // A measurement that was under way has seen a part of it.
    patiently("what speaks for D", LIMIT, async || {
        let status = status(world).await?;
        ensure!(status["evidence"] == json!(["udp-blocked"]), "{status}");
        Ok(())
    })
    .await?;
    world.prometheus()?.fires("PeerupGradeD", &PODS[..1]).await
}

pub(crate) async fn without_a_way_out_the_operator_says_f(world: &mut World) -> Result<()> {
    // Answers to Prometheus and the kubelet still leave.
    cut(world, &rules("tcp sport 9465 accept; drop")).await?;
    agree(world, "F", ("False", "GradeF")).await?;
    world.prometheus()?.fires("PeerupPeerOffline", &PODS).await
}

pub(crate) async fn with_its_network_back_it_is_b(world: &mut World) -> Result<()> {
    // At first the relay can be connected through the nodes' ports only, where another address of the pod is seen.
    let inside = "meta l4proto {tcp, udp} th dport 4001 drop";
    cut(world, &rules(inside)).await?;
    patiently("the relay connected from outside", LIMIT, async || {
        let pod = world.watched.as_ref().context("no pod was chosen")?;
        let metrics = world.cluster.metrics(SHOP, pod)?;
        let line = "peerup_relay_connected{relay=\"0\"} 1";
        ensure!(metrics.lines().any(|is| is == line), "no {line}");
        Ok(())
    })
    .await?;
    cut(world, "delete table inet cut\n").await?;
    agree(world, "B", ("True", "GradeB")).await?;
    world
        .prometheus()?
        .resolves("PeerupPeerOffline", &PODS)
        .await?;
    world
        .prometheus()?
        .resolves("PeerupGradeD", &PODS[..1])
        .await
}

/// A pod on another node than the relay's.
async fn away_from_the_relay(world: &World) -> Result<Pod> {
    let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let relay = format!("{NETWORK}-relay-0");
    let relay = node(&world.cluster.get::<Pod>(SHOP, &relay).await?);
    patiently("a pod away from the relay", LIMIT, async || {
        let pods = world.cluster.web_pods().await?;
        if let Some(pod) = pods.iter().find(|pod| node(pod) != relay) {
            ensure!(node(pod).is_some(), "{} has no node yet", pod.name_any());
            return Ok(pod.clone());
        }
        // They came while the other node took none. One more goes where there are the fewest.
        let name = pods.first().context("no pods")?.name_any();
        let line = format!("delete pod {name} -n {SHOP}");
        world.cluster.kubectl(&line)?.ok()?;
        bail!("{} pods are with it", pods.len())
    })
    .await
}

/// A table of nftables that lets a pod's traffic with itself pass, and what this chain does not stop.
fn rules(chain: &str) -> String {
    format!(
        "\
table inet cut
delete table inet cut
table inet cut {{
  chain out {{
    type filter hook output priority 0
    oifname \"lo\" accept
    {chain}
  }}
}}
"
    )
}

/// Loads rules in the network namespace of the watched pod: the one on its node that has its address.
async fn cut(world: &World, rules: &str) -> Result<()> {
    let pod = watched(world).await?;
    let address = pod.status.and_then(|status| status.pod_ip);
    let address = address.context("the pod has no address")?;
    let node = pod.spec.and_then(|spec| spec.node_name);
    let node = node.context("the pod has no node")?;
    let script = format!(
        "for name in $(ip netns list | cut -d\" \" -f1); do \
           if ip -n $name -o address | grep -qF \" {address}/\"; then \
             ip netns exec $name nft -f - && exit; \
           fi; \
         done; exit 1"
    );
    let line = format!("{} exec -i {node} bash -c '{script}'", engine());
    world.cluster.shell.feed(&line, rules)?.ok().map(drop)
}

/// An Internet of two STUN servers on each node, and a masquerade with random ports before it.
const INTERNET: &str = "\
ip netns add outside
ip link add outside type veth peer name inside netns outside
ip addr add 11.0.0.254/24 dev outside
ip link set outside up
ip -n outside addr add 11.0.0.1/24 dev inside
ip -n outside addr add 11.0.0.2/24 dev inside
ip -n outside link set inside up
nft -f - <<RULES
table inet outside {
  chain post { type nat hook postrouting priority srcnat - 10; oifname \"outside\" masquerade fully-random; }
}
RULES
chmod +x /peerup-test-stun
ip netns exec outside /peerup-test-stun 11.0.0.1:3478 11.0.0.2:3478 </dev/null >/dev/null 2>&1 &";

/// Takes it down again.
const NO_INTERNET: &str = "\
nft delete table inet outside
ip netns pids outside | xargs -r kill
ip link delete outside
ip netns delete outside";

pub(crate) async fn behind_a_masquerade_the_internet_sees_d(world: &mut World) -> Result<()> {
    let nodes = Api::<Node>::all(world.cluster.client.clone());
    let nodes = nodes.list(&ListParams::default()).await?;
    let server = env!("CARGO_BIN_EXE_peerup-test-stun");
    for node in &nodes {
        let (engine, name) = (engine(), node.name_any());
        let copy = format!("{engine} cp {server} {name}:/peerup-test-stun");
        world.cluster.shell.run(&copy)?.ok()?;
        on_node(world, &name, INTERNET)?;
    }
    let mut internet = quick();
    internet["scope"] = json!("Internet");
    internet["stunServers"] = json!(["11.0.0.1:3478", "11.0.0.2:3478"]);
    periods(world, internet).await?;
    agree(world, "D", ("True", "GradeD")).await?;
    patiently("what speaks for D", LIMIT, async || {
        let status = status(world).await?;
        ensure!(
            status["scope"] == "Internet" && status["natType"] == "Symmetric",
            "{status}"
        );
        ensure!(status["evidence"][0] == "mapping-differs", "{status}");
        Ok(())
    })
    .await?;
    world
        .prometheus()?
        .fires("PeerupGradeD", &PODS[..1])
        .await?;
    periods(world, quick()).await?;
    agree(world, "B", ("True", "GradeB")).await?;
    for node in &nodes {
        on_node(world, &node.name_any(), NO_INTERNET)?;
    }
    world.prometheus = None;
    periods(world, Value::Null).await
}

fn on_node(world: &World, node: &str, script: &str) -> Result<()> {
    let line = format!("{} exec -i {node} bash -eus", engine());
    world.cluster.shell.feed(&line, script)?.ok().map(drop)
}

/// Periods as short as a network may have them.
fn quick() -> Value {
    json!({
        "scope": "Internal", "stunServers": [],
        "probePeriodSeconds": 5, "reportPeriodSeconds": 5,
        "offlineAfterSeconds": 10, "stabilizationSeconds": 5,
    })
}

async fn periods(world: &World, reachability: Value) -> Result<()> {
    world
        .patch_network(json!({ "reachability": reachability }))
        .await
}

async fn watched(world: &World) -> Result<Pod> {
    let name = world.watched.as_ref().context("no pod was chosen")?;
    world.cluster.get::<Pod>(SHOP, name).await
}

/// The status of the pod's Peer.
async fn status(world: &World) -> Result<Value> {
    let pod = watched(world).await?;
    let peers = world.cluster.list::<Peer>(SHOP).await?;
    Ok(serde_json::to_value(&facts::peer_of(&pod, &peers)?.status)?)
}

/// Waits until all who tell of the pod's grade tell this one.
async fn agree(world: &World, grade: &str, condition: (&str, &str)) -> Result<()> {
    patiently(&format!("grade {grade} everywhere"), LIMIT, async || {
        let pod = watched(world).await?;
        let (status, reason) = condition;
        facts::pod_says(&pod, "peerup.dev/Reachable", status, reason)?;
        let peers = world.cluster.list::<Peer>(SHOP).await?;
        let peer = facts::peer_of(&pod, &peers)?;
        let said = facts::peer_condition(peer, "Reachable", status)?;
        ensure!(said.reason == reason, "the Peer says {}", said.reason);
        ensure!(graded(peer) == grade, "the Peer has {}", graded(peer));
        let count = peers.iter().filter(|peer| graded(peer) == grade).count();
        counted(world, grade, count).await?;
        let pods = peers
            .iter()
            .filter(|peer| peer.spec.pod_ref.is_some() && graded(peer) == grade);
        operator_counts(world, grade, pods.count()).await?;
        // What is cut off measures on, and says the same or that it is offline.
        let metrics = world.cluster.metrics(SHOP, &pod.name_any())?;
        let line = format!("peerup_reachability_grade{{grade=\"{grade}\"}} 1");
        ensure!(metrics.lines().any(|is| is == line), "no {line}");
        Ok(())
    })
    .await
}

fn graded(peer: &Peer) -> String {
    let grade = peer.status.as_ref().and_then(|status| status.grade);
    grade.map_or_else(String::new, |grade| grade.to_string())
}

/// The network's own count.
async fn counted(world: &World, grade: &str, expected: usize) -> Result<()> {
    let network = world.cluster.get::<PeerNetwork>(SHOP, NETWORK).await?;
    let status = serde_json::to_value(network.status)?;
    let count = &status["peers"]["grades"][grade.to_lowercase()];
    ensure!(
        count.as_u64() == Some(expected as u64),
        "the network counts {count} with {grade}, there are {expected}"
    );
    Ok(())
}

/// The operator's metric.
async fn operator_counts(world: &World, grade: &str, expected: usize) -> Result<()> {
    let mut said = Vec::new();
    for pod in world.cluster.list::<Pod>(HOME).await? {
        let metrics = world.cluster.metrics(HOME, &pod.name_any())?;
        let labels = [
            format!("network=\"{NETWORK}\""),
            format!("grade=\"{grade}\""),
            "type=\"Pod\"".to_owned(),
        ];
        let mut lines = metrics.lines().filter(|line| {
            line.starts_with("peerup_peers{") && labels.iter().all(|label| line.contains(label))
        });
        said.extend(lines.next().map(str::to_owned));
    }
    let end = format!(" {expected}");
    ensure!(
        said.iter().any(|line| line.ends_with(&end)),
        "expected {expected}, the operator says {said:?}"
    );
    Ok(())
}
