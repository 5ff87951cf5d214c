//! Groups of pods and peers outside that join in any order: everybody accepts everybody.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use peerup_tests::story::laptop::{Laptop, text_of};
use peerup_tests::story::{NETWORK, SHOP, facts};
use peerup_tests::wait::patiently;

use crate::faults::relay_pod_dies;
use crate::first_use::plugin;
use crate::world::World;

/// Longest time for one peer to join, or to reach another one.
const LIMIT: Duration = Duration::from_secs(120);
/// Longest time until all have heard that they are expelled: a relay whose question at the operator is woken by nothing
/// asks again after 25 s.
const HEARD: Duration = Duration::from_secs(24);
/// The exit code of a peer whose membership is over.
const REVOKED: i32 = 9;
/// Commands at once.
const AT_ONCE: usize = 4;

/// One member.
struct Member {
    name: String,
    place: Place,
}

/// Where it runs.
enum Place {
    Outside(Laptop),
    Pod,
}

/// Of so many members one is a pod.
const POD_EVERY: usize = 3;

pub(crate) async fn groups_authorise_each_other(world: &mut World) -> Result<()> {
    for size in [2, 3, 5] {
        let members = join(world, size, None).await?;
        everybody_reaches_everybody(&members).await?;
        leave(world, members).await?;
    }
    Ok(())
}

pub(crate) async fn twenty_do_while_the_relay_restarts(world: &mut World) -> Result<()> {
    let members = join(world, 20, Some(10)).await?;
    everybody_reaches_everybody(&members).await?;
    leave(world, members).await
}

/// Lets so many members join, in an order of chance; at one of them the relay is killed. Those that are no pods have a
/// code of the group.
async fn join(world: &mut World, size: usize, kill_at: Option<usize>) -> Result<Vec<Member>> {
    let group = format!("group-{size}");
    let outside = size - size.div_ceil(POD_EVERY);
    world
        .cluster
        .apply(&format!(
            "{{apiVersion: peerup.dev/v1alpha1, kind: PairingCode, metadata: {{name: {group}, namespace: {SHOP}}}, \
             spec: {{networkRef: {{name: {NETWORK}}}, count: {outside}, ttlSeconds: 1800}}}}"
        ))?
        .ok()?;
    let codes = patiently(&format!("{outside} codes"), LIMIT, async || {
        let codes = world.cluster.codes(SHOP, &group, LIMIT).await?;
        ensure!(codes.len() == outside, "there are {}", codes.len());
        Ok(codes)
    })
    .await?;
    world.issued.extend(codes.values().cloned());
    let mut members = Vec::new();
    for (at, slot) in order(size).into_iter().enumerate() {
        if kill_at == Some(at) {
            relay_pod_dies(&world.cluster).await?;
        }
        let name = format!("g{size}-{slot}");
        members.push(match codes.get(&format!("code-{slot}")) {
            Some(code) => joined(world, code, name).await?,
            None => pod(world, name).await?,
        });
    }
    Ok(members)
}

async fn joined(world: &World, code: &str, name: String) -> Result<Member> {
    let (peer, _) = Laptop::joins(&world.state(&name), code, &name, LIMIT).await?;
    let place = Place::Outside(peer);
    Ok(Member { name, place })
}

/// A pod's join.
async fn pod(world: &World, name: String) -> Result<Member> {
    world
        .cluster
        .apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {SHOP}}}, spec: {{\
               terminationGracePeriodSeconds: 1, \
               securityContext: {{runAsNonRoot: true, runAsUser: 65534, seccompProfile: {{type: RuntimeDefault}}}}, \
               containers: [{{name: app, image: 'registry.k8s.io/pause:3.10', securityContext: \
                 {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}}}]}}}}"
        ))?
        .ok()?;
    patiently(&format!("{name} to join"), LIMIT, async || {
        let pod = world.cluster.get::<Pod>(SHOP, &name).await?;
        facts::pod_says(&pod, "peerup.dev/Joined", "True", "Attested")
    })
    .await?;
    let place = Place::Pod;
    Ok(Member { name, place })
}

/// The numbers below `size` in an order that differs from run to run.
fn order(size: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..size).collect();
    numbers.sort_by_cached_key(|_| chance());
    println!("they join in the order {numbers:?}");
    numbers
}

fn chance() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// Each pings each: both sides have accepted the other's record then.
async fn everybody_reaches_everybody(members: &[Member]) -> Result<()> {
    let pairs = members.iter().flat_map(|from| {
        let others = members.iter().filter(|to| to.name != from.name);
        others.map(move |to| (from, to))
    });
    let reached: Vec<Result<()>> = futures::stream::iter(pairs)
        .map(|(from, to)| reaches(from, &to.name))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (size, pairs) = (members.len(), reached.len());
    ensure!(pairs == size * (size - 1), "only {pairs} pairs");
    println!("{size} peers, {pairs} ways: all accepted");
    reached.into_iter().collect()
}

async fn reaches(from: &Member, to: &str) -> Result<()> {
    patiently(&format!("{} to reach {to}", from.name), LIMIT, async || {
        let output = match &from.place {
            Place::Outside(peer) => peer.ask(&["ping", to, "-c", "1"]).await?,
            Place::Pod => plugin(&["ping", &from.name, to, "-c", "1"]).await?,
        };
        ensure!(output.status.success(), "{}", text_of(&output));
        Ok(())
    })
    .await
}

/// Deletes the pods, and revokes the others, which end for that.
async fn leave(world: &World, members: Vec<Member>) -> Result<()> {
    let (mut laptops, mut peers, mut pods) = (Vec::new(), Vec::new(), Vec::new());
    for Member { name, place } in members {
        match place {
            Place::Outside(laptop) => {
                peers.push(format!("{NETWORK}.{name}"));
                laptops.push((name, laptop));
            }
            Place::Pod => pods.push(name),
        }
    }
    for (kind, names) in [("pods", pods), ("peers", peers)] {
        let line = format!("delete {kind} -n {SHOP} {}", names.join(" "));
        world.cluster.kubectl(&line)?.ok()?;
    }
    let deleted = Instant::now();
    for (name, laptop) in &mut laptops {
        let (code, said) = laptop.ended(LIMIT).await?;
        ensure!(code == REVOKED, "{name} ended with {code}: {said}");
    }
    let took = deleted.elapsed();
    println!("all had heard of it after {took:?}");
    ensure!(took < HEARD, "{took:?}");
    Ok(())
}
