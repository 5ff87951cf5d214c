//! What this machine says about its own addresses.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// Any address beyond the own networks (TEST-NET-1): nothing is sent there.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

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
pub(super) fn route() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ELSEWHERE).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_no_interface() {
        assert!(interfaces().iter().all(|ip| !ip.is_loopback()));
        assert!(route().is_none_or(|ip| !ip.is_unspecified()));
    }
}
