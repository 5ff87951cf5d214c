//! News of the kernel (rtnetlink(7)), read as far as it matters here: headers, and the attributes that tell one thing
//! from another (pure, total).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const DEL_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
const DEL_ROUTE: u16 = 25;

const UNSPECIFIED: u8 = 0;
const INET: u8 = 2;
const INET6: u8 = 10;

/// `ARPHRD_LOOPBACK`.
const LOOPBACK: u16 = 772;
/// `IFF_UP` and `IFF_RUNNING`.
const LINK_STATE: u32 = 0x1 | 0x40;
/// `IFA_F_DEPRECATED`, `IFA_F_DADFAILED`, `IFA_F_TENTATIVE`: whether it can be used, and should be.
const ADDRESS_STATE: u32 = 0x20 | 0x08 | 0x40;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;

/// Unicast, blackhole, unreachable, prohibited; the others follow from addresses.
const ROUTE_KINDS: [u8; 4] = [1, 6, 7, 8];
/// The table of what is delivered here.
const LOCAL_TABLE: u8 = 255;
/// `RTM_F_CLONED`: what the kernel has learned of one destination.
const CLONED: u32 = 0x200;
const RTA_DST: u16 = 1;
/// Destination, interface, gateway, priority, several next hops, table, gateway of the other version, next hop object.
const ROUTE_IDENTITY: [u16; 8] = [RTA_DST, 4, 5, 6, 9, 15, 18, 30];
/// Bytes of a route's identity; what goes beyond does not tell it from another.
const MAX_IDENTITY: usize = 256;

/// Something that the kernel tells about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    /// An interface, by its index.
    Link(u32),
    /// An address of an interface.
    Address(u32, IpAddr),
    /// A route: what it is for and where it leads.
    Route(Vec<u8>),
}

/// What is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// Of what.
    pub(super) thing: Thing,
    /// Its state; nothing when it is gone.
    pub(super) state: Option<u32>,
}

/// What a datagram tells; what is none of links, addresses and routes that matter is left out.
pub(super) fn changes(datagram: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut rest = datagram;
    while let Some((kind, body, after)) = split(rest) {
        changes.extend(change(kind, body));
        rest = after;
    }
    changes
}

/// The first message: its kind, its body, what comes after it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let kind = u16_at(bytes, 4)?;
    let body = bytes.get(16..length)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, after))
}

fn change(kind: u16, body: &[u8]) -> Option<Change> {
    let (thing, state) = match kind {
        NEW_LINK | DEL_LINK => link(body)?,
        NEW_ADDRESS | DEL_ADDRESS => address(body)?,
        NEW_ROUTE | DEL_ROUTE => route(body)?,
        _ => return None,
    };
    let is_gone = matches!(kind, DEL_LINK | DEL_ADDRESS | DEL_ROUTE);
    Some(Change {
        thing,
        state: (!is_gone).then_some(state),
    })
}

fn link(body: &[u8]) -> Option<(Thing, u32)> {
    let (family, layer) = (*body.first()?, u16_at(body, 2)?);
    let (index, flags) = (u32_at(body, 4)?, u32_at(body, 8)?);
    // A bridge tells of its ports in the same words.
    let matters = family == UNSPECIFIED && layer != LOOPBACK;
    matters.then_some((Thing::Link(index), flags & LINK_STATE))
}

fn address(body: &[u8]) -> Option<(Thing, u32)> {
    let (family, index) = (*body.first()?, u32_at(body, 4)?);
    let mut flags = u32::from(*body.get(2)?);
    let (mut address, mut local) = (None, None);
    for (kind, value) in Attributes(body.get(8..)?) {
        match kind {
            IFA_ADDRESS => address = ip(family, value),
            IFA_LOCAL => local = ip(family, value),
            IFA_FLAGS => flags = u32_at(value, 0)?,
            _ => (),
        }
    }
    // At a link between two, the other one's is the address.
    let own = local.or(address)?;
    (!is_near(own)).then_some((Thing::Address(index, own), flags & ADDRESS_STATE))
}

fn route(body: &[u8]) -> Option<(Thing, u32)> {
    let head = body.get(..12)?;
    let (family, flags) = (*head.first()?, u32_at(body, 8)?);
    let (table, kind) = (*head.get(4)?, *head.get(7)?);
    if ![INET, INET6].contains(&family)
        || table == LOCAL_TABLE
        || !ROUTE_KINDS.contains(&kind)
        || flags & CLONED != 0
    {
        return None;
    }
    // Family, lengths of both prefixes, service, table; what protocol told it does not matter.
    let mut identity = [head.get(..5)?, &[kind]].concat();
    for (kind, value) in Attributes(body.get(12..)?) {
        if kind == RTA_DST && ip(family, value).is_some_and(is_near) {
            return None;
        }
        if ROUTE_IDENTITY.contains(&kind) {
            identity.extend(kind.to_ne_bytes());
            identity.extend(value);
        }
    }
    identity.truncate(MAX_IDENTITY);
    Some((Thing::Route(identity), 0))
}

/// Never leaves its link, or this machine.
fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_multicast() || ip.is_unicast_link_local(),
    }
}

fn ip(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

/// Kind and value, one after the other; ends where there is no whole one.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        /// Flags in the kind: nested, in network byte order.
        const FLAGS: u16 = 0xC000;
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & !FLAGS;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests;
