//! Where a peer listens.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};

use peerup_protocol::Multiaddr;

/// TCP and QUIC on `port` of all addresses, or on ports of the system's choice when another program holds it.
/// IPv6 only where the machine has it.
#[must_use]
pub fn listen_on(port: u16) -> Vec<Multiaddr> {
    let (tcp, udp) = if is_free(port) { (port, port) } else { (0, 0) };
    if (tcp, udp) != (port, port) {
        tracing::info!(port, "port is not free, another one is taken");
    }
    let ipv6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let hosts = [Some("/ip4/0.0.0.0"), ipv6.then_some("/ip6/::")];
    let addresses = hosts.into_iter().flatten().flat_map(|host| {
        [
            format!("{host}/tcp/{tcp}"),
            format!("{host}/udp/{udp}/quic-v1"),
        ]
    });
    addresses
        .filter_map(|address| address.parse().ok())
        .collect()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_left_alone() {
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let addresses: Vec<String> = listen_on(port).iter().map(ToString::to_string).collect();
        assert_eq!(
            addresses[..2],
            ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"]
        );
    }

    #[test]
    fn a_free_port_is_taken_for_both() {
        // ports that the kernel gives to nobody by itself; some other program may hold one of them
        let taken = (19_000..19_100).find(|port| {
            let both = [
                format!("/ip4/0.0.0.0/tcp/{port}"),
                format!("/ip4/0.0.0.0/udp/{port}/quic-v1"),
            ];
            listen_on(*port)
                .iter()
                .map(ToString::to_string)
                .take(2)
                .eq(both)
        });
        assert!(taken.is_some());
    }
}
