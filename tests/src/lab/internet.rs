//! What machines of the lab are plugged into: the Internet, and a carrier that has too few addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result};

use super::namespace::Namespace;

/// Version of the Internet Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Something that gives machines an address and a way.
pub trait Uplink: std::fmt::Debug {
    /// Makes a device of this name in the namespace, with addresses and a default route.
    fn plug(&self, machine: &Namespace, device: &str) -> Result<Line>;
}

/// Where a machine is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Another one for each line of the lab.
    pub number: u8,
    /// The machine's IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

impl Line {
    /// The machine's address of a version.
    pub fn address(&self, version: Version) -> Result<IpAddr> {
        match version {
            Version::V4 => Ok(self.v4.into()),
            Version::V6 => Ok(self.v6.context("no IPv6 on this line")?.into()),
        }
    }
}

/// The middle of the lab: passes on between all its lines, and has no other.
#[derive(Debug)]
pub struct Internet {
    middle: Namespace,
    next: AtomicU8,
}

/// The networks behind a line that the Internet knows a way to: a router may give out their addresses.
pub(super) fn routed(number: u8, version: Version) -> (IpAddr, IpAddr, u8) {
    match version {
        Version::V4 => {
            let host = |last| Ipv4Addr::new(11, 1, number, last).into();
            (host(1), host(2), 24)
        }
        Version::V6 => {
            let host = |last| Ipv6Addr::new(0x2a00, 1, number.into(), 1, 0, 0, 0, last).into();
            (host(1), host(2), 64)
        }
    }
}

impl Internet {
    /// Without any line yet.
    pub fn new() -> Result<Self> {
        let middle = Namespace::new("internet")?;
        middle.forward()?;
        Ok(Self {
            middle,
            next: AtomicU8::new(1),
        })
    }

    fn number(&self) -> Result<u8> {
        let next = |number: u8| number.checked_add(1);
        self.next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .ok()
            .context("all lines of the lab are taken")
    }
}

impl Uplink for Internet {
    fn plug(&self, machine: &Namespace, device: &str) -> Result<Line> {
        let n = self.number()?;
        let name = machine.name();
        let v6 = Ipv6Addr::new(0x2a00, 1, n.into(), 0, 0, 0, 0, 2);
        self.middle.ip(&format!(
            "link add line{n} type veth peer name {device} netns {name}\n\
             addr add 11.0.{n}.1/24 dev line{n}\n\
             addr add 2a00:1:{n:x}::1/64 dev line{n} nodad\n\
             link set line{n} up"
        ))?;
        machine.ip(&format!(
            "addr add 11.0.{n}.2/24 dev {device}\n\
             addr add {v6}/64 dev {device} nodad\n\
             link set {device} up\n\
             route add default via 11.0.{n}.1\n\
             route add default via 2a00:1:{n:x}::1"
        ))?;
        self.middle.ip(&format!(
            "route add 11.1.{n}.0/24 via 11.0.{n}.2\n\
             route add 2a00:1:{n:x}:1::/64 via {v6}"
        ))?;
        Ok(Line {
            number: n,
            v4: Ipv4Addr::new(11, 0, n, 2),
            v6: Some(v6),
        })
    }
}

/// How a carrier translates its customers' addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Translation {
    /// The same port outside, as long as nobody else has it.
    PortKept,
    /// A random port for each destination.
    Random,
}

/// A carrier that gives its customers addresses of 100.64.0.0/10 (RFC 6598), IPv4 only.
#[derive(Debug)]
pub struct Carrier<'a> {
    internet: &'a Internet,
    router: Namespace,
}

impl<'a> Carrier<'a> {
    /// Builds one on a line of the Internet.
    pub fn new(internet: &'a Internet, translation: Translation) -> Result<Self> {
        let router = Namespace::new(format!("carrier-{}", internet.number()?))?;
        router.forward()?;
        internet.plug(&router, "wan")?;
        router.ip("link add customers type bridge\n\
             addr add 100.64.0.1/16 dev customers\n\
             link set customers up")?;
        let masquerade = match translation {
            Translation::PortKept => "masquerade",
            Translation::Random => "masquerade fully-random",
        };
        router.nft(&format!(
            "table inet carrier {{
               chain input {{ type filter hook input priority filter; policy drop;
                 iifname \"customers\" accept; ct state established,related accept;
                 meta l4proto ipv6-icmp accept; }}
               chain forward {{ type filter hook forward priority filter; policy drop;
                 iifname \"customers\" accept; ct state established,related accept; }}
               chain post {{ type nat hook postrouting priority srcnat;
                 oifname \"wan\" ip saddr 100.64.0.0/10 {masquerade}; }}
             }}"
        ))?;
        Ok(Self { internet, router })
    }
}

impl Uplink for Carrier<'_> {
    fn plug(&self, machine: &Namespace, device: &str) -> Result<Line> {
        let n = self.internet.number()?;
        let name = machine.name();
        self.router.ip(&format!(
            "link add customer{n} type veth peer name {device} netns {name}\n\
             link set customer{n} master customers up"
        ))?;
        machine.ip(&format!(
            "addr add 100.64.{n}.2/16 dev {device}\n\
             link set {device} up\n\
             route add default via 100.64.0.1"
        ))?;
        Ok(Line {
            number: n,
            v4: Ipv4Addr::new(100, 64, n, 2),
            v6: None,
        })
    }
}
