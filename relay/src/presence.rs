//! Tells the operator who is online here, every 10 s and soon after a change, and learns this relay's outside
//! addresses.

use std::sync::Arc;
use std::time::Duration;

use peerup_node::{Node, NodeError};
use peerup_operator_client::RelayClient;
use peerup_protocol::api::PresenceRequest;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::addresses::Addresses;

/// Between two calls when nothing changes.
const PERIOD: Duration = Duration::from_secs(10);
/// Between a change and the call, so that a burst of changes makes one.
const DEBOUNCE: Duration = Duration::from_millis(500);
/// A body may have 64 KiB; a PeerId takes 55 bytes of it.
const MAX_ONLINE: usize = 1150;

/// Calls until `stop`; `changed` is notified when somebody comes or goes.
pub(crate) async fn tell(
    node: Node,
    operator: RelayClient,
    addresses: Arc<Addresses>,
    changed: Arc<Notify>,
    stop: CancellationToken,
) {
    loop {
        let next = Instant::now() + PERIOD;
        tokio::select! {
            told = tell_once(&node, &operator, &addresses, next) => if told.is_err() { return },
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = changed.notified() => tokio::time::sleep(DEBOUNCE).await,
            () = stop.cancelled() => return,
        }
    }
}

async fn tell_once(
    node: &Node,
    operator: &RelayClient,
    addresses: &Addresses,
    deadline: Instant,
) -> Result<(), NodeError> {
    let snapshot = node.snapshot().await?;
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
    match operator.presence(&request, deadline).await {
        Ok(answer) => {
            for address in answer.addresses {
                addresses.add(node, address).await;
            }
        }
        Err(error) => tracing::warn!(%error, "presence not told"),
    }
    Ok(())
}
