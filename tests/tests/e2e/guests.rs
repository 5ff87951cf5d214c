//! A member invites somebody who is none: they meet, and nobody else in the network notices.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use peerup_crds::Peer;
use peerup_tests::story::SHOP;
use peerup_tests::story::laptop::{Laptop, text_of};
use peerup_tests::wait::patiently;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::first_use::free_port;
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(120);
/// What the laptop's service says.
const GREETING: &str = "only for my guest";

pub(crate) async fn a_laptop_invites_a_guest_whom_nobody_else_meets(
    world: &mut World,
) -> Result<()> {
    let early = world.laptop()?.ask(&["invite", "--detach"]).await?;
    let text = text_of(&early);
    ensure!(
        early.status.code() == Some(16) && text.contains("spec.pairing.guests"),
        "without permission: {text}"
    );
    allow(world, "Enabled").await?;
    let code = invite(world.laptop()?).await?;
    world.issued.insert(code.clone());
    let service = greeter().await?;
    let exposed = format!("note={service}");
    succeeds(world.laptop()?, &["expose", &exposed]).await?;

    let (guest, story) = Laptop::joins(&world.state("visitor"), &code, "visitor", LIMIT).await?;
    println!("{story}");
    ensure!(
        story.contains("as visitor, guest of laptop"),
        "it is no guest"
    );
    let port = free_port()?;
    succeeds(&guest, &["forward", &format!("{port}=note@laptop")]).await?;
    patiently("the guest to use the service", LIMIT, async || {
        let said = read(port).await?;
        ensure!(said == GREETING, "it said {said:?}");
        Ok(())
    })
    .await?;
    nobody_else_knows(world, &guest).await?;

    succeeds(world.laptop()?, &["invite", "--remove", "visitor"]).await?;
    patiently("the guest to be refused", LIMIT, async || {
        let said = read(port).await.unwrap_or_default();
        ensure!(said.is_empty(), "it still said {said:?}");
        Ok(())
    })
    .await?;
    succeeds(world.laptop()?, &["expose", "--remove", "note"]).await?;
    allow(world, "Disabled").await
}

async fn nobody_else_knows(world: &World, guest: &Laptop) -> Result<()> {
    let status = guest.ask(&["peers", "--json"]).await?;
    let known: Value = serde_json::from_slice(&status.stdout).context(text_of(&status))?;
    let names: Vec<_> = known.as_array().into_iter().flatten().collect();
    ensure!(
        names.len() == 1 && names[0]["name"] == "laptop" && names[0]["role"] == "Sponsor",
        "the guest knows {known}"
    );
    let asked = world
        .desktop()?
        .ask(&["ping", "visitor", "--count", "1"])
        .await?;
    ensure!(asked.status.code() == Some(12), "{}", text_of(&asked));
    let peers = world.cluster.list::<Peer>(SHOP).await?;
    let found = peers
        .iter()
        .find(|peer| peer.spec.display_name == "visitor");
    ensure!(
        found.is_none(),
        "the cluster knows {:?}",
        found.map(ResourceExt::name_any)
    );
    Ok(())
}

/// Waits until the laptop and a relay know that guests are allowed.
async fn invite(laptop: &Laptop) -> Result<String> {
    patiently("the laptop to invite", LIMIT, async || {
        let opened = laptop.ask(&["invite", "--detach", "--json"]).await?;
        ensure!(opened.status.success(), "{}", text_of(&opened));
        let invite: Value = serde_json::from_slice(&opened.stdout)?;
        let code = invite["code"].as_str().context("there is no code")?;
        Ok(code.to_owned())
    })
    .await
}

async fn allow(world: &World, guests: &str) -> Result<()> {
    world
        .patch_network(json!({"pairing": {"guests": guests}}))
        .await
}

async fn succeeds(peer: &Laptop, words: &[&str]) -> Result<()> {
    let done = peer.ask(words).await?;
    ensure!(done.status.success(), "{}", text_of(&done));
    Ok(())
}

/// A program that says one thing to whoever connects; its port.
async fn greeter() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(GREETING.as_bytes()).await;
        }
    });
    Ok(port)
}

async fn read(port: u16) -> Result<String> {
    let mut said = String::new();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.read_to_string(&mut said).await?;
    Ok(said)
}
