//! The relays' STUN, asked by a program of others and by one that sends nonsense.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use data_encoding::HEXLOWER;
use peerup_protocol::stun::{MAX_MESSAGE, Response, TransactionId, request};
use peerup_tests::lab::internet::Version::{self, V4, V6};
use peerup_tests::lab::namespace::Namespace;
use peerup_tests::lab::nat::Nat;
use peerup_tests::lab::site::Site;
use peerup_tests::tools;

use crate::world::World;

/// The first word of a call of this program that asks, on another machine than the tests.
pub(crate) const ASK: &str = "ask-stun";
/// How long an answer may take.
const SOON: Duration = Duration::from_secs(20);
/// From where the router of these tests sends what goes to STUN.
const PORT: u16 = 54_078;

/// Both ports tell where a question came from, over both versions of IP: the router's address, and the port that
/// it was told to use.
pub(crate) async fn a_client_of_others_learns_its_outside_address(world: &World) -> Result<()> {
    for (name, version) in [("stun4", V4), ("stun6", V6)] {
        let site = translating(world, name, version)?;
        let expected = SocketAddr::new(site.outside()?, PORT);
        for relay in &world.relays {
            for port in ["3478", "3479"] {
                let relay = relay.line.address(version)?.to_string();
                let mut client = tools::stunclient(&site.client)?;
                let said = tools::run(client.args(["-p", port, &relay]))?;
                let seen = reflexive(&said).with_context(|| format!("it said: {said}"))?;
                ensure!(
                    seen == expected,
                    "{relay} {port}: expected {expected}: {said}"
                );
            }
        }
    }
    Ok(())
}

/// What is no question gets no answer and changes nothing; a question that is sent again gets the same answer.
pub(crate) async fn nonsense_and_replays_change_nothing(world: &World) -> Result<()> {
    let site = translating(world, "nonsense", V4)?;
    let [relay, _] = &world.relays;
    let ignored = "peerup_stun_requests_total{result=\"ignored\"}";
    let before = relay.metric(ignored).await?;
    let first = request(&[1; 12]);
    let damaged = damaged(&first);
    let mut datagrams = vec![first.clone()];
    datagrams.extend(damaged.iter().cloned());
    datagrams.extend([first, request(&[2; 12])]);

    let to = SocketAddr::new(relay.line.address(V4)?, 3478);
    let answers = ask_on(&site.client, to, &datagrams)?;
    let mapped = Ok(SocketAddr::new(site.outside()?, PORT));
    let got: Vec<(TransactionId, Result<SocketAddr, u16>)> = answers
        .iter()
        .map(|answer| (answer.transaction, answer.result))
        .collect();
    ensure!(
        got == [([1; 12], mapped), ([1; 12], mapped), ([2; 12], mapped)],
        "{got:?}"
    );
    // an empty datagram is nothing to count
    let expected = damaged
        .iter()
        .filter(|datagram| !datagram.is_empty())
        .count();
    let counted = relay.metric(ignored).await? - before;
    ensure!(
        counted == expected as f64,
        "{counted} of {expected} were ignored"
    );
    Ok(())
}

/// A client whose router sends STUN from one port.
fn translating(world: &World, name: &str, version: Version) -> Result<Site> {
    let site = Site::new(name, &world.internet, version, Nat::PortRestricted)?;
    let family = match version {
        V4 => "ip",
        V6 => "ip6",
    };
    let to = SocketAddr::new(site.outside()?, PORT);
    site.router.sh(&format!(
        "nft insert rule inet lab post oifname wan udp dport 3478-3479 snat {family} to '{to}'"
    ))?;
    Ok(site)
}

/// Datagrams that are no requests: cut off, of another kind, with lengths that lie, or an answer.
fn damaged(good: &[u8]) -> Vec<Vec<u8>> {
    let changed = |at: usize, to: u8| {
        let mut bytes = good.to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = to;
        }
        bytes
    };
    vec![
        Vec::new(),
        good.get(..19).unwrap_or_default().to_vec(),
        good.get(..good.len() - 1).unwrap_or_default().to_vec(),
        changed(0, 0x01), // an answer
        changed(0, 0xff),
        changed(3, 0x08),  // a shorter length
        changed(4, 0x00),  // no magic cookie
        changed(22, 0xff), // an attribute longer than all
        vec![0xff; 200],
    ]
}

/// Sends datagrams from one socket of another machine; the answers until the last datagram has one.
fn ask_on(machine: &Namespace, to: SocketAddr, datagrams: &[Vec<u8>]) -> Result<Vec<Response>> {
    let mut command: Command = machine.command(std::env::current_exe()?);
    command.args([ASK, &to.to_string()]);
    command.args(datagrams.iter().map(|datagram| HEXLOWER.encode(datagram)));
    let said = tools::run(&mut command)?;
    let answer = |line: &str| Ok(Response::decode(&HEXLOWER.decode(line.as_bytes())?)?);
    said.lines().map(answer).collect()
}

/// What this program does when it is called with [`ASK`].
pub(crate) fn ask(words: &[String]) -> Result<()> {
    let (to, datagrams) = words.split_first().context("whom to ask")?;
    let to: SocketAddr = to.parse()?;
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    let mut last = None;
    for datagram in datagrams {
        let bytes = HEXLOWER.decode(datagram.as_bytes())?;
        socket.send_to(&bytes, to)?;
        last = bytes.get(8..20).map(<[u8]>::to_vec);
    }
    let end = Instant::now() + SOON;
    let mut buffer = [0; MAX_MESSAGE];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("the last datagram got no answer within {SOON:?}");
        }
        socket.set_read_timeout(Some(left))?;
        let (length, _) = socket.recv_from(&mut buffer)?;
        let answer = buffer.get(..length).unwrap_or_default();
        println!("{}", HEXLOWER.encode(answer));
        if answer.get(8..20).map(<[u8]>::to_vec) == last {
            return Ok(());
        }
    }
}

/// The address in a line such as `0: : IPv4. UDP reflexive addr: 11.0.3.2:54078`.
fn reflexive(said: &str) -> Option<SocketAddr> {
    let mut found = said
        .lines()
        .filter_map(|line| line.split_once("UDP reflexive addr: "));
    let (_, address) = found.next()?;
    let address = address.trim();
    address.parse().ok().or_else(|| {
        let (ip, port) = address.rsplit_once(':')?;
        let ip: IpAddr = ip.parse().ok()?;
        Some(SocketAddr::new(ip, port.parse().ok()?))
    })
}
