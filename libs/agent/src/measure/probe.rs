//! The sockets under the pure prober: resolves the relays' STUN services, sends and receives for it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use peerup_protocol::grade::Scope;
use peerup_protocol::stun::MAX_MESSAGE;
use peerup_reachability::prober::{LocalPorts, MAX_SERVERS};
use peerup_reachability::{Measurement, Output, Prober, Server, World};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::{Instant, sleep, timeout};

use crate::address::{self, StunHost};
use crate::session::Session;

/// Longest time for the DNS of all servers.
const RESOLVE: Duration = Duration::from_secs(2);

/// One socket an IP version, as far as the machine has it.
struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

/// Asks the relays' STUN services once.
pub(super) async fn run(session: &Session, world: &World) -> io::Result<Measurement> {
    let servers = timeout(RESOLVE, resolve(hosts(session, world)))
        .await
        .unwrap_or_default();
    let sockets = Sockets::open().await?;
    let started = Instant::now();
    let mut prober = Prober::new(
        world,
        &servers,
        sockets.ports(),
        rand::random,
        Duration::ZERO,
    );
    loop {
        match prober.poll_output(started.elapsed()) {
            Output::Done(measurement) => return Ok(measurement),
            Output::Send { to, datagram } => sockets.send(to, &datagram).await,
            Output::Wait(until) => tokio::select! {
                () = sleep(until.saturating_sub(started.elapsed())) => (),
                (from, datagram) = sockets.receive() => prober.handle_input(from, &datagram),
            },
        }
    }
}

/// One host a relay: a pod in scope Internal asks inside, where nothing is translated on the way; all others ask
/// outside.
fn hosts(session: &Session, world: &World) -> Vec<StunHost> {
    let inside = session.is_pod() && world.scope == Scope::Internal;
    let mut hosts = Vec::new();
    for relay in session.membership().all_relays() {
        hosts.extend(address::stun(&relay.addresses, inside));
    }
    hosts.truncate(MAX_SERVERS);
    hosts
}

async fn resolve(hosts: Vec<StunHost>) -> Vec<Server> {
    let mut servers = Vec::new();
    for host in hosts {
        let found: Vec<SocketAddr> = match lookup_host((host.host.as_str(), host.primary)).await {
            Ok(found) => found.collect(),
            Err(error) => {
                tracing::debug!(host = host.host, %error, "STUN service is not found");
                continue;
            }
        };
        let v4 = found.iter().find(|address| address.is_ipv4());
        let v6 = found.iter().find(|address| address.is_ipv6());
        servers.extend([v4, v6].into_iter().flatten().map(|&primary| {
            Server {
                primary,
                alternate: host
                    .alternate
                    .map(|port| SocketAddr::new(primary.ip(), port)),
            }
        }));
    }
    servers
}

impl Sockets {
    /// At least one of both.
    async fn open() -> io::Result<Self> {
        let v4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await;
        let v6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await;
        match (v4, v6) {
            (Err(error), Err(_)) => Err(error),
            (v4, v6) => Ok(Self {
                v4: v4.ok(),
                v6: v6.ok(),
            }),
        }
    }

    fn ports(&self) -> LocalPorts {
        let port = |socket: &Option<UdpSocket>| Some(socket.as_ref()?.local_addr().ok()?.port());
        LocalPorts {
            v4: port(&self.v4),
            v6: port(&self.v6),
        }
    }

    /// What can't be sent is not answered, which says enough.
    async fn send(&self, to: SocketAddr, datagram: &[u8]) {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        if let Some(socket) = socket
            && let Err(error) = socket.send_to(datagram, to).await
        {
            tracing::debug!(%to, %error, "STUN request is not sent");
        }
    }

    async fn receive(&self) -> (SocketAddr, Vec<u8>) {
        tokio::select! {
            received = receive(self.v4.as_ref()) => received,
            received = receive(self.v6.as_ref()) => received,
        }
    }
}

async fn receive(socket: Option<&UdpSocket>) -> (SocketAddr, Vec<u8>) {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        // An ICMP error of an earlier datagram comes out here; what is missing is asked again.
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                buffer.truncate(length);
                return (from, buffer);
            }
            Err(error) => tracing::debug!(%error, "STUN socket"),
        }
    }
}
