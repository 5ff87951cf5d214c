//! Each class of NAT gets its grade, whenever it is measured.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use peerup_protocol::grade::{Evidence, Grade, NatType};
use peerup_protocol::report::Report;
use peerup_tests::lab::internet::{Carrier, Internet, Translation, Version};
use peerup_tests::lab::namespace::Namespace;
use peerup_tests::lab::nat::Nat;
use peerup_tests::lab::peer::Peer;
use peerup_tests::lab::site::Site;
use peerup_tests::programs::Program;
use peerup_tests::wait::eventually;
use serde_json::Value;

use crate::world::World;
use crate::{Outcome, Test};

/// How long a grade may take that a measurement of four seconds and the end of a connection lead to.
const SOON: Duration = Duration::from_secs(90);

/// How long a measurement takes at most that begins at once, on a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(20);

/// How many lines of a peer's log are shown when it does not find what it should.
const LAST_LINES: usize = 60;

/// What a peer finds.
#[derive(Debug, Clone, Copy)]
struct Found {
    grade: Grade,
    nat: NatType,
    evidence: &'static [Evidence],
}

macro_rules! found {
    ($grade:ident $nat:ident: $($evidence:ident)*) => {
        Found { grade: Grade::$grade, nat: NatType::$nat, evidence: &[$(Evidence::$evidence),*] }
    };
}

/// A name, the version of IP, the router, and what is found behind it.
type Row = (&'static str, Version, Nat, Found);

use Version::{V4, V6};

#[rustfmt::skip]
const ROWS: [Row; 15] = [
    ("ipv4_public",             V4, Nat::Open,              found!(B None: Ipv4ProbeOk NoNat)),
    ("ipv4_firewall",           V4, Nat::Firewall,          found!(C None: FilteringPort NoNat)),
    ("ipv4_full_cone",          V4, Nat::FullCone,          found!(B FullCone: Ipv4ProbeOk MappingSame PortPreserved)),
    ("ipv4_address_restricted", V4, Nat::AddressRestricted, found!(B AddressRestricted: FilteringAddress MappingSame PortPreserved)),
    ("ipv4_port_restricted",    V4, Nat::PortRestricted,    found!(C PortRestricted: FilteringPort MappingSame PortPreserved)),
    ("ipv4_port_moved",         V4, Nat::PortMoved,         found!(C PortRestricted: FilteringPort MappingSame PortPreserved)),
    ("ipv4_symmetric",          V4, Nat::Symmetric,         found!(D Symmetric: MappingDiffers)),
    ("ipv4_udp_blocked",        V4, Nat::UdpBlocked,        found!(D UdpBlocked: UdpBlocked)),
    ("ipv6_public",             V6, Nat::Open,              found!(A None: Ipv6ProbeOk NoNat)),
    ("ipv6_firewall",           V6, Nat::Firewall,          found!(C None: FilteringPort NoNat)),
    ("ipv6_full_cone",          V6, Nat::FullCone,          found!(B FullCone: Ipv6ProbeOk MappingSame PortPreserved)),
    ("ipv6_address_restricted", V6, Nat::AddressRestricted, found!(B AddressRestricted: FilteringAddress MappingSame PortPreserved)),
    ("ipv6_port_restricted",    V6, Nat::PortRestricted,    found!(C PortRestricted: FilteringPort MappingSame PortPreserved)),
    ("ipv6_symmetric",          V6, Nat::Symmetric,         found!(D Symmetric: MappingDiffers)),
    ("ipv6_udp_blocked",        V6, Nat::UdpBlocked,        found!(D UdpBlocked: UdpBlocked)),
];

/// One test a row, and those that have more than a router.
pub(crate) fn rows() -> Vec<Test> {
    let rows = ROWS.map(|row| Test {
        name: format!("grades::{}", row.0),
        run: Box::new(move |world| Box::pin(behind_a_router(world, row))),
    });
    let carriers = CARRIERS.map(|(name, translation, place, found)| Test {
        name: format!("grades::{name}"),
        run: Box::new(move |world| -> Outcome<'_> {
            match place {
                Place::Home => Box::pin(at_home(world, name, translation, found)),
                Place::Line => Box::pin(on_the_line(world, name, translation, found)),
            }
        }),
    });
    rows.into_iter().chain(carriers).collect()
}

async fn behind_a_router(world: &World, (name, version, nat, found): Row) -> Result<()> {
    let site = Site::new(&machine(name), &world.internet, version, nat)?;
    twice(world, &site.client, found).await
}

/// Where a carrier's customer has the peer.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Behind a router of their own.
    Home,
    /// On the carrier's line itself.
    Line,
}

#[rustfmt::skip]
const CARRIERS: [(&str, Translation, Place, Found); 3] = [
    ("carrier_behind_a_router",   Translation::Random,   Place::Home, found!(D Symmetric: MappingDiffers)),
    ("carrier_on_the_line",       Translation::Random,   Place::Line, found!(D Symmetric: MappingDiffers)),
    ("carrier_that_keeps_ports",  Translation::PortKept, Place::Line, found!(D PortRestricted: CgnatLocalAddress MappingSame PortPreserved)),
];

async fn at_home(world: &World, name: &str, translation: Translation, found: Found) -> Result<()> {
    let carrier = Carrier::new(&world.internet, translation)?;
    let site = Site::new(&machine(name), &carrier, V4, Nat::PortRestricted)?;
    twice(world, &site.client, found).await
}

async fn on_the_line(
    world: &World,
    name: &str,
    translation: Translation,
    found: Found,
) -> Result<()> {
    let carrier = Carrier::new(&world.internet, translation)?;
    let client = alone(&carrier, name)?;
    twice(world, &client, found).await
}

fn alone(uplink: &dyn peerup_tests::lab::internet::Uplink, name: &str) -> Result<Namespace> {
    let client = Namespace::new(machine(name))?;
    uplink.plug(&client, "eth0")?;
    Ok(client)
}

/// What a machine is called: names of peers are no test's.
fn machine(test: &str) -> String {
    test.replace('_', "-")
}

/// Measures when the peer joins, and again when it comes back.
async fn twice(world: &World, client: &Namespace, found: Found) -> Result<()> {
    let mut peer = world.join(client).await?;
    settles(&peer, found).await?;
    peer.again(client)?;
    settles(&peer, found).await
}

/// Waits until the peer says this of itself.
async fn settles(peer: &Peer, found: Found) -> Result<()> {
    let settled = eventually("the grade", SOON, async || {
        let status = peer.status()?;
        is(&report(&status)?, found)
    });
    settled.await.with_context(|| last_words(peer))
}

/// The end of what a peer has printed.
fn last_words(peer: &Peer) -> String {
    let output = peer.output();
    let lines: Vec<&str> = output.lines().collect();
    let last = lines.len().saturating_sub(LAST_LINES);
    let end = lines.get(last..).unwrap_or_default().join("\n");
    format!("{} printed at last:\n{end}", peer.name())
}

fn is(report: &Report, found: Found) -> Result<()> {
    let seen = (report.grade, report.nat_type, report.evidence.as_slice());
    ensure!(
        seen == (found.grade, found.nat, found.evidence),
        "expected {found:?}, got {report:?}"
    );
    Ok(())
}

fn report(status: &Value) -> Result<Report> {
    let report = status.get("reachability").context("nothing is measured")?;
    Ok(serde_json::from_value(report.clone())?)
}

/// A cable is pulled somewhere on the way, and put back.
pub(crate) async fn a_restored_network_has_its_grade_back(world: &World) -> Result<()> {
    let before = found!(C PortRestricted: FilteringPort MappingSame PortPreserved);
    let site = restorable(&world.internet)?;
    let peer = world.join(&site.client).await?;
    settles(&peer, before).await?;
    site.set(Nat::Offline)?;
    settles(&peer, found!(F Unknown: NothingAnswers)).await?;
    site.set(Nat::PortRestricted)?;
    settles(&peer, before).await
}

/// The client's cable is moved from one router to another, behind which the grade is another one. That takes a few
/// round trips, where nobody waits until a connection is found dead or a period is over.
pub(crate) async fn a_new_network_has_its_grade_at_once(world: &World) -> Result<()> {
    let mut took = Vec::new();
    // A machine that stands still in that moment says nothing.
    for from in ["moved", "movedmore", "movedlast"] {
        let all = moved(world, from).await?;
        println!("the new grade was there after {all:?}");
        if all < AT_ONCE {
            return Ok(());
        }
        took.push(all);
    }
    bail!("it took {took:?}")
}

/// How long the grade takes after a move.
async fn moved(world: &World, name: &str) -> Result<Duration> {
    let to = format!("{name}-to");
    let [first, second] = [(name, Nat::PortRestricted), (&to, Nat::Symmetric)]
        .map(|(name, nat)| Site::new(name, &world.internet, V4, nat));
    let (first, second) = (first?, second?);
    let peer = world.join(&first.client).await?;
    let before = found!(C PortRestricted: FilteringPort MappingSame PortPreserved);
    settles(&peer, before).await?;
    first.move_client(&second)?;
    let moved = Instant::now();
    settles(&peer, found!(D Symmetric: MappingDiffers)).await?;
    Ok(moved.elapsed())
}

/// A machine whose pods or containers have addresses of 100.64.0.0/10 is not behind a carrier.
pub(crate) async fn a_pod_range_is_no_carrier(world: &World) -> Result<()> {
    let site = Site::new("podrange", &world.internet, V4, Nat::PortRestricted)?;
    site.client.ip("link add cni0 type bridge\n\
         addr add 100.64.9.1/24 dev cni0\n\
         link set cni0 up")?;
    let found = found!(C PortRestricted: FilteringPort MappingSame PortPreserved);
    twice(world, &site.client, found).await
}

/// A router that tells its outside address to whoever asks behind it (NAT-PMP).
fn tells_its_address(site: &Site) -> Result<Program> {
    let path = env!("CARGO_BIN_EXE_peerup-test-nat-pmp");
    let (inside, outside) = (site.gateway.to_string(), site.line.v4.to_string());
    Program::helper_on(&site.router, path, &[&inside, &outside])
}

/// A carrier that keeps ports looks like a router at home, but the router at home says which address it has been given.
pub(crate) async fn a_router_tells_of_the_carrier_behind_it(world: &World) -> Result<()> {
    let carrier = Carrier::new(&world.internet, Translation::PortKept)?;
    let site = Site::new("told", &carrier, V4, Nat::PortRestricted)?;
    let _router = tells_its_address(&site)?;
    let found = found!(D PortRestricted: CgnatGatewayAddress MappingSame PortPreserved);
    twice(world, &site.client, found).await
}

/// A router whose outside address is in the Internet tells nothing that is not known.
pub(crate) async fn a_router_in_the_internet_is_no_carrier(world: &World) -> Result<()> {
    let site = Site::new("told-no", &world.internet, V4, Nat::PortRestricted)?;
    let _router = tells_its_address(&site)?;
    let found = found!(C PortRestricted: FilteringPort MappingSame PortPreserved);
    twice(world, &site.client, found).await
}

fn restorable(internet: &Internet) -> Result<Site> {
    Site::new("restored", internet, V4, Nat::PortRestricted)
}
