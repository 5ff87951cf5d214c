//! Streams of strangers on `invite`: the handshake, and what an inviter decides in it.

use std::sync::Arc;

use peerup_node::pair::{self, Ends, Host, InviteVerdict};
use peerup_node::{PeerId, Stream};
use peerup_pairing::invite::Lookup;
use peerup_protocol::api::RefusalReason;
use peerup_protocol::frame::{GuestRequest, GuestResponse};
use peerup_protocol::id::{GroupId, Slot};

use super::{Stranger, open};
use crate::session::Session;

/// Serves one stranger to its end. Its connection is good for nothing else.
pub(crate) async fn serve(session: Arc<Session>, mut stream: Stream) {
    let (peer, connection) = (stream.peer(), stream.connection());
    let (net, namespace) = {
        let membership = session.membership();
        (membership.net(), membership.namespace().clone())
    };
    let ends = Ends {
        net,
        namespace,
        responder: session.me(),
        joiner: peer,
    };
    let enter = |pool| session.node.enter(connection, pool);
    let verdict = pair::accept_invite(&mut stream, &ends, &Door(&session), enter).await;
    drop(stream);
    session.node.close_connection(connection).await;
    match verdict {
        InviteVerdict::Invited(_) => tracing::info!(%peer, "a guest was let in"),
        InviteVerdict::Failed(reason) => {
            tracing::info!(%peer, %reason, "an invite was not redeemed")
        }
        InviteVerdict::Busy => tracing::debug!(%peer, "a stranger said nothing"),
    }
    // It may have closed an invite, one way or the other.
    open::apply(&session).await;
}

struct Door<'a>(&'a Arc<Session>);

impl Host for Door<'_> {
    fn lookup(&self, group: &GroupId, slot: Slot) -> Lookup {
        self.0.hosting.lookup(group, slot)
    }

    /// In a task of its own: what was begun is stored, or taken back, whether or not the stranger still waits.
    async fn redeem(
        &self,
        group: GroupId,
        slot: Slot,
        guest: PeerId,
        request: GuestRequest,
    ) -> Result<GuestResponse, RefusalReason> {
        let session = Arc::clone(self.0);
        if !session.membership().allows_guests() {
            return Err(RefusalReason::Unavailable);
        }
        let redeemed = tokio::spawn(async move {
            let stranger = Stranger {
                group,
                slot,
                peer: guest,
                request,
            };
            let taken = session.names();
            let grant = session.hosting.redeem(stranger, &taken).await?;
            let inviter = session.membership().record().name.clone();
            Ok(GuestResponse { inviter, grant })
        });
        redeemed.await.unwrap_or(Err(RefusalReason::Unavailable))
    }

    fn failed(&self, group: &GroupId, reason: RefusalReason) {
        self.0.hosting.failed(group, reason);
    }
}
