//! Peers outside ping, verify each other, and use a pod's service.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use peerup_crds::Peer;
use peerup_tests::programs;
use peerup_tests::story::SHOP;
use peerup_tests::story::laptop::{Laptop, text_of};
use peerup_tests::wait::patiently;
use serde_json::{Value, json};

use crate::world::World;

const EXAMPLE: &str = "docs/examples/5-service.yaml";
/// Longest time for anything that needs the network.
const LIMIT: Duration = Duration::from_secs(90);
/// Below the ports that the kernel gives away.
const PORTS: std::ops::Range<u16> = 19_700..19_800;

pub(crate) async fn a_pod_offers_a_service(world: &mut World) -> Result<()> {
    let cluster = &world.cluster;
    cluster.kubectl(&format!("apply -f {EXAMPLE}"))?.ok()?;
    cluster
        .kubectl(&format!(
            "rollout status deployment/pages -n {SHOP} --timeout=120s"
        ))?
        .ok()?;
    patiently("the pod to join", LIMIT, async || {
        let peers = cluster.list::<Peer>(SHOP).await?;
        ensure!(peers.iter().any(is_pages), "it has no Peer");
        Ok(())
    })
    .await
}

fn is_pages(peer: &Peer) -> bool {
    peer.spec
        .pod_ref
        .as_ref()
        .is_some_and(|pod| pod.service_account == "pages")
}

pub(crate) async fn a_laptop_reaches_it_by_service_account(world: &mut World) -> Result<()> {
    let port = free_port()?;
    let laptop = world.laptop()?;
    let said = laptop
        .ask(&["forward", &format!("{port}=http@{SHOP}/pages")])
        .await?;
    ensure!(said.status.success(), "{said:?}");
    let status = page(port).await?;
    println!("{}", &status[..status.len().min(200)]);
    let status: Value = serde_json::from_str(&status)?;
    let name = status["membership"]["name"].as_str().unwrap_or_default();
    ensure!(name.starts_with("pages-"), "it is {name:?}");
    world.port = Some(port);
    Ok(())
}

/// A port of this machine for a program that a step starts.
pub(crate) fn free_port() -> Result<u16> {
    PORTS
        .into_iter()
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no port is free")
}

/// What `curl` gets there.
async fn page(port: u16) -> Result<String> {
    let url = format!("http://127.0.0.1:{port}/status");
    println!("$ curl {url}");
    patiently(&url, LIMIT, async || get(&url).await).await
}

async fn get(url: &str) -> Result<String> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()?;
    Ok(client
        .get(url)
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?)
}

pub(crate) async fn a_ping_shows_that_nobody_has_verified(world: &mut World) -> Result<()> {
    let desktop = Laptop::rejoin(&world.state("desktop"))?;
    desktop.connected(LIMIT).await?;
    let line = pinged(world.laptop()?, "desktop").await?;
    ensure!(line.contains("desktop [UNVERIFIED]"), "{line}");
    let route = said(world.laptop()?, &["traceroute", "desktop"]).await?;
    ensure!(route.contains("desktop [UNVERIFIED]"), "{route}");
    world.desktop = Some(desktop);
    Ok(())
}

async fn pinged(from: &Laptop, name: &str) -> Result<String> {
    patiently(&format!("{name} to answer"), LIMIT, async || {
        said(from, &["ping", name, "-c", "1"]).await
    })
    .await
}

/// What the program prints when it succeeds.
async fn said(of: &Laptop, arguments: &[&str]) -> Result<String> {
    let output = of.ask(arguments).await?;
    let text = text_of(&output);
    ensure!(output.status.success(), "{text}");
    println!("{text}");
    Ok(text)
}

pub(crate) async fn two_people_verify_each_other(world: &mut World) -> Result<()> {
    let (laptop, desktop) = (world.laptop()?, world.desktop()?);
    let (here, there) = tokio::join!(
        laptop.ask(&["verify", "desktop", "--yes", "--json"]),
        desktop.ask(&["verify", "laptop", "--yes", "--json"]),
    );
    let (here, there) = (report(&here?)?, report(&there?)?);
    println!("{} {}", here["emoji"], here["digits"]);
    ensure!(here["emoji"].as_array().is_some_and(|all| all.len() == 4));
    ensure!(
        here["emoji"] == there["emoji"] && here["digits"] == there["digits"],
        "they see different things: {here} {there}"
    );
    for (from, name) in [(laptop, "desktop"), (desktop, "laptop")] {
        let line = pinged(from, name).await?;
        ensure!(line.contains(&format!("{name} [VERIFIED]")), "{line}");
    }
    Ok(())
}

fn report(output: &Output) -> Result<Value> {
    ensure!(output.status.success(), "{}", text_of(output));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report["verified"] == true, "{report}");
    Ok(report)
}

/// The program under the name by which kubectl finds it.
pub(crate) async fn plugin(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(programs::path("peerup")?);
    command
        .arg0("kubectl-peerup")
        .args(arguments)
        .args(["--namespace", SHOP]);
    println!("$ kubectl peerup {}", arguments.join(" "));
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

async fn pages_pod(world: &World) -> Result<(String, String)> {
    let peers = world.cluster.list::<Peer>(SHOP).await?;
    let peer = peers
        .iter()
        .find(|peer| is_pages(peer))
        .context("no Peer")?;
    let pod = peer.spec.pod_ref.as_ref().context("no pod")?;
    Ok((pod.name.clone(), peer.spec.display_name.clone()))
}

/// A ping from the pod to the laptop shows the name with its badge.
async fn shows(pod: &str, name: &str) -> Result<()> {
    patiently(name, LIMIT, async || {
        let pinged = plugin(&["ping", pod, "laptop", "--count", "1"]).await?;
        let text = text_of(&pinged);
        ensure!(text.contains(name), "{text}");
        Ok(())
    })
    .await
}

pub(crate) async fn a_pod_is_asked_through_kubectl(world: &mut World) -> Result<()> {
    let (pod, name) = pages_pod(world).await?;
    // A measurement has four seconds, which a machine may stand still for.
    patiently("grade B", LIMIT, async || {
        let checked = plugin(&["netcheck", &pod]).await?;
        let text = text_of(&checked);
        println!("{text}");
        ensure!(checked.status.success(), "{text}");
        for words in [
            "grade    B: ",
            "filtering AddressDependent",
            "because somebody asked",
        ] {
            ensure!(text.contains(words), "no {words:?} in {text}");
        }
        Ok(())
    })
    .await?;
    let own = plugin(&["status", &pod, "--json"]).await?;
    let status: Value = serde_json::from_slice(&own.stdout).context(text_of(&own))?;
    ensure!(status["membership"]["name"] == name, "{status}");
    shows(&pod, "laptop [UNVERIFIED]").await?;
    let missing = plugin(&["netcheck", "nothing"]).await?;
    let text = text_of(&missing);
    ensure!(
        !missing.status.success() && text.contains("not found"),
        "{text}"
    );
    Ok(())
}

pub(crate) async fn a_pod_and_a_laptop_verify_each_other(world: &mut World) -> Result<()> {
    let (pod, name) = pages_pod(world).await?;
    let laptop = world.laptop()?;
    let (mine, theirs) = (
        ["verify", &name, "--yes", "--json"],
        ["verify", &pod, "laptop", "--yes", "--json"],
    );
    let (here, there) = tokio::join!(laptop.ask(&mine), plugin(&theirs));
    let (here, there) = (report(&here?)?, report(&there?)?);
    ensure!(here["digits"] == there["digits"], "{here} {there}");
    shows(&pod, "laptop [VERIFIED]").await?;
    // Where it is required, that is enough now.
    let port = world.port.context("nothing is forwarded")?;
    require(world, "Required").await?;
    page(port).await?;
    require(world, "Preferred").await
}

pub(crate) async fn where_it_is_required_the_unverified_are_refused(
    world: &mut World,
) -> Result<()> {
    let port = world.port.context("nothing is forwarded")?;
    require(world, "Required").await?;
    let laptop = world.laptop()?;
    let url = format!("http://127.0.0.1:{port}/status");
    let reason = patiently("the laptop to be refused", LIMIT, async || {
        ensure!(get(&url).await.is_err(), "it gets the page");
        let services: Value =
            serde_json::from_slice(&laptop.ask(&["services", "--json"]).await?.stdout)?;
        let reason = services["forwards"][0]["lastFailure"]
            .as_str()
            .context("no reason")?;
        ensure!(reason.contains("verif"), "refused because: {reason}");
        Ok(reason.to_owned())
    })
    .await?;
    println!("{reason}");
    require(world, "Preferred").await?;
    page(port).await.map(drop)
}

async fn require(world: &World, verification: &str) -> Result<()> {
    let spec = json!({"peers": {"verification": verification}});
    world.patch_network(spec).await
}

pub(crate) async fn the_service_goes(world: &mut World) -> Result<()> {
    let cluster = &world.cluster;
    cluster.kubectl(&format!("delete -f {EXAMPLE}"))?.ok()?;
    world.desktop = None;
    patiently("its Peer to go", LIMIT, async || {
        let peers = cluster.list::<Peer>(SHOP).await?;
        let left = peers.iter().find(|peer| is_pages(peer));
        ensure!(
            left.is_none(),
            "{:?} is left",
            left.map(ResourceExt::name_any)
        );
        Ok(())
    })
    .await
}
