//! Services between whole agents, through the relay.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use peerup_agent::status::Badge;
use peerup_agent::{Handle, PeerError, ServiceLimits, ServicesError};
use peerup_protocol::grade::Path as Way;
use peerup_protocol::id::PeerName;
use peerup_protocol::record::Flags;
use peerup_protocol::service::{Expose, Forward, ServiceName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Peer;
use super::pair::Pair;
use super::programs;
use super::relay::Network;
use super::wait::{in_time, until};

async fn world() -> Pair {
    limited(ServiceLimits::default(), ServiceLimits::default()).await
}

/// The server is a pod.
async fn limited(at_laptop: ServiceLimits, at_server: ServiceLimits) -> Pair {
    let network = Network::new(3600);
    network.vouch("web-0", "local/shop/web/web-0");
    Pair::limited(network, "web-0", [at_laptop, at_server]).await
}

impl Pair {
    fn client(&self) -> Handle {
        self.laptop.agent.handle()
    }

    async fn expose(&self, service: &str, port: u16) {
        let text = format!("{service}={port}");
        let expose: Expose = text.parse().unwrap();
        self.server.agent.handle().expose(expose).await.unwrap();
    }

    /// A local port of the laptop that leads there.
    async fn forward(&self, to: &str) -> SocketAddr {
        let mut forward: Forward = format!("1={to}").parse().unwrap();
        forward.port = 0;
        self.client().forward(forward).await.unwrap()
    }

    /// Forwards a port that the kernel gives to nobody by itself, so that it can be had again.
    async fn forward_for_good(&self, to: &str) -> SocketAddr {
        for port in 19_100..19_200 {
            let forward = format!("{port}={to}").parse().unwrap();
            if let Ok(at) = self.client().forward(forward).await {
                return at;
            }
        }
        panic!("no port is free");
    }

    /// Connects to the port, sees its connection break and gives what the forward says.
    async fn refused(&self, at: SocketAddr) -> String {
        programs::refused(at).await;
        let list = self.client().services();
        let port = list.forwards.iter().find(|f| f.forward.port == at.port());
        port.unwrap().last_failure.clone().unwrap()
    }

    /// Waits until the server carries so many connections of its first service.
    async fn until_carried(&self, connections: usize) {
        let server = self.server.agent.handle();
        until("connections that are carried", async || {
            server.services().exposed[0].connections == connections
        })
        .await;
    }

    fn metric(&self, peer: &Peer, line: &str) {
        let text = peer.metrics.text(&peer.board.status()).unwrap();
        assert!(text.lines().any(|has| has == line), "{line} in\n{text}");
    }
}

/// A connection to an echo that is carried.
async fn held(at: SocketAddr) -> TcpStream {
    let mut open = programs::connect(at).await;
    open.write_all(b"x").await.unwrap();
    open.read_exact(&mut [0]).await.unwrap();
    open
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_reaches_a_service_by_its_peers_name_or_its_workload() {
    let world = world().await;
    world.expose("echo", programs::echo().await).await;
    world.expose("count", programs::count().await).await;
    let (echo, count) = (
        world.forward("echo@web-0").await,
        world.forward("count@shop/web").await,
    );
    assert_eq!(programs::talk(echo, b"hello").await, b"hello");
    let million: Vec<u8> = (0..1 << 20).map(|n| (n * 31 % 251) as u8).collect();
    assert!(programs::talk(echo, &million).await == million);
    // The answer comes after this side's end.
    assert_eq!(programs::talk(count, &million).await, b"1048576 bytes");

    world.metric(
        &world.laptop,
        "peerup_service_connections{result=\"accepted\",service=\"echo\"} 2",
    );
    world.metric(
        &world.server,
        "peerup_service_connections{result=\"accepted\",service=\"echo\"} 2",
    );
    for (peer, direction) in [(&world.laptop, "sent"), (&world.server, "received")] {
        let line = format!(
            "peerup_service_bytes_total{{direction=\"{direction}\",service=\"count\"}} 1048576"
        );
        world.metric(peer, &line);
    }
    let status = world.server.board.status();
    let exposed: Vec<_> = status
        .services
        .exposed
        .iter()
        .map(|e| e.service.as_str())
        .collect();
    assert_eq!(exposed, ["count", "echo"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_said_and_breaks_the_apps_connection() {
    let world = world().await;
    let cases = [
        (
            "none@web-0",
            "no_such_service",
            "web-0: the peer exposes no service of this name",
        ),
        (
            "dead@web-0",
            "unavailable",
            "web-0: the program behind the service does not answer",
        ),
        (
            "dead@web-1",
            "no_peer",
            "no live member is web-1; see the members in peerup status",
        ),
        (
            "dead@shop/db",
            "no_peer",
            "no live member is shop/db; see the members in peerup status",
        ),
    ];
    world.expose("dead", programs::nobody().await).await;
    for (to, result, says) in cases {
        let at = world.forward(to).await;
        assert_eq!(world.refused(at).await, says);
        let service = to.split('@').next().unwrap();
        world.metric(
            &world.laptop,
            &format!(
                "peerup_service_connections{{result=\"{result}\",service=\"{service}\"}} {}",
                if to == "dead@shop/db" { 2 } else { 1 }
            ),
        );
    }
    world.metric(
        &world.server,
        "peerup_service_connections{result=\"unavailable\",service=\"dead\"} 1",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_both_sides_are_kept() {
    let default = ServiceLimits::default();
    let at_server = ServiceLimits {
        per_peer: 1,
        idle: Some(Duration::from_secs(3)),
        ..default
    };
    let world = limited(
        ServiceLimits {
            total: 2,
            ..default
        },
        at_server,
    )
    .await;
    world.expose("echo", programs::echo().await).await;
    let at = world.forward("echo@web-0").await;
    let mut held = held(at).await;
    let busy = "web-0: the peer carries as many connections as it may; try again later";
    assert_eq!(world.refused(at).await, busy);
    // Without a byte for a while it is reset, and there is room again.
    programs::broken(&mut held).await;
    world.until_carried(0).await;
    assert_eq!(programs::talk(at, b"room").await, b"room");

    let world = limited(
        ServiceLimits {
            total: 1,
            ..default
        },
        default,
    )
    .await;
    world.expose("echo", programs::echo().await).await;
    let at = world.forward("echo@web-0").await;
    let _held = self::held(at).await;
    let full = "too many connections are carried at once";
    assert_eq!(world.refused(at).await, full);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_ends() {
    let world = world().await;
    let echo = programs::echo().await;
    world.expose("echo", echo).await;
    let at = world.forward_for_good("echo@web-0").await;
    let mut open = held(at).await;
    let service = ServiceName::parse("echo").unwrap();
    let server = world.server.agent.handle();
    assert!(server.unexpose(&service).await.unwrap());
    assert!(!server.unexpose(&service).await.unwrap());
    programs::broken(&mut open).await;
    world.refused(at).await;

    // The same port elsewhere is refused, the same forward again is the same.
    let client = world.client();
    let same: Forward = format!("{}=echo@web-0", at.port()).parse().unwrap();
    assert_eq!(client.forward(same.clone()).await.unwrap(), at);
    let other = Forward {
        service: ServiceName::parse("ssh").unwrap(),
        ..same.clone()
    };
    let refused = client.forward(other).await.unwrap_err();
    assert!(
        matches!(refused, ServicesError::Forwarded { .. }),
        "{refused}"
    );
    world.expose("echo", echo).await;
    let mut open = held(at).await;
    assert!(client.unforward(at.port()));
    programs::broken(&mut open).await;
    assert_eq!(
        client.forward(same).await.unwrap(),
        at,
        "the port is free again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_peer_loses_its_connections() {
    let world = world().await;
    world.expose("echo", programs::echo().await).await;
    let at = world.forward("echo@web-0").await;
    let mut open = held(at).await;
    world.network.revoke(&world.laptop.id);
    programs::broken(&mut open).await;
    programs::refused(at).await;
}

/// It must not take what has come by then for everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_sees_a_break_when_the_membership_of_its_peer_ends() {
    let world = world().await;
    let (port, ended) = programs::reader().await;
    world.expose("upload", port).await;
    let at = world.forward("upload@web-0").await;
    let mut open = programs::connect(at).await;
    open.write_all(b"a part").await.unwrap();
    world.until_carried(1).await;
    world.network.revoke(&world.server.id);
    let ended = in_time("the program's end", ended).await.unwrap();
    let error = ended.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_verification_is_required_a_code_is_not_enough() {
    let world = world().await;
    world.network.switch(Flags {
        verification_required: true,
        ..Flags::default()
    });
    world.expose("echo", programs::echo().await).await;
    let at = world.forward("echo@web-0").await;
    // The laptop trusts the attested server, but not the other way round.
    let says = "web-0: the network allows services between verified peers only; run peerup verify";
    // The first connections may come before the new rules.
    until("the new rules", async || !programs::carried(at).await).await;
    assert_eq!(world.refused(at).await, says);

    super::verify::compare(&world.laptop, "web-0", &world.server, "laptop").await;
    assert_eq!(programs::talk(at, b"verified").await, b"verified");
}

/// As when a relay keeps revocations back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_news_of_revocations_there_is_no_service_where_the_network_wants_that() {
    let world = world().await;
    world.expose("echo", programs::echo().await).await;
    let at = world.forward("echo@web-0").await;
    assert_eq!(programs::talk(at, b"fresh").await, b"fresh");
    world.network.silence.store(1000, Relaxed);
    world.network.switch(Flags {
        stale_refused: true,
        ..Flags::default()
    });
    until("stale lists", async || !programs::carried(at).await).await;
    let said = world.refused(at).await;
    assert!(said.contains("(peers.staleRevocations)"), "{said}");
    for peer in [&world.laptop, &world.server] {
        let shown = peer.board.status().membership.unwrap();
        let age = jiff::Timestamp::now().duration_since(shown.revocations_time.unwrap());
        assert!(age.as_secs() >= 1000, "{age}");
    }
    world.network.silence.store(0, Relaxed);
    world.network.switch(Flags {
        stale_refused: true,
        ..Flags::default()
    });
    until("news", async || programs::carried(at).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_nobody_verified_is_not_sent_anything() {
    let world = world().await;
    let flags = Flags {
        verification_required: true,
        ..Flags::default()
    };
    world.network.switch(flags);
    // The server's app calls the laptop, which has a code only: its own side refuses.
    let port = programs::echo().await;
    let expose: Expose = format!("echo={port}").parse().unwrap();
    world.laptop.agent.handle().expose(expose).await.unwrap();
    let server = world.server.agent.handle();
    let mut forward: Forward = "1=echo@laptop".parse().unwrap();
    forward.port = 0;
    let at = server.forward(forward).await.unwrap();
    let says = "laptop: the network allows services between verified peers only; run peerup verify";
    until("the new rules", async || !programs::carried(at).await).await;
    let list = server.services();
    assert_eq!(list.forwards[0].last_failure.as_deref(), Some(says));
    // Nothing arrived there: the server is attested, the laptop would have accepted it.
    let text = world.laptop.metrics.text(&world.laptop.board.status());
    assert!(
        !text.unwrap().contains("result=\"verification_required\""),
        "the laptop was asked"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ping_and_trace_find_the_way() {
    let world = world().await;
    let client = world.client();
    let server = PeerName::parse("web-0").unwrap();
    let pong = client.ping(&server).await.unwrap();
    assert_eq!(
        (pong.peer_id, pong.path, pong.badge),
        (world.server.id, Way::Relayed, Badge::Unverified)
    );
    assert!(pong.address.contains("/p2p-circuit"), "{}", pong.address);
    let hops = client.trace(&server).await.unwrap();
    let seen: Vec<_> = hops
        .iter()
        .map(|hop| (hop.relay, hop.name.as_str(), hop.peer_id, hop.badge))
        .collect();
    assert_eq!(
        seen,
        [
            (true, "relay-0", world.network.relay_id(), None),
            (false, "web-0", world.server.id, Some(Badge::Unverified)),
        ]
    );
    assert!(hops.iter().all(|hop| hop.rtt.is_some()), "{hops:?}");
    let observed = |hop: usize| hops[hop].observed.clone().unwrap();
    assert!(
        observed(0).starts_with("/ip4/127.0.0.1/"),
        "{}",
        observed(0)
    );
    assert!(
        observed(1).ends_with(&format!("/p2p-circuit/p2p/{}", world.laptop.id)),
        "{}",
        observed(1)
    );

    let unknown = client.ping(&PeerName::parse("nobody").unwrap()).await;
    assert!(matches!(unknown, Err(PeerError::Unknown(_))), "{unknown:?}");
    let own = client.ping(&PeerName::parse("laptop").unwrap()).await;
    assert!(matches!(own, Err(PeerError::Own(_))), "{own:?}");
    super::verify::compare(&world.laptop, "web-0", &world.server, "laptop").await;
    assert_eq!(client.ping(&server).await.unwrap().badge, Badge::Verified);
    let hops = client.trace(&server).await.unwrap();
    assert_eq!(hops[1].badge, Some(Badge::Verified));
}
