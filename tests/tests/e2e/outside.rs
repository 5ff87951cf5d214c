//! A peer outside of the cluster, over the relay's NodePort.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use peerup_crds::{PairingCode, Peer, PeerType};
use peerup_tests::story::laptop::Laptop;
use peerup_tests::story::{CODES, NETWORK, SHOP, facts};
use peerup_tests::wait::patiently;

use crate::world::World;

pub(crate) async fn a_laptop_joins_with_a_code(world: &mut World) -> Result<()> {
    let codes = world
        .cluster
        .codes(SHOP, CODES, Duration::from_secs(60))
        .await?;
    let code = codes.get("code-0").context("there is no code-0")?;
    let limit = Duration::from_secs(60);
    let (laptop, story) = Laptop::joins(&world.state("laptop"), code, "laptop", limit).await?;
    println!("{story}");
    ensure!(story.contains(" as laptop"), "it has another name");
    laptop.connected(Duration::from_secs(60)).await?;
    world.laptop = Some(laptop);
    let cluster = &world.cluster;
    patiently(
        "the laptop's Peer to have a grade",
        Duration::from_secs(60),
        async || {
            let peer = cluster
                .get::<Peer>(SHOP, &format!("{NETWORK}.laptop"))
                .await?;
            ensure!(
                peer.spec.type_ == PeerType::External,
                "it is a {:?}",
                peer.spec.type_
            );
            facts::peer_condition(&peer, "Joined", "True")?;
            facts::peer_condition(&peer, "Reachable", "True")?;
            ensure!(
                peer.status.is_some_and(|status| status.grade.is_some()),
                "no grade"
            );
            Ok(())
        },
    )
    .await?;
    patiently("the used code to go", Duration::from_secs(60), async || {
        let left = cluster.secret(SHOP, CODES).await?;
        ensure!(
            left.keys().eq(["code-1", "code-2"]),
            "left are {:?}",
            left.keys()
        );
        remaining(&cluster.get(SHOP, CODES).await?, 2)
    })
    .await
}

fn remaining(code: &PairingCode, count: u32) -> Result<()> {
    let found = code.status.as_ref().and_then(|status| status.remaining);
    ensure!(found == Some(count), "remaining {found:?}, not {count}");
    Ok(())
}

pub(crate) async fn the_same_code_is_refused_to_another(world: &mut World) -> Result<()> {
    let code = std::fs::read_to_string(world.state("laptop").join("code"))?;
    let mut thief = Laptop::join(&world.state("thief"), &code, "laptop")?;
    let (exit, said) = thief.ended(Duration::from_secs(60)).await?;
    println!("{said}");
    ensure!(exit == 6, "exit code {exit}");
    ensure!(said.contains("pairing failed"), "it said: {said}");
    let peers = world.cluster.list::<Peer>(SHOP).await?;
    let outside = peers
        .iter()
        .filter(|peer| peer.spec.type_ == PeerType::External);
    ensure!(outside.count() == 1, "another peer joined");
    remaining(&world.cluster.get(SHOP, CODES).await?, 2)?;
    world
        .laptop()?
        .connected(Duration::from_secs(60))
        .await
        .map(drop)
}
