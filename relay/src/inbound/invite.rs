//! Members that invite register here, so that their guests get a circuit through this relay.

use std::sync::PoisonError;
use std::time::Duration;

use futures::AsyncWriteExt;
use peerup_node::io::{FrameError, read_frame, write_frame};
use peerup_node::{PeerId, Stream};
use peerup_protocol::frame::{InviteAnswer, InviteRegistration, MAX_FRAME};
use tokio::time::Instant;

use super::Inbound;
use crate::clock;

pub(super) async fn serve(inbound: &Inbound, peer: PeerId, mut stream: Stream) {
    if let Err(error) = answer(inbound, peer, &mut stream).await {
        tracing::debug!(%peer, %error, "invite not registered");
    }
}

async fn answer(inbound: &Inbound, peer: PeerId, stream: &mut Stream) -> Result<(), FrameError> {
    let body = read_frame(stream, MAX_FRAME).await?;
    let Ok(registration) = InviteRegistration::decode(&body) else {
        return Ok(());
    };
    let answer = register(inbound, peer, registration).await;
    write_frame(stream, &answer.encode()).await?;
    Ok(stream.close().await?)
}

/// What is registered holds at the node before the inviter hears of it.
async fn register(
    inbound: &Inbound,
    peer: PeerId,
    registration: InviteRegistration,
) -> InviteAnswer {
    let now = clock::now();
    let has_guests = inbound.network.roster().allows_guests();
    if !has_guests || !inbound.network.is_admitted(&peer).await {
        return InviteAnswer::Refused;
    }
    let (answer, until) = {
        let mut invites = inbound
            .invites
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let answer = invites.register(peer, registration, now);
        (answer, invites.until(&peer, now))
    };
    let left = until.map(|until| Duration::from_secs(until.saturating_sub(now)));
    let until = left.map(|left| Instant::now() + left);
    inbound.node.invite(peer, until).await;
    answer
}
