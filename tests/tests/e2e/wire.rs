//! What passes between a peer outside and the relay, as somebody on the way sees it.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use peerup_crds::PeerNetwork;
use peerup_protocol::Multiaddr;
use peerup_protocol::code::Code;
use peerup_tests::story::{NETWORK, SHOP};
use peerup_tests::wait::patiently;

use crate::world::World;

/// Sent in clear to the relay's address: what a record of the wire must show.
const MARK: &str = "peerup-end-to-end-test-in-clear";
/// What the peers outside are called; the example's namespace and network would be no proof, since names in
/// Kubernetes are shown to everybody.
pub(crate) const NAMES: [&str; 3] = ["laptop", "desktop", "visitor"];

/// A record of all packets from and to the relay's ports outside; ends when dropped.
#[derive(Debug)]
pub(crate) struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    fn start(file: PathBuf, ports: &[u16]) -> Result<Capture> {
        let filter: Vec<_> = ports.iter().map(|port| format!("port {port}")).collect();
        let log = fs::File::create(file.with_extension("log"))?;
        let child = Command::new("tcpdump")
            .args(["-i", "any", "-n", "-U", "-s", "0", "-w"])
            .arg(&file)
            .arg(filter.join(" or "))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start tcpdump")?;
        Ok(Capture { child, file })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn what_passes_is_recorded(world: &mut World) -> Result<()> {
    let network = world.cluster.get::<PeerNetwork>(SHOP, NETWORK).await?;
    let relays = network
        .status
        .map(|status| status.relays)
        .unwrap_or_default();
    let outside: Vec<_> = relays
        .iter()
        .flat_map(|relay| &relay.addresses)
        .filter_map(|text| socket(text))
        .collect();
    ensure!(!outside.is_empty(), "no address outside: {relays:?}");
    let ports: Vec<_> = outside.iter().map(|(_, port)| *port).collect();
    let capture = Capture::start(world.directory().join("wire.pcap"), &ports)?;
    let (host, port) = outside.first().context("no address")?;
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    patiently("tcpdump to record", Duration::from_secs(60), async || {
        socket.send_to(MARK.as_bytes(), (host.as_str(), *port))?;
        let recorded = fs::read(&capture.file)?;
        ensure!(has(&recorded, MARK.as_bytes()), "the mark is not there");
        Ok(())
    })
    .await?;
    world.wire = Some(capture);
    Ok(())
}

/// Host and port of an IPv4 address with TCP or UDP.
fn socket(text: &str) -> Option<(String, u16)> {
    let address: Multiaddr = text.parse().ok()?;
    let text = address.to_string();
    let mut parts = text.split('/').skip(1);
    match (parts.next()?, parts.next()?, parts.next()?, parts.next()?) {
        ("ip4", host, "tcp" | "udp", port) => Some((host.to_owned(), port.parse().ok()?)),
        _ => None,
    }
}

pub(crate) async fn the_wire_shows_nothing(world: &mut World) -> Result<()> {
    let capture = world.wire.take().context("nothing was recorded")?;
    let file = capture.file.clone();
    drop(capture);
    let recorded = fs::read(&file)?;
    println!("{} bytes were recorded", recorded.len());
    ensure!(
        recorded.len() > 20_000,
        "too little was recorded to say anything"
    );
    for name in NAMES {
        ensure!(!has(&recorded, name.as_bytes()), "the name {name} shows");
    }
    let network = world.cluster.get::<PeerNetwork>(SHOP, NETWORK).await?;
    let namespace = network
        .status
        .and_then(|status| status.dht_namespace)
        .context("no DHT namespace")?;
    ensure!(
        !has(&recorded, namespace.as_bytes()),
        "the DHT namespace shows"
    );
    for text in &world.issued {
        let code = Code::parse(text).map_err(|error| anyhow::anyhow!("an issued code: {error}"))?;
        ensure!(!has(&recorded, code.secret.expose()), "a secret shows");
        ensure!(!has(&recorded, text.as_bytes()), "a code shows");
        ensure!(!has(&recorded, &code.group.0), "a group shows");
    }
    Ok(())
}

fn has(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}
