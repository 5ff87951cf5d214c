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
    /// The router's address on the client's side.
    pub gateway: IpAddr,
    /// Length of the prefix of both.
    length: u8,
    version: Version,
}

impl Site {
    /// Builds one whose client knows one version of IP only.
    pub fn new(name: &str, uplink: &dyn Uplink, version: Version, nat: Nat) -> Result<Self> {
        let router = Namespace::new(format!("{name}-router"))?;
        let client = Namespace::new(format!("{name}-client"))?;
        router.forward()?;
        let line = uplink.plug(&router, "wan")?;
        let (gateway, address, length) = if nat.translates() {
            private(line.number, version)
        } else {
            routed(line.number, version)
        };
        let link = client.name();
        router.ip(&format!(
            "link add lan type veth peer name eth0 netns {link}\n\
             addr add {gateway}/{length} dev lan{nodad}\n\
             link set lan up",
            nodad = nodad(gateway)
        ))?;
        let site = Self {
            client,
            router,
            line,
            address,
            gateway,
            length,
            version,
        };
        site.set(nat)?;
        site.connect(&site.client, "eth0")?;
        Ok(site)
    }

    /// Gives a machine the client's address and its way, over this device.
    fn connect(&self, machine: &Namespace, device: &str) -> Result<()> {
        let (address, length, nodad) = (self.address, self.length, nodad(self.address));
        machine.ip(&format!(
            "addr add {address}/{length} dev {device}{nodad}\n\
             link set {device} up\n\
             route add default via {}",
            self.gateway
        ))
    }

    /// Plugs this site's client into the router of the other site, in place of that one's own client.
    pub fn move_client(&self, to: &Site) -> Result<()> {
        let name = self.client.name();
        to.client.ip(&format!(
            "link set eth0 down\nlink set eth0 netns {name} name eth1"
        ))?;
        self.client.ip("link set eth0 down")?;
        to.connect(&self.client, "eth1")
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
