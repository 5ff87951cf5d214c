//! A client behind a router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::internet::{Line, Uplink, Version, routed};
use super::namespace::Namespace;
use super::nat::{Between, Nat};

/// A client behind a router, both namespaces of their own.
#[derive(Debug)]
pub struct Site {
    /// The client's machine; its device is `eth0`.
    pub client: Namespace,
    /// The router; its devices are `wan` and `lan`.
    pub router: Namespace,
    /// Where the router is plugged in.
    pub line: Line,
    /// The client's address.
    pub address: IpAddr,
    version: Version,
}

impl Site {
    /// Builds one whose client knows one version of IP only.
    pub fn new(name: &str, uplink: &dyn Uplink, version: Version, nat: Nat) -> Result<Self> {
        let router = Namespace::new(format!("{name}-router"))?;
        let client = Namespace::new(format!("{name}-client"))?;
        router.forward()?;
        let line = uplink.plug(&router, "wan")?;
        let (own, address, length) = if nat.translates() {
            private(line.number, version)
        } else {
            routed(line.number, version)
        };
        let link = client.name();
        router.ip(&format!(
            "link add lan type veth peer name eth0 netns {link}\n\
             addr add {own}/{length} dev lan{nodad}\n\
             link set lan up",
            nodad = nodad(own)
        ))?;
        client.ip(&format!(
            "addr add {address}/{length} dev eth0{nodad}\n\
             link set eth0 up\n\
             route add default via {own}",
            nodad = nodad(address)
        ))?;
        let site = Self {
            client,
            router,
            line,
            address,
            version,
        };
        site.set(nat)?;
        Ok(site)
    }

    /// The address that the Internet sees.
    pub fn outside(&self) -> Result<IpAddr> {
        self.line.address(self.version)
    }

    /// Gives the router other rules. Connections that it knows stay known, as far as they still pass.
    pub fn set(&self, nat: Nat) -> Result<()> {
        let wan = self.outside()?;
        let client = self.address;
        self.router
            .nft(&nat.rules(self.version, Between { wan, client }))
    }
}

/// Router, client and prefix length of a network that nobody else knows.
fn private(number: u8, version: Version) -> (IpAddr, IpAddr, u8) {
    match version {
        Version::V4 => {
            let host = |last| Ipv4Addr::new(10, 0, number, last).into();
            (host(1), host(2), 24)
        }
        Version::V6 => {
            let host = |last| Ipv6Addr::new(0xfd00, 0, number.into(), 0, 0, 0, 0, last).into();
            (host(1), host(2), 64)
        }
    }
}

/// Addresses of IPv6 may be used at once.
fn nodad(address: IpAddr) -> &'static str {
    if address.is_ipv6() { " nodad" } else { "" }
}
