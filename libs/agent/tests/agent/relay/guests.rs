//! What the relay does for guests: takes invites of members, and serves whoever shows a member's grant.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::AsyncWriteExt;
use peerup_node::io::{read_frame, write_frame};
use peerup_node::{Node, PeerId, Stream, member};
use peerup_pairing::membership::{Refusal, RelayView, check_at_relay};
use peerup_protocol::UnixTime;
use peerup_protocol::frame::{InviteAnswer, InviteRegistration, MAX_FRAME};
use peerup_protocol::id::GroupId;
use peerup_protocol::record::{GuestGrant, Revocations, Signed};
use tokio::time::Instant;

use super::{Network, now};

#[derive(Default)]
pub(super) struct Hosting {
    invites: BTreeMap<(PeerId, GroupId), UnixTime>,
    served: BTreeMap<PeerId, GuestGrant>,
}

impl Network {
    pub(super) fn check_guest(
        &self,
        peer: &PeerId,
        grant: &Signed,
    ) -> Result<member::Standing, Refusal> {
        let revoked = Revocations::decode(&self.revocations().signed.bytes).unwrap();
        let mut book = self.book.lock().unwrap();
        let view = RelayView {
            net: &self.net(),
            guests_allowed: book.flags.guests,
            revocations: Some(&revoked),
            served: &book.hosting.served,
        };
        let is_member = |sponsor: &PeerId| book.records.contains_key(sponsor);
        let grant = check_at_relay(view, grant, peer, is_member, now())?;
        book.hosting.served.insert(*peer, grant);
        Ok(member::Standing::Guest)
    }

    /// The guests that the relay serves.
    pub(crate) fn guests(&self) -> Vec<PeerId> {
        let book = self.book.lock().unwrap();
        book.hosting.served.keys().copied().collect()
    }
}

pub(super) async fn invite(network: &Network, node: &Node, peer: PeerId, mut stream: Stream) {
    let frame = read_frame(&mut stream, MAX_FRAME).await.unwrap();
    let InviteRegistration { group, until } = InviteRegistration::decode(&frame).unwrap();
    let answer = if network.book.lock().unwrap().flags.guests {
        let last = {
            let invites = &mut network.book.lock().unwrap().hosting.invites;
            invites.insert((peer, group), until);
            let of_peer = invites.iter().filter(|((other, _), _)| *other == peer);
            of_peer.map(|(_, until)| *until).max().unwrap()
        };
        let left = Duration::from_secs(last.saturating_sub(now()));
        let until = (!left.is_zero()).then(|| Instant::now() + left);
        node.invite(peer, until).await;
        InviteAnswer::Registered
    } else {
        InviteAnswer::Refused
    };
    write_frame(&mut stream, &answer.encode()).await.unwrap();
    stream.close().await.unwrap();
}
