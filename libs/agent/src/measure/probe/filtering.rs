//! The sockets under the pure lanes of filtering: two of each IP version.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures::future::{join_all, pending};
use peerup_protocol::frame::ProbeAnswer;
use peerup_protocol::grade::{Filtering, IpVersion};
use peerup_reachability::Server;
use peerup_reachability::filtering::{Lane, Output, Plan, combine};
use peerup_reachability::prober::Answer;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::relay::Relays;
use crate::session::Session;

/// Filtering of each IP version over which a relay answered, and whether two runs agreed. `inside` says where the
/// servers are.
pub(super) async fn both(
    session: &Session,
    inside: bool,
    servers: &[Server],
    first: oneshot::Receiver<Vec<Answer>>,
) -> Vec<(IpVersion, Filtering, bool)> {
    let Ok(answers) = first.await else {
        return Vec::new();
    };
    let plans = [IpVersion::V4, IpVersion::V6].map(|version| {
        let of_version = |server: &&Server| server.primary.is_ipv4() == (version == IpVersion::V4);
        let servers: Vec<Server> = servers.iter().filter(of_version).copied().collect();
        Some((version, Plan::new(&servers, &answers)?))
    });
    let relays = Relays::new(session, inside);
    let lanes = plans.into_iter().flatten().map(|(version, plan)| {
        let relays = &relays;
        async move {
            let (one, other) = tokio::join!(
                lane(relays, version, plan.clone()),
                lane(relays, version, plan)
            );
            let (filtering, agree) = combine([one, other]);
            (version, filtering, agree)
        }
    });
    let filtering = join_all(lanes).await;
    relays.close().await;
    filtering
}

/// One run with a socket that nobody has heard of.
async fn lane(relays: &Relays<'_>, version: IpVersion, plan: Plan) -> Filtering {
    let any: SocketAddr = match version {
        IpVersion::V4 => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpVersion::V6 => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    match UdpSocket::bind(any).await {
        Ok(socket) => drive(relays, version, plan, &socket).await,
        Err(error) => {
            tracing::debug!(%error, "filtering is not measured");
            Filtering::Unknown
        }
    }
}

async fn drive(
    relays: &Relays<'_>,
    version: IpVersion,
    plan: Plan,
    socket: &UdpSocket,
) -> Filtering {
    let started = Instant::now();
    let nonces = [rand::random(), rand::random()];
    let mut lane = Lane::new(plan, rand::random(), nonces, Duration::ZERO);
    let mut answer = None;
    loop {
        match lane.poll_output(started.elapsed()) {
            Output::Done(filtering) => return filtering,
            Output::Send { to, datagram } => {
                if let Err(error) = socket.send_to(&datagram, to).await {
                    tracing::debug!(%to, %error, "STUN request is not sent");
                }
            }
            Output::Ask { relay, ask, mapped } => {
                answer = Some(Box::pin(relays.ask(version, relay, ask, mapped.ip())));
            }
            Output::Wait(until) => tokio::select! {
                () = sleep(until.saturating_sub(started.elapsed())) => (),
                (from, datagram) = receive(socket) => lane.handle_input(from, &datagram),
                said = said(&mut answer) => {
                    answer = None;
                    lane.handle_answer(started.elapsed(), said);
                }
            },
        }
    }
}

/// What the relay says that was asked last; nobody says anything when none was.
async fn said(
    answer: &mut Option<impl Future<Output = Option<ProbeAnswer>> + Unpin>,
) -> Option<ProbeAnswer> {
    match answer {
        Some(answer) => answer.await,
        None => pending().await,
    }
}

async fn receive(socket: &UdpSocket) -> (SocketAddr, Vec<u8>) {
    super::receive(Some(socket)).await
}
