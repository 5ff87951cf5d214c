//! What this machine says about its own addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Any address beyond the own networks (TEST-NET-1): nothing is sent there.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The same of IPv6 (documentation).
const ELSEWHERE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// Any port (discard): nothing is sent there either.
const PORT: u16 = 9;

/// Addresses of all interfaces but loopback.
pub(super) fn interfaces() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => {
            let real = interfaces
                .into_iter()
                .filter(|interface| !interface.is_loopback());
            real.map(|interface| interface.ip()).collect()
        }
        Err(error) => {
            tracing::warn!(%error, "interfaces can't be read");
            Vec::new()
        }
    }
}

/// The address from which the default route starts: what a socket that is connected elsewhere is bound to.
pub(crate) fn route() -> Option<IpAddr> {
    source(ELSEWHERE)
}

/// The addresses from which the default routes of both IP versions start.
pub(crate) fn routes() -> Vec<IpAddr> {
    let sources = [ELSEWHERE, ELSEWHERE_V6].map(source);
    sources.into_iter().flatten().collect()
}

/// The address from which packets to `remote` would leave; nothing without a route.
pub(crate) fn source(remote: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match remote {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((remote, PORT)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_no_interface() {
        assert!(interfaces().iter().all(|ip| !ip.is_loopback()));
        assert!(route().is_none_or(|ip| !ip.is_unspecified()));
        let home = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(source(home), Some(home));
    }
}
