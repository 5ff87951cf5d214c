//! What a session shows of its connections and members.

use std::convert::Infallible;
use std::time::Duration;

use peerup_node::Snapshot;
use peerup_protocol::grade::Path;
use peerup_protocol::record::MemberRecord;
use peerup_reachability::pair::{Side, why_relayed};

use super::Session;
use crate::status::{self, Badge, Role, Verification};

/// Pause between two looks at the connections.
const SHOW: Duration = Duration::from_millis(200);

impl Session {
    /// Shows connections and members whenever they change; changes in quick succession are shown as one.
    pub(crate) async fn keep_shown(&self) -> Infallible {
        let mut surroundings = self.surroundings.subscribe();
        surroundings.mark_changed();
        loop {
            if surroundings.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Ok(snapshot) = self.node.snapshot().await {
                self.show(&snapshot);
            }
            tokio::time::sleep(SHOW).await;
        }
    }

    fn show(&self, snapshot: &Snapshot) {
        let known = self.everybody();
        let relays = self.all_relays();
        let others: Vec<_> = snapshot
            .members
            .iter()
            .filter(|(peer, _)| !relays.contains(peer))
            .collect();
        let direct = others.iter().filter(|(_, direct)| *direct).count();
        let report = self.board.status().reachability;
        let own = report.as_ref().map(Side::from);
        let peers: Vec<_> = known
            .iter()
            .map(|(role, record)| {
                let through = self.through(&record.peer, &relays);
                let badge = self.badge(&record.peer);
                let mut peer = peer_status(*role, record, badge, snapshot, through);
                let sides = own.zip(self.direct.side(&record.peer));
                let sides = sides.filter(|_| peer.path == Path::Relayed);
                peer.relayed_reason = sides.map(|(own, other)| why_relayed(&own, &other));
                peer
            })
            .collect();
        self.board.update(|status| {
            for relay in &mut status.relays {
                relay.reserved = snapshot
                    .reservations
                    .iter()
                    .any(|peer| peer.to_string() == relay.peer_id);
            }
            status.direct_connections = direct;
            status.relayed_connections = others.len() - direct;
            status.path = match (direct, snapshot.reservations.len()) {
                (0, 0) => Path::None,
                (0, 1..) => Path::Relayed,
                (1.., _) => Path::Direct,
            };
            status.peers = peers;
        });
    }
}

/// `through` is the relay that carries a circuit to it.
fn peer_status(
    role: Role,
    record: &MemberRecord,
    badge: Badge,
    snapshot: &Snapshot,
    through: Option<usize>,
) -> status::Peer {
    let connected = snapshot
        .members
        .iter()
        .find(|(peer, _)| *peer == record.peer);
    let path = match connected {
        Some((_, true)) => Path::Direct,
        Some((_, false)) => Path::Relayed,
        None => Path::None,
    };
    status::Peer {
        name: record.name.to_string(),
        peer_id: record.peer.to_string(),
        role,
        subject: record.subject.clone(),
        verification: match badge {
            Badge::Verified => Verification::Sas,
            Badge::Unverified => Verification::of(record.method),
        },
        badge,
        path,
        relay: through.filter(|_| path == Path::Relayed),
        relayed_reason: None,
    }
}
