//! The sockets under the pure prober: resolves the relays' STUN services, sends and receives for it. As soon as the
//! first round is over, those who answered are asked for filtering probes beside the second.

mod filtering;
mod relay;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures::future::join_all;
use peerup_node::{PeerId, names};
use peerup_protocol::grade::{IpVersion, Scope};
use peerup_protocol::stun::MAX_MESSAGE;
use peerup_reachability::prober::{Answer, LocalPorts, MAX_SERVERS, Seen};
use peerup_reachability::{Measurement, Output, Prober, Server, World};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::address::{self, StunHost};
use crate::session::Session;

/// Longest time for the DNS of a server.
const RESOLVE: Duration = Duration::from_secs(2);

/// One socket an IP version, as far as the machine has it.
struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

/// Measures once: mapping and filtering of both IP versions.
pub(super) async fn run(
    session: &Session,
    world: &World,
    stun_servers: &[String],
) -> io::Result<Measurement> {
    let inside = session.is_pod() && world.scope == Scope::Internal;
    let relays = resolve(hosts(session, inside), inside);
    // Inside, nobody else knows more than the relays.
    let foreign = others(if inside { &[] } else { stun_servers });
    let (relays, foreign) = tokio::join!(relays, foreign);
    let servers = [relays, foreign].concat();
    let (sockets, others) = (Sockets::open().await?, Sockets::open().await?);
    let (sender, first) = oneshot::channel();
    let (mut measurement, lanes) = tokio::join!(
        mapping(world, &servers, [&sockets, &others], sender),
        filtering::both(session, inside, &servers, first)
    );
    for (version, filtering, agree) in lanes {
        let seen = half(&mut measurement, version);
        (seen.filtering, seen.filtering_differs) = (filtering, !agree);
    }
    Ok(measurement)
}

fn half(measurement: &mut Measurement, version: IpVersion) -> &mut Seen {
    match version {
        IpVersion::V4 => &mut measurement.v4,
        IpVersion::V6 => &mut measurement.v6,
    }
}

/// Asks the STUN services twice from the first sockets; `first` hears who answered the first time.
async fn mapping(
    world: &World,
    servers: &[Server],
    [sockets, others]: [&Sockets; 2],
    first: oneshot::Sender<Vec<Answer>>,
) -> Measurement {
    let mut first = Some(first);
    let started = Instant::now();
    let mut prober = Prober::new(
        world,
        servers,
        sockets.ports(),
        rand::random,
        Duration::ZERO,
    );
    loop {
        let output = prober.poll_output(started.elapsed());
        if let Some(answers) = prober.first_answers()
            && let Some(first) = first.take()
        {
            // Nobody waits when there is nothing to ask.
            let _ = first.send(answers);
        }
        match output {
            Output::Done(measurement) => return measurement,
            Output::Send { to, datagram } => {
                if !sockets.send(to, &datagram).await {
                    prober.handle_no_route(to);
                }
            }
            Output::Hairpin { to, datagram } => {
                others.send(to, &datagram).await;
            }
            Output::Wait(until) => tokio::select! {
                () = sleep(until.saturating_sub(started.elapsed())) => (),
                (from, datagram) = sockets.receive() => prober.handle_input(from, &datagram),
            },
        }
    }
}

/// The hosts of each relay: a pod in scope Internal asks inside, where nothing is translated on the way; all others ask
/// outside.
fn hosts(session: &Session, inside: bool) -> Vec<(PeerId, StunHost)> {
    let mut hosts = Vec::new();
    for relay in session.membership().all_relays() {
        let of_relay = address::stun(&relay.addresses, inside);
        hosts.extend(of_relay.into_iter().map(|host| (relay.peer, host)));
    }
    // Each may have one of each IP version, and a name.
    hosts.truncate(3 * MAX_SERVERS);
    hosts
}

async fn resolve(hosts: Vec<(PeerId, StunHost)>, own: bool) -> Vec<Server> {
    let found = hosts.into_iter().map(async |(relay, host)| {
        let found = look_up(&format_host(&host.host, host.primary)).await;
        let server = |primary: SocketAddr| Server {
            relay: Some(relay),
            primary,
            alternate: host
                .alternate
                .map(|port| SocketAddr::new(primary.ip(), port)),
            own,
        };
        found.into_iter().map(server).collect::<Vec<_>>()
    });
    join_all(found).await.concat()
}

/// STUN servers of others, which can be asked for mapping only.
async fn others(names: &[String]) -> Vec<Server> {
    let names = names.iter().take(MAX_SERVERS);
    let found = join_all(names.map(|name| look_up(name))).await;
    let server = |primary| Server {
        relay: None,
        primary,
        alternate: None,
        own: false,
    };
    found.into_iter().flatten().map(server).collect()
}

/// One address of each IP version for `host:port`; nothing if they are not found in time, which is each name's own: one
/// that is slow says nothing of the others.
async fn look_up(name: &str) -> Vec<SocketAddr> {
    let found = names::find(name, RESOLVE).await;
    let found = found.inspect_err(|error| tracing::debug!(name, %error, "STUN is not found"));
    let found = found.unwrap_or_default();
    let v4 = found.iter().find(|address| address.is_ipv4());
    let v6 = found.iter().find(|address| address.is_ipv6());
    [v4, v6].into_iter().flatten().copied().collect()
}

fn format_host(host: &str, port: u16) -> String {
    match host.parse() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
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

    /// False when this machine knows no way to there. What can't be sent for another reason is not answered, which
    /// says enough.
    async fn send(&self, to: SocketAddr, datagram: &[u8]) -> bool {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        let Some(socket) = socket else {
            return false;
        };
        let Err(error) = socket.send_to(datagram, to).await else {
            return true;
        };
        tracing::debug!(%to, %error, "STUN request is not sent");
        error.kind() != io::ErrorKind::NetworkUnreachable
    }

    async fn receive(&self) -> (SocketAddr, Vec<u8>) {
        tokio::select! {
            received = receive(self.v4.as_ref()) => received,
            received = receive(self.v6.as_ref()) => received,
        }
    }
}

/// The next datagram; never one without a socket.
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
