//! Where datagrams of this relay leave, as others see it.
//!
//! A filtering probe says something only when it comes from the address at which the asker speaks to this relay. That
//! is so where an outside address is the machine's own (the node's network), and where it is translated one to one:
//! another relay then sees exactly the outside address and ports. Behind load balancers and node ports neither is so.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use multiaddr::Protocol as Part;
use peerup_node::names;
use peerup_protocol::relay_address::{host, is_inside, stun_port};
use peerup_protocol::{Multiaddr, PeerId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::network::Network;
use crate::stun::Stun;

/// Longest time to look up one name.
const LOOKUP: Duration = Duration::from_secs(1);
/// Between two looks when nothing changes.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Most hosts of one relay that are looked at, and most addresses of a name.
const MAX_HOSTS: usize = 8;
/// Most services of other relays that are asked about one address.
const MAX_WITNESSES: usize = 3;

/// From where a datagram is to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// From the address that the system takes.
    Any,
    /// From this address of the machine.
    From(IpAddr),
}

/// An outside address that is also where datagrams come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exit {
    outside: IpAddr,
    leave: Leave,
}

/// A STUN service as it is advertised, primary port first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Service {
    host: IpAddr,
    ports: [u16; 2],
}

/// What the outside addresses are worth.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Known {
    exits: Vec<Exit>,
    /// Whether there are outside addresses of IPv4 and of IPv6; a name may be of either.
    advertised: [bool; 2],
}

/// This relay's outside addresses, and which of them datagrams leave from.
#[derive(Debug, Default)]
pub(crate) struct Egress {
    /// As the operator tells them; nothing before it has.
    outside: watch::Sender<Option<Vec<Multiaddr>>>,
    known: Mutex<Option<Known>>,
}

impl Egress {
    /// These are the outside addresses now.
    pub(crate) fn tell(&self, outside: &[Multiaddr]) {
        self.outside.send_if_modified(|known| {
            let differs = known.as_deref() != Some(outside);
            if differs {
                *known = Some(outside.to_vec());
            }
            differs
        });
    }

    /// From where a datagram leaves that somebody outside, with an address of this version, expects from an address
    /// at which it knows this relay; nothing where it would come from another, or while that is not known.
    pub(crate) fn leave(&self, to: IpAddr) -> Option<Leave> {
        self.known().as_ref()?.leave(to)
    }

    /// Finds out what the outside addresses are worth: when they change, and again and again, until `stop`.
    pub(crate) async fn follow(
        &self,
        me: PeerId,
        network: &Network,
        stun: &Stun,
        stop: CancellationToken,
    ) {
        let mut outside = self.outside.subscribe();
        loop {
            let addresses = outside.borrow_and_update().clone();
            let look = async {
                if let Some(addresses) = &addresses {
                    let others = network.roster().others_addresses(&me);
                    let former = self.known().clone();
                    self.take(find(addresses, &others, stun, former.as_ref()).await);
                }
            };
            tokio::select! {
                () = look => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                _ = outside.changed() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn take(&self, found: Known) {
        let mut known = self.known();
        if known.as_ref() != Some(&found) {
            tracing::info!(exits = ?found.exits, "outside addresses from which probes leave");
            *known = Some(found);
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn leave(&self, to: IpAddr) -> Option<Leave> {
        let is_v4 = to.is_ipv4();
        let exit = self
            .exits
            .iter()
            .find(|exit| exit.outside.is_ipv4() == is_v4);
        let [v4, v6] = self.advertised;
        let is_advertised = if is_v4 { v4 } else { v6 };
        match exit {
            Some(exit) => Some(exit.leave),
            // Who comes over this version knows the relay by its own address.
            None if !is_advertised => Some(Leave::Any),
            None => None,
        }
    }
}

/// Own addresses, and those that other relays see as the source of our datagrams. When none of these answers, what was
/// known before holds.
async fn find(
    outside: &[Multiaddr],
    others: &[Multiaddr],
    stun: &Stun,
    former: Option<&Known>,
) -> Known {
    let services = resolve(outside).await;
    let (mut exits, foreign) = split(&services, &interfaces(), stun.ports());
    if !foreign.is_empty() {
        let witnesses = resolve(others).await;
        for service in foreign {
            let exit = Exit {
                outside: service.host,
                leave: Leave::Any,
            };
            let was_translated = || former.is_some_and(|known| known.exits.contains(&exit));
            let translated = is_translated(service, &witnesses, stun).await;
            if translated.unwrap_or_else(was_translated) {
                exits.push(exit);
            }
        }
    }
    Known {
        exits,
        advertised: advertised(outside),
    }
}

/// Whether another relay sees both ports exactly as they are advertised. The first that answers decides; nothing when
/// none does.
async fn is_translated(service: Service, witnesses: &[Service], stun: &Stun) -> Option<bool> {
    let mut same_version = witnesses.to_vec();
    same_version.retain(|witness| witness.host.is_ipv4() == service.host.is_ipv4());
    for witness in same_version.into_iter().take(MAX_WITNESSES) {
        let [port, _] = witness.ports;
        if let Some(seen) = stun.seen_by(SocketAddr::new(witness.host, port)).await {
            let advertised = service
                .ports
                .map(|port| SocketAddr::new(service.host, port));
            return Some(seen == advertised);
        }
    }
    None
}

/// Exits on the machine's own addresses, where the ports are those that are open, and services at other addresses.
fn split(
    services: &[Service],
    interfaces: &[IpAddr],
    ports: [u16; 2],
) -> (Vec<Exit>, Vec<Service>) {
    let (own, foreign): (Vec<Service>, Vec<Service>) = services
        .iter()
        .partition(|service| interfaces.contains(&service.host));
    let own = own.into_iter().filter(|service| service.ports == ports);
    let exit = |service: Service| Exit {
        outside: service.host,
        leave: Leave::From(service.host),
    };
    (own.map(exit).collect(), foreign)
}

/// Addresses of this machine's interfaces.
fn interfaces() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.iter().map(if_addrs::Interface::ip).collect(),
        Err(error) => {
            tracing::warn!(%error, "interfaces can't be read");
            Vec::new()
        }
    }
}

/// Of which IP versions there are addresses.
fn advertised(outside: &[Multiaddr]) -> [bool; 2] {
    let mut advertised = [false; 2];
    for address in outside {
        let [v4, v6] = match address.iter().next() {
            Some(Part::Ip4(_) | Part::Dns4(_)) => [true, false],
            Some(Part::Ip6(_) | Part::Dns6(_)) => [false, true],
            Some(Part::Dns(_)) => [true, true],
            _ => [false, false],
        };
        advertised = [advertised[0] || v4, advertised[1] || v6];
    }
    advertised
}

/// STUN services among addresses, names looked up; a name that is not found is none.
async fn resolve(addresses: &[Multiaddr]) -> Vec<Service> {
    let mut found = Vec::new();
    for (host, ports) in services(addresses).into_iter().take(MAX_HOSTS) {
        let hosts: Vec<IpAddr> = match host.parse() {
            Ok(ip) => vec![ip],
            Err(_) => {
                let found = names::find((host.as_str(), 0), LOOKUP).await;
                let ips = found.into_iter().flatten();
                ips.map(|at| at.ip().to_canonical())
                    .take(MAX_HOSTS)
                    .collect()
            }
        };
        for host in hosts {
            let service = Service { host, ports };
            if !found.contains(&service) {
                found.push(service);
            }
        }
    }
    found
}

/// Hosts with two plain UDP ports. Names of Services (`….svc.…`) are left out: they lead inside.
fn services(addresses: &[Multiaddr]) -> Vec<(String, [u16; 2])> {
    let mut hosts: Vec<(String, Vec<u16>)> = Vec::new();
    for address in addresses.iter().filter(|address| !is_inside(address)) {
        let (Some((_, host)), Some(port)) = (host(address), stun_port(address)) else {
            continue;
        };
        match hosts.iter_mut().find(|(known, _)| *known == host) {
            Some((_, ports)) => ports.push(port),
            None => hosts.push((host, vec![port])),
        }
    }
    let both = |(host, ports): (String, Vec<u16>)| match ports.as_slice() {
        [primary, alternate, ..] => Some((host, [*primary, *alternate])),
        [_] | [] => None,
    };
    hosts.into_iter().filter_map(both).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::StunPorts;
    use crate::metrics::Metrics;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn service(host: &str, ports: [u16; 2]) -> Service {
        Service {
            host: ip(host),
            ports,
        }
    }

    #[test]
    fn services_are_hosts_with_two_plain_ports() {
        let all = addresses(&[
            "/ip4/11.0.0.1/tcp/4001",
            "/ip4/11.0.0.1/udp/4001/quic-v1",
            "/ip4/11.0.0.1/udp/3478",
            "/ip6/2a00::1/udp/3478",
            "/ip4/11.0.0.1/udp/3479",
            "/ip6/2a00::1/udp/3479",
            "/ip4/11.0.0.2/udp/3478",
            "/dns4/relay.example.org/udp/1",
            "/dns4/relay.example.org/udp/2",
            "/dns4/crew-relay-0.crew-relays.shop.svc.cluster.local/udp/3478",
            "/dns4/crew-relay-0.crew-relays.shop.svc.cluster.local/udp/3479",
        ]);
        let expected = [
            ("11.0.0.1".to_owned(), [3478, 3479]),
            ("2a00::1".to_owned(), [3478, 3479]),
            ("relay.example.org".to_owned(), [1, 2]),
        ];
        assert_eq!(services(&all), expected);
    }

    #[test]
    fn an_exit_is_an_own_address_with_the_ports_that_are_open() {
        let own = service("11.0.0.1", [3478, 3479]);
        let node_port = service("10.1.0.4", [30003, 30004]);
        let balancer = service("11.0.0.9", [3478, 3479]);
        let exit = Exit {
            outside: ip("11.0.0.1"),
            leave: Leave::From(ip("11.0.0.1")),
        };
        assert_eq!(
            split(
                &[own, node_port, balancer],
                &[ip("11.0.0.1"), ip("10.1.0.4")],
                [3478, 3479]
            ),
            (vec![exit], vec![balancer])
        );
    }

    #[test]
    fn a_version_without_an_exit_is_tested_only_where_nothing_is_advertised() {
        let exit = Exit {
            outside: ip("11.0.0.1"),
            leave: Leave::From(ip("11.0.0.1")),
        };
        let (four, six) = (ip("11.0.0.9"), ip("2a00::9"));
        for (exits, outside, expected) in [
            (
                vec![exit],
                &["/ip4/11.0.0.1/udp/1"][..],
                [Some(exit.leave), Some(Leave::Any)],
            ),
            (vec![], &["/ip4/11.0.0.1/tcp/1"], [None, Some(Leave::Any)]),
            (vec![], &["/ip6/2a00::1/tcp/1"], [Some(Leave::Any), None]),
            (vec![], &["/dns/relay.example/tcp/1"], [None, None]),
            (vec![], &[], [Some(Leave::Any); 2]),
        ] {
            let known = Known {
                exits,
                advertised: advertised(&addresses(outside)),
            };
            assert_eq!(
                [known.leave(four), known.leave(six)],
                expected,
                "{outside:?}"
            );
        }
        let egress = Egress::default();
        assert_eq!(
            egress.leave(four),
            None,
            "the operator has not answered yet"
        );
    }

    fn stun() -> Arc<Stun> {
        let ports = StunPorts {
            primary: 0,
            alternate: 0,
        };
        let limits = peerup_node::RelayLimits {
            max_reservations: 1,
            max_circuits: 1,
            circuit_timeout: Duration::ZERO,
            circuit_data_limit: 0,
            probation: peerup_node::ProbationLimits::default(),
        };
        let stun = Arc::new(Stun::bind(ports, Metrics::new(&limits).unwrap()).unwrap());
        let serving = Arc::clone(&stun);
        tokio::spawn(async move { serving.serve(CancellationToken::new()).await });
        stun
    }

    /// 127.0.0.1 stands for what is translated one to one: it is what others see.
    #[tokio::test]
    async fn what_another_relay_sees_exactly_is_an_exit() {
        let (ours, other) = (stun(), stun());
        let witnesses = [service("127.0.0.1", other.ports())];
        let [primary, alternate] = ours.ports();
        for (advertised, expected) in [
            (service("127.0.0.1", [primary, alternate]), true),
            (service("127.0.0.1", [alternate, primary]), false),
            (service("127.0.0.1", [30003, 30004]), false),
            (service("11.0.0.9", [primary, alternate]), false),
        ] {
            let found = is_translated(advertised, &witnesses, &ours).await;
            assert_eq!(found, Some(expected), "{advertised:?}");
        }
        let exact = service("127.0.0.1", ours.ports());
        let found = is_translated(exact, &[], &ours).await;
        assert_eq!(found, None, "nobody has seen it");
    }

    /// The other relay may be away for a moment, which changes nothing here.
    #[tokio::test]
    async fn without_a_witness_what_was_known_holds() {
        let ours = stun();
        let outside = addresses(&["/ip4/11.0.0.9/udp/3478", "/ip4/11.0.0.9/udp/3479"]);
        let exit = Exit {
            outside: ip("11.0.0.9"),
            leave: Leave::Any,
        };
        let other = Exit {
            outside: ip("11.0.0.8"),
            ..exit
        };
        for (former, expected) in [
            (None, vec![]),
            (Some(exit), vec![exit]),
            (Some(other), vec![]),
        ] {
            let known = former.map(|exit| Known {
                exits: vec![exit],
                advertised: [true, false],
            });
            let found = find(&outside, &[], &ours, known.as_ref()).await;
            assert_eq!(found.exits, expected, "{former:?}");
        }
    }
}
