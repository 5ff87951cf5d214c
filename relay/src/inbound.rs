//! Streams that peers open at this relay, one task each. How many there are is bounded by the node (streams of a
//! peer, connections, strangers).

mod invite;
mod probe;
mod report;
mod roster;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use peerup_node::member::{self, MemberError, Membership, Presented, Standing};
use peerup_node::pair::{self, Ends, Verdict};
use peerup_node::path::{self, PathError};
use peerup_node::probation::Refused;
use peerup_node::{ConnectionId, Node, PeerId, Protocol, Stream};
use peerup_operator_client::{CallError, RelayClient};
use peerup_pairing::membership::Refusal;
use peerup_protocol::api::RenewRequest;
use peerup_protocol::id::DhtNamespace;
use peerup_protocol::record::Signed;
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant};

use crate::invites::Invites;
use crate::metrics::Metrics;
use crate::network::Network;
use crate::pairing::OperatorDesk;
use crate::probing::Probing;

/// Longest wait for a renewal; a member exchange has 12 s in all.
const RENEW: Duration = Duration::from_secs(10);
/// HTTP status of an operator that will never renew again.
const GONE: u16 = 410;
/// Reports on their way to the operator at once; further ones are refused, their peers report again.
const MAX_REPORTS: usize = 64;

/// Where a stream comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) peer: PeerId,
    pub(crate) connection: ConnectionId,
    /// The peer's address; `None` through another relay.
    pub(crate) source: Option<IpAddr>,
}

/// A membership is over: its Peer is revoked, gone, or never joined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Over;

/// What the streams' tasks share.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) node: Node,
    pub(crate) namespace: DhtNamespace,
    pub(crate) network: Arc<Network>,
    pub(crate) operator: RelayClient,
    desk: OperatorDesk,
    probing: Probing,
    pub(crate) metrics: Metrics,
    invites: Mutex<Invites>,
    reports: Semaphore,
}

impl Inbound {
    pub(crate) fn new(
        node: Node,
        namespace: DhtNamespace,
        network: Arc<Network>,
        operator: RelayClient,
        desk: OperatorDesk,
        probing: Probing,
        metrics: Metrics,
    ) -> Self {
        Self {
            node,
            namespace,
            network,
            operator,
            desk,
            probing,
            metrics,
            invites: Mutex::default(),
            reports: Semaphore::new(MAX_REPORTS),
        }
    }

    /// Serves one stream to its end.
    pub(crate) async fn serve(&self, from: Caller, protocol: Protocol, mut stream: Stream) {
        let Caller {
            peer, connection, ..
        } = from;
        match protocol {
            Protocol::Member => self.member(peer, connection, &mut stream).await,
            Protocol::Pair => self.pair(from, &mut stream).await,
            Protocol::Invite => invite::serve(self, peer, stream).await,
            Protocol::Roster => roster::serve(self, peer, stream).await,
            Protocol::Report => report::serve(self, peer, stream).await,
            Protocol::Probe => probe::serve(self, from, stream).await,
            Protocol::Ping => answered(peer, path::answer_pings(&mut stream).await),
            Protocol::Trace => answered(peer, path::answer_trace(&mut stream).await),
            // A relay offers none of them.
            Protocol::Verify | Protocol::Direct | Protocol::Service(_) => (),
        }
    }

    async fn member(&self, peer: PeerId, connection: ConnectionId, stream: &mut Stream) {
        let Some(presented) = self.network.roster().presented() else {
            tracing::debug!(%peer, "no network document yet, connection closed");
            self.node.close_connection(connection).await;
            return;
        };
        let shown = Shown {
            network: &self.network,
            presented,
        };
        match member::serve(&self.node, stream, peer, connection, &shown).await {
            Ok(Standing::Admitted | Standing::Guest) => self.network.settle(peer).await,
            Ok(Standing::Renewing) => self.renew_late(peer, stream).await,
            Err(error) => {
                tracing::debug!(%peer, %error, "member exchange failed");
                if matches!(error, MemberError::Refused(_)) {
                    self.network.settle(peer).await;
                }
                self.node.close_connection(connection).await;
            }
        }
    }

    /// A member whose record has ended gets a new one, if the operator gives one, and dials again. Without a word of the
    /// operator it gets no answer, and asks again.
    async fn renew_late(&self, peer: PeerId, stream: &mut Stream) {
        let Some(renewal) = self.renew(peer).await else {
            return;
        };
        if let Err(error) = member::write_renewal(stream, renewal.ok()).await {
            tracing::debug!(%peer, %error, "renewal not told");
        }
    }

    /// A new record of `peer`, or that its membership is over; nothing when the operator says neither now.
    async fn renew(&self, peer: PeerId) -> Option<Result<Signed, Over>> {
        let request = RenewRequest { peer_id: peer };
        let record = match self.operator.renew(&request, Instant::now() + RENEW).await {
            Ok(answer) => Signed::from(answer),
            Err(CallError::NotFound { .. } | CallError::Refused { status: GONE, .. }) => {
                return Some(Err(Over));
            }
            Err(error) => {
                tracing::warn!(%error, "renew failed");
                return None;
            }
        };
        match self.network.issued(peer, &record).await {
            Ok(()) => Some(Ok(record)),
            Err(error) => {
                tracing::warn!(%error, "the operator's renewed record is not good");
                None
            }
        }
    }

    async fn pair(&self, from: Caller, stream: &mut Stream) {
        let Caller {
            peer,
            connection,
            source,
        } = from;
        let net = self.network.roster().net();
        let ends = Ends {
            net,
            namespace: self.namespace.clone(),
            responder: self.node.peer_id(),
            joiner: peer,
        };
        let enter = |pool| {
            let (node, network) = (self.node.clone(), Arc::clone(&self.network));
            async move {
                match node.enter(connection, pool).await {
                    // A member that has lost its record pairs again, a guest becomes one; they are on no probation.
                    Err(Refused::Unknown) if network.is_known(&peer).await => Ok(()),
                    entered => entered,
                }
            }
        };
        // Whoever gets a record is admitted where the operator's answer comes in.
        let desk = self.desk.window(source);
        let verdict = pair::respond(stream, &ends, &desk, enter, || async {}).await;
        self.metrics.paired(&verdict);
        match verdict {
            Verdict::Joined(_) => tracing::info!("a peer joined"),
            Verdict::Busy => self.node.close_connection(connection).await,
            Verdict::Failed(reason) => {
                tracing::info!(%reason, "pairing failed");
                self.node.close_connection(connection).await;
            }
        }
    }
}

fn answered(peer: PeerId, result: Result<(), PathError>) {
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "not answered");
    }
}

/// The relay in one member exchange: lists were known when it began.
struct Shown<'a> {
    network: &'a Network,
    presented: Presented,
}

impl Membership for Shown<'_> {
    fn presented(&self) -> Presented {
        self.presented.clone()
    }

    fn check(&self, peer: &PeerId, credential: &Signed) -> Result<Standing, Refusal> {
        self.network.present(peer, credential)
    }

    fn learn(&self, revocations: Signed) -> Result<(), Refusal> {
        self.network.learn(revocations)
    }
}
