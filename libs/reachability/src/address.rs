//! Which addresses count: usable at all, globally routable, in scope.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use peerup_protocol::grade::Scope;

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    length: u8,
}

/// A text that is not a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a range must be an address, a slash and a prefix length, as in 10.0.0.0/8")]
pub struct InvalidCidr;

impl Cidr {
    /// Whether the address is in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => same_prefix(
                net.to_bits().into(),
                ip.to_bits().into(),
                32 - u32::from(self.length),
            ),
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                same_prefix(net.to_bits(), ip.to_bits(), 128 - u32::from(self.length))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Whether the numbers are equal but for their lowest `free` bits.
fn same_prefix(a: u128, b: u128, free: u32) -> bool {
    (a ^ b).checked_shr(free).unwrap_or(0) == 0
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let (address, length) = text.split_once('/').ok_or(InvalidCidr)?;
        let address: IpAddr = address.parse().map_err(|_| InvalidCidr)?;
        let plain = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length = length.parse().ok().filter(|_| plain).ok_or(InvalidCidr)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if length > most {
            Err(InvalidCidr)
        } else {
            Ok(Self { address, length })
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The world in which a peer is graded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// Which addresses count as public.
    pub scope: Scope,
    /// In scope Internal: ranges that count beside the globally routable ones.
    pub internal: Vec<Cidr>,
}

impl World {
    /// Whether an address counts as public.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match self.scope {
            Scope::Internet => is_global(address),
            Scope::Internal => {
                is_global(address) || self.internal.iter().any(|range| range.contains(address))
            }
        }
    }
}

/// Whether an interface's address can be used for anything: not loopback, link-local, multicast, unspecified.
#[must_use]
pub fn is_usable(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            !ip.is_loopback()
                && !ip.is_link_local()
                && !ip.is_multicast()
                && ip.octets()[0] != 0
                && !ip.is_broadcast()
        }
        IpAddr::V6(ip) => {
            !ip.is_loopback()
                && !ip.is_unicast_link_local()
                && !ip.is_multicast()
                && !ip.is_unspecified()
        }
    }
}

/// Whether an address is routed in the whole Internet (IANA special-purpose registries).
#[must_use]
pub fn is_global(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => is_usable(ip.into()) && !is_special_v4(ip),
        IpAddr::V6(ip) => ip.segments()[0] & 0xE000 == 0x2000 && !is_special_v6(ip),
    }
}

/// Whether an address is of the range for carrier-grade NAT, 100.64.0.0/10 (RFC 6598).
#[must_use]
pub fn is_carrier_grade(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.octets()[0] == 100 && ip.octets()[1] & 0xC0 == 64,
        IpAddr::V6(_) => false,
    }
}

fn is_special_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_private()
        || ip.is_documentation()
        || is_carrier_grade(ip.into())
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && b & 0xFE == 18)
        || a >= 240
}

/// Inside 2000::/3: documentation, ORCHID and benchmarks, Teredo, 6to4.
fn is_special_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    (a == 0x2001 && (b == 0x0DB8 || b < 0x0200)) || a == 0x2002 || (a == 0x3FFF && b < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_contain_what_they_say() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("100.64.0.0/10", "100.127.255.255", "100.128.0.0"),
            ("0.0.0.0/0", "203.0.113.1", "2a00::1"),
            ("192.0.2.7/32", "192.0.2.7", "192.0.2.6"),
            ("fc00::/7", "fd12::1", "fe80::1"),
            ("::/0", "2a00::1", "10.0.0.1"),
            ("2a00:1::/32", "2a00:1:ffff::1", "2a00:2::1"),
        ] {
            let range: Cidr = range.parse().unwrap();
            assert!(range.contains(ip(inside)), "{range} {inside}");
            assert!(!range.contains(ip(outside)), "{range} {outside}");
        }
        let mapped: Cidr = "10.0.0.0/8".parse().unwrap();
        assert!(mapped.contains(ip("::ffff:10.1.2.3")));
    }

    #[test]
    fn bad_ranges_are_refused() {
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "a/8",
            "10.0.0.0/8/8",
        ] {
            assert_eq!(bad.parse::<Cidr>(), Err(InvalidCidr), "{bad}");
        }
    }

    #[test]
    fn special_addresses_are_not_global() {
        for global in [
            "8.8.8.8",
            "11.0.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "2a00:1::1",
            "2001:4860::8888",
        ] {
            assert!(is_global(ip(global)), "{global}");
        }
        for special in [
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002::1",
            "3fff::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_global(ip(special)), "{special}");
        }
    }

    #[test]
    fn scope_decides_what_is_public() {
        let internal = vec!["10.0.0.0/8".parse().unwrap()];
        let inside = World {
            scope: Scope::Internal,
            internal: internal.clone(),
        };
        let outside = World {
            scope: Scope::Internet,
            internal,
        };
        assert!(inside.contains(ip("10.1.1.1")) && !outside.contains(ip("10.1.1.1")));
        assert!(inside.contains(ip("8.8.8.8")) && outside.contains(ip("8.8.8.8")));
        assert!(!inside.contains(ip("192.168.1.1")));
    }

    #[test]
    fn loopback_and_link_local_are_no_interface() {
        for useless in [
            "127.0.0.1",
            "::1",
            "169.254.3.4",
            "fe80::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
        ] {
            assert!(!is_usable(ip(useless)), "{useless}");
        }
        assert!(is_usable(ip("10.0.0.1")) && is_usable(ip("fd00::1")));
    }
}
