//! Tells the operator who is online here, every 10 s and soon after a change, and learns this relay's outside
//! addresses and limits.

use std::sync::Arc;
use std::time::Duration;

use peerup_node::{Node, NodeError, RelayLimits};
use peerup_operator_client::RelayClient;
use peerup_protocol::api::{PresenceAnswer, PresenceRequest};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::addresses::Addresses;
use crate::egress::Egress;
use crate::limits;
use crate::metrics::Metrics;

/// Between two calls when nothing changes.
const PERIOD: Duration = Duration::from_secs(10);
/// Between a change and the call, so that a burst of changes makes one.
const DEBOUNCE: Duration = Duration::from_millis(500);
/// A body may have 64 KiB; a PeerId takes 55 bytes of it.
const MAX_ONLINE: usize = 1150;

/// What is told, to whom, and what was learnt.
#[derive(Debug)]
pub(crate) struct Presence {
    pub(crate) node: Node,
    pub(crate) operator: RelayClient,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) egress: Arc<Egress>,
    pub(crate) metrics: Metrics,
    /// The limits that the node has now.
    pub(crate) limits: RelayLimits,
}

impl Presence {
    /// Calls until `stop`; `changed` is notified when somebody comes or goes.
    pub(crate) async fn tell(mut self, changed: Arc<Notify>, stop: CancellationToken) {
        loop {
            let next = Instant::now() + PERIOD;
            tokio::select! {
                told = self.tell_once(next) => if told.is_err() { return },
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = changed.notified() => tokio::time::sleep(DEBOUNCE).await,
                () = stop.cancelled() => return,
            }
        }
    }

    async fn tell_once(&mut self, deadline: Instant) -> Result<(), NodeError> {
        let snapshot = self.node.snapshot().await?;
        if snapshot.members.len() > MAX_ONLINE {
            tracing::warn!(
                online = snapshot.members.len(),
                told = MAX_ONLINE,
                "too many to tell"
            );
        }
        let online = snapshot.members.iter().take(MAX_ONLINE);
        let request = PresenceRequest {
            online: online.map(|(peer, _)| *peer).collect(),
            reservations: u32::try_from(snapshot.reservations.len()).unwrap_or(u32::MAX),
        };
        match self.operator.presence(&request, deadline).await {
            Ok(answer) => self.learn(answer).await,
            Err(error) => tracing::warn!(%error, "presence not told"),
        }
        Ok(())
    }

    async fn learn(&mut self, answer: PresenceAnswer) {
        self.egress.tell(&answer.addresses);
        for address in answer.addresses {
            self.addresses.add(&self.node, address).await;
        }
        let limits = limits::of_answer(&answer.limits);
        if limits != self.limits {
            tracing::info!(
                ?limits,
                "limits; those of time and bytes hold for circuits of connections that begin from now on"
            );
            self.node.limit(limits.clone()).await;
            self.metrics.limit(&limits);
            self.limits = limits;
        }
    }
}
