//! Watches the ends of records: closes connections of those whose membership ended, renews the own record at two
//! thirds of its life, and says when it has ended for good.

use std::sync::Arc;
use std::time::Duration;

use peerup_node::{PeerId, Protocol, member};
use peerup_pairing::membership::Refusal;
use peerup_protocol::UnixTime;
use peerup_protocol::frame::{RosterAnswer, RosterAsk};
use peerup_protocol::record::{MemberRecord, Signed};

use tokio::sync::watch;

use crate::address;
use crate::backoff::Backoff;
use crate::clock::{LOOK, left, now};
use crate::membership::RelayAt;
use crate::session::Session;
use crate::session::exchange::{self, ExchangeError, LONG};

/// Longest time for a renewal at one relay, dialling included.
const RENEWAL: Duration = Duration::from_secs(20);

/// What the own record asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    /// Nothing until this time.
    Good(UnixTime),
    /// A renewal; it holds until then.
    Renew,
    /// Its time is over, and a relay may still renew it.
    Expired,
    /// It was revoked.
    Revoked,
}

/// What is not renewed, a guest's grant, is good until it ends.
fn judge(record: &MemberRecord, revoked: bool, renewed: bool, now: UnixTime) -> Own {
    let life = record.not_after.saturating_sub(record.issued);
    let due = match renewed {
        true => record.issued.saturating_add(life / 3 * 2),
        false => record.not_after,
    };
    match now {
        _ if revoked => Own::Revoked,
        now if now >= record.not_after => Own::Expired,
        now if now >= due => Own::Renew,
        _ => Own::Good(due),
    }
}

/// Why no relay renewed.
#[derive(Debug, thiserror::Error)]
enum RenewalError {
    #[error("no relay is there")]
    NoRelay,
    #[error("no answer in time")]
    TimedOut,
    #[error(transparent)]
    Connect(#[from] member::ConnectError),
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("the new record is not accepted: {0}")]
    Record(#[from] Refusal),
    #[error("the operator does not renew")]
    Refused,
    #[error("the relay answered something else than a record")]
    Unexpected,
    #[error("the relay answered with the record that is already there")]
    Same,
}

/// Returns when the membership has ended: revoked, expired at an attested peer, or expired and not renewed.
pub(crate) async fn run(session: &Arc<Session>) {
    let mut lists = session.watch_lists();
    let mut admissions = session.watch_admissions();
    let mut backoff = Backoff::default();
    loop {
        lists.mark_unchanged();
        session.sweep().await;
        let own = {
            let membership = session.membership();
            let record = membership.record();
            let revoked = membership.is_revoked(record.serial);
            judge(record, revoked, membership.hosted().is_none(), now())
        };
        let wait = match own {
            Own::Good(due) => until(Some(due)),
            Own::Revoked => return,
            // The operator is asked for a new code instead: it has to look at the pod anyway. A guest needs an invite.
            Own::Expired if session.is_pod() || session.is_guest() => return,
            Own::Renew | Own::Expired => match renew(session, own).await {
                Ok(()) => {
                    backoff.reset();
                    continue;
                }
                Err(RenewalError::Refused) if own == Own::Expired => return,
                Err(error) => {
                    let pause = backoff.after_failure(rand::random());
                    tracing::warn!(%error, ?pause, "record is not renewed yet");
                    pause
                }
            },
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => (),
            () = somebody_ends(session, &mut admissions) => (),
            _ = lists.changed() => (),
        }
    }
}

/// Waits until the first record of all who are admitted has ended, also of those who are admitted meanwhile.
async fn somebody_ends(session: &Session, admissions: &mut watch::Receiver<()>) {
    loop {
        admissions.mark_unchanged();
        tokio::select! {
            () = tokio::time::sleep(until(session.next_end())) => return,
            _ = admissions.changed() => (),
        }
    }
}

/// At least a moment, at most [`LOOK`].
fn until(time: Option<UnixTime>) -> Duration {
    let left = time.map_or(LOOK, left);
    left.clamp(Duration::from_millis(200), LOOK)
}

/// Asks one relay after the other; a refusal of one is the operator's, so it ends the round.
async fn renew(session: &Session, own: Own) -> Result<(), RenewalError> {
    let relays = session.membership().my_relays();
    let mut last = RenewalError::NoRelay;
    for relay in relays {
        let asked = tokio::time::timeout(RENEWAL, ask(session, own, &relay)).await;
        let record = match asked.unwrap_or(Err(RenewalError::TimedOut)) {
            Ok(record) => record,
            Err(RenewalError::Refused) => return Err(RenewalError::Refused),
            Err(error) => {
                last = error;
                continue;
            }
        };
        let newer = session.membership().renew(record, now())?;
        if !newer {
            return Err(RenewalError::Same);
        }
        tracing::info!("record renewed");
        session.lists_changed();
        return Ok(());
    }
    Err(last)
}

async fn ask(session: &Session, own: Own, relay: &RelayAt) -> Result<Signed, RenewalError> {
    match own {
        Own::Expired => {
            let addresses = address::dialable(&relay.addresses, session.is_pod());
            let renewed = member::renew(&session.node, session, relay.peer, addresses).await?;
            renewed.ok_or(RenewalError::Refused)
        }
        Own::Good(_) | Own::Renew | Own::Revoked => ask_connected(session, relay.peer).await,
    }
}

async fn ask_connected(session: &Session, relay: PeerId) -> Result<Signed, RenewalError> {
    let opened = session.node.open(relay, Protocol::Roster).await;
    let question = RosterAsk::Renew.encode();
    match exchange::ask(opened, &question, LONG, RosterAnswer::decode).await? {
        RosterAnswer::Record(record) => Ok(record),
        RosterAnswer::Refused => Err(RenewalError::Refused),
        RosterAnswer::Page(_) | RosterAnswer::Lists { .. } => Err(RenewalError::Unexpected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerup_protocol::SigningKey;
    use peerup_protocol::id::{NetworkId, PeerName, Serial, peer_id};
    use peerup_protocol::record::Method;

    fn record() -> MemberRecord {
        MemberRecord {
            net: NetworkId([1; 16]),
            serial: Serial(1),
            peer: peer_id(&SigningKey::from_bytes(&[2; 32]).verifying_key()),
            name: PeerName::parse("laptop").unwrap(),
            subject: String::new(),
            method: Method::Code,
            issued: 1000,
            not_after: 1000 + 900,
        }
    }

    #[test]
    fn renewed_at_two_thirds_expired_at_the_end() {
        let at = |now| judge(&record(), false, true, now);
        assert_eq!(at(0), Own::Good(1600));
        assert_eq!(at(1599), Own::Good(1600));
        assert_eq!(at(1600), Own::Renew);
        assert_eq!(at(1899), Own::Renew);
        assert_eq!(at(1900), Own::Expired);
    }

    #[test]
    fn revoked_is_revoked_at_any_time() {
        for now in [0, 1700, 2000] {
            assert_eq!(judge(&record(), true, true, now), Own::Revoked);
        }
    }

    #[test]
    fn a_guest_is_good_to_the_end() {
        let at = |now| judge(&record(), false, false, now);
        assert_eq!(at(1899), Own::Good(1900));
        assert_eq!(at(1900), Own::Expired);
    }
}
