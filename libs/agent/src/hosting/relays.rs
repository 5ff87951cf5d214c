//! What relays know of this peer's open invites: told when one opens, and to each relay that is connected again.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use peerup_node::{PeerId, Protocol};
use peerup_protocol::UnixTime;
use peerup_protocol::frame::{InviteAnswer, InviteRegistration};
use peerup_protocol::id::GroupId;
use tokio::time::timeout;

use crate::session::Session;
use crate::session::exchange::{self, ExchangeError, SHORT};

/// Longest time for one registration.
const REGISTER: Duration = Duration::from_secs(5);
/// Pause before a relay is asked again that has not taken an invite.
const AGAIN: Duration = Duration::from_secs(5);
/// An end that takes an invite back.
const OVER: UnixTime = 0;

#[derive(Debug, thiserror::Error)]
enum RegisterError {
    #[error(transparent)]
    Exchange(ExchangeError),
    #[error("no answer in time")]
    TimedOut,
}

/// Keeps one relay informed for as long as it is connected: what waits is registered, what no longer does is taken
/// back.
pub(crate) async fn keep_registered(session: &Session, relay: PeerId) -> Infallible {
    let mut changed = session.hosting.watch();
    let mut told: BTreeMap<GroupId, UnixTime> = BTreeMap::new();
    loop {
        changed.mark_unchanged();
        let waiting = session.hosting.waiting();
        for (group, until) in &waiting {
            if told.get(group) != Some(until)
                && register(session, relay, *group, *until).await == Some(InviteAnswer::Registered)
            {
                told.insert(*group, *until);
            }
        }
        let over: Vec<_> = told
            .keys()
            .filter(|group| !waiting.contains_key(group))
            .copied()
            .collect();
        for group in over {
            told.remove(&group);
            register(session, relay, group, OVER).await;
        }
        let is_known = waiting.keys().all(|group| told.contains_key(group));
        tokio::select! {
            next = changed.changed() => if next.is_err() {
                std::future::pending::<()>().await;
            },
            () = tokio::time::sleep(AGAIN), if !is_known => (),
        }
    }
}

/// What the relay says, if it says anything.
pub(super) async fn register(
    session: &Session,
    relay: PeerId,
    group: GroupId,
    until: UnixTime,
) -> Option<InviteAnswer> {
    let question = InviteRegistration { group, until }.encode();
    let asked = timeout(REGISTER, async {
        let opened = session.node.open(relay, Protocol::Invite).await;
        let asked = exchange::ask(opened, &question, SHORT, InviteAnswer::decode);
        asked.await.map_err(RegisterError::Exchange)
    });
    let answer = asked.await.unwrap_or(Err(RegisterError::TimedOut));
    answer
        .inspect_err(|error| tracing::info!(%relay, %error, "an invite is not registered"))
        .ok()
}
