//! Names in addresses, which the system looks up anew for each dial. What libp2p offers for this asks the name servers
//! of the moment at which a node started: a laptop that has moved to another network would ask those of the former.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures::future::join_all;
use libp2p::multiaddr::Protocol as Part;
use peerup_protocol::Multiaddr;
use tokio::{
    net::{ToSocketAddrs, lookup_host},
    time::timeout,
};

/// Longest time for one name.
const PATIENCE: Duration = Duration::from_secs(5);
/// Addresses of one name that are of use.
const MAX: usize = 4;

/// What the system finds for a host and port within `patience`.
///
/// # Errors
/// When the name is not found, or not in time.
pub async fn find(at: impl ToSocketAddrs, patience: Duration) -> io::Result<Vec<SocketAddr>> {
    let found = timeout(patience, lookup_host(at)).await;
    let found = found.unwrap_or_else(|late| Err(late.into()))?;
    Ok(found.collect())
}

/// The addresses with IP addresses in place of names; those whose name is not found are left out.
pub(crate) async fn look_up(addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let names: BTreeSet<String> = addresses.iter().filter_map(name).collect();
    if names.is_empty() {
        return addresses;
    }
    let found = names.into_iter().map(async |name| {
        let found = find((name.as_str(), 0), PATIENCE).await;
        let found = found.inspect_err(|error| tracing::debug!(name, %error, "name is not found"));
        let ips: Vec<IpAddr> = found.into_iter().flatten().map(|at| at.ip()).collect();
        (name, ips)
    });
    let found = join_all(found).await.into_iter().collect();
    let resolved = addresses
        .iter()
        .flat_map(|address| resolve(address, &found));
    resolved.collect()
}

/// The name that an address begins with.
pub(crate) fn name(address: &Multiaddr) -> Option<String> {
    match address.iter().next() {
        Some(Part::Dns(name) | Part::Dns4(name) | Part::Dns6(name)) => Some(name.into_owned()),
        _ => None,
    }
}

fn resolve(address: &Multiaddr, found: &BTreeMap<String, Vec<IpAddr>>) -> Vec<Multiaddr> {
    let Some(ips) = name(address).map(|name| found.get(&name)) else {
        return vec![address.clone()];
    };
    let of_version = |ip: &&IpAddr| match address.iter().next() {
        Some(Part::Dns4(_)) => ip.is_ipv4(),
        Some(Part::Dns6(_)) => ip.is_ipv6(),
        _ => true,
    };
    let ips = ips.into_iter().flatten().filter(of_version).take(MAX);
    ips.filter_map(|ip| address.replace(0, |_| Some((*ip).into())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(address: &str) -> Vec<String> {
        let ips = ["192.0.2.1", "2001:db8::1", "192.0.2.2"];
        let ips = ips.map(|ip| ip.parse().unwrap()).to_vec();
        let found = BTreeMap::from([("a.example".to_owned(), ips)]);
        let resolved = resolve(&address.parse().unwrap(), &found);
        resolved.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_name_becomes_its_addresses_of_the_version() {
        let circuit = "p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit";
        for (address, expected) in [
            (
                "/dns4/a.example/udp/1/quic-v1",
                vec![
                    "/ip4/192.0.2.1/udp/1/quic-v1",
                    "/ip4/192.0.2.2/udp/1/quic-v1",
                ],
            ),
            ("/dns6/a.example/tcp/1", vec!["/ip6/2001:db8::1/tcp/1"]),
            ("/dns4/b.example/tcp/1", vec![]),
            ("/ip4/192.0.2.9/tcp/1", vec!["/ip4/192.0.2.9/tcp/1"]),
        ] {
            assert_eq!(resolved(address), expected);
            let through = |address: &str| format!("{address}/{circuit}");
            let expected: Vec<_> = expected.into_iter().map(through).collect();
            assert_eq!(resolved(&through(address)), expected);
        }
        let both = resolved("/dns/a.example/tcp/1");
        assert_eq!(both.len(), 3);
    }

    #[tokio::test]
    async fn the_system_knows_this_machine() {
        let named = "/dns4/localhost/tcp/1".parse().unwrap();
        let other = "/ip4/192.0.2.9/tcp/1".parse().unwrap();
        let expected: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        assert_eq!(
            look_up(vec![named, Multiaddr::clone(&other)]).await,
            [expected, other]
        );
    }
}
