//! Groups that join in any order: everybody accepts everybody.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use peerup_tests::story::laptop::{Laptop, text_of};
use peerup_tests::story::{NETWORK, SHOP};
use peerup_tests::wait::patiently;

use crate::faults::relay_pod_dies;
use crate::world::World;

/// Longest time for one peer to join, or to reach another one.
const LIMIT: Duration = Duration::from_secs(120);
/// Commands at once.
const AT_ONCE: usize = 4;

/// One member: its name and its process.
struct Member {
    name: String,
    peer: Laptop,
}

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

/// Lets as many peers join as the group has codes, in an order of chance; at one of them the relay is killed.
async fn join(world: &mut World, size: usize, kill_at: Option<usize>) -> Result<Vec<Member>> {
    let group = format!("group-{size}");
    world
        .cluster
        .apply(&format!(
            "{{apiVersion: peerup.dev/v1alpha1, kind: PairingCode, metadata: {{name: {group}, namespace: {SHOP}}}, \
             spec: {{networkRef: {{name: {NETWORK}}}, count: {size}, ttlSeconds: 1800}}}}"
        ))?
        .ok()?;
    let codes = patiently(&format!("{size} codes"), LIMIT, async || {
        let codes = world.cluster.codes(SHOP, &group, LIMIT).await?;
        ensure!(codes.len() == size, "there are {}", codes.len());
        Ok(codes)
    })
    .await?;
    world.issued.extend(codes.values().cloned());
    let mut members = Vec::new();
    for (at, slot) in order(size).into_iter().enumerate() {
        if kill_at == Some(at) {
            relay_pod_dies(&world.cluster).await?;
        }
        let code = codes
            .get(&format!("code-{slot}"))
            .context("there is no such code")?;
        let name = format!("g{size}-{slot}");
        members.push(joined(world, code, name).await?);
    }
    Ok(members)
}

/// One peer's join. In the moments without a relay it ends with "no relay answered", or, cut off in the
/// middle, with "pairing failed": the same peer may use its code again.
async fn joined(world: &World, code: &str, name: String) -> Result<Member> {
    let state = world.state(&name);
    let peer = patiently(&format!("{name} to join"), LIMIT, async || {
        let mut peer = Laptop::join(&state, code, &name)?;
        peer.joined(LIMIT).await?;
        Ok(peer)
    })
    .await?;
    Ok(Member { name, peer })
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
        let output = from.peer.ask(&["ping", to, "-c", "1"]).await?;
        ensure!(output.status.success(), "{}", text_of(&output));
        Ok(())
    })
    .await
}

/// Ends the processes and revokes what they were.
async fn leave(world: &World, members: Vec<Member>) -> Result<()> {
    let names: Vec<_> = members
        .iter()
        .map(|member| format!("{NETWORK}.{}", member.name))
        .collect();
    drop(members);
    world
        .cluster
        .kubectl(&format!("delete peers -n {SHOP} {}", names.join(" ")))?
        .ok()
        .map(drop)
}
