//! Member exchanges with other peers, so that paths are known before anybody needs one. Of two peers the one with
//! the smaller PeerId dials, a bounded number of others, through the relays of the other side.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use peerup_node::PeerId;
use peerup_protocol::record::MemberRecord;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::reach;
use crate::session::Session;

/// Peers that one peer keeps contact with of its own accord.
const MAX_CONTACTS: usize = 8;
/// Dials at once.
const MAX_DIALS: usize = 4;
/// First and longest pause after a failure: a laptop may be away for days.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// Least pause between two rounds.
const ROUND: Duration = Duration::from_secs(1);

/// When to try a peer again.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    failures: u32,
    next: Instant,
}

/// Keeps contact for as long as the session lasts.
pub(crate) async fn run(session: &Arc<Session>) -> Infallible {
    let mut surroundings = session.watch_surroundings();
    let mut dials: JoinSet<(PeerId, bool)> = JoinSet::new();
    let mut attempts: BTreeMap<PeerId, Attempt> = BTreeMap::new();
    let mut was_online = false;
    loop {
        surroundings.mark_unchanged();
        let wanted = wanted(session);
        attempts.retain(|peer, _| wanted.contains(peer));
        let connected = session
            .node
            .snapshot()
            .await
            .map(|snapshot| snapshot.members)
            .unwrap_or_default();
        let is_online = {
            let membership = session.membership();
            connected.iter().any(|(peer, _)| membership.is_relay(peer))
        };
        // What failed while this peer was away says nothing of the others.
        if is_online && !was_online {
            attempts.clear();
        }
        was_online = is_online;
        let now = Instant::now();
        for peer in wanted {
            let waits = attempts
                .get(&peer)
                .is_some_and(|attempt| attempt.next > now);
            let is_connected = connected.iter().any(|(member, _)| *member == peer);
            if waits || is_connected || dials.len() >= MAX_DIALS {
                continue;
            }
            // Not again before the result is there.
            let failures = attempts.get(&peer).map_or(0, |attempt| attempt.failures);
            attempts.insert(
                peer,
                Attempt {
                    failures,
                    next: now + reach::CONNECT + PAUSES.0,
                },
            );
            let session = Arc::clone(session);
            dials.spawn(async move { (peer, contact(&session, peer).await) });
        }
        let coming = attempts
            .values()
            .map(|attempt| attempt.next)
            .filter(|next| *next > now);
        let next = coming.min().unwrap_or(now + PAUSES.1);
        tokio::time::sleep(ROUND).await;
        tokio::select! {
            _ = surroundings.changed() => (),
            Some(Ok((peer, reached))) = dials.join_next() => note(&mut attempts, peer, reached),
            () = tokio::time::sleep_until(next) => (),
        }
    }
}

/// With whom contact is kept.
fn wanted(session: &Session) -> Vec<PeerId> {
    let sponsor = session.membership().sponsor();
    match sponsor {
        // A guest always dials: its sponsor does not know when it is there.
        Some(sponsor) => vec![sponsor.peer],
        None => choose(session.members(), &session.me()),
    }
}

fn note(attempts: &mut BTreeMap<PeerId, Attempt>, peer: PeerId, reached: bool) {
    let former = attempts.get(&peer).map_or(0, |attempt| attempt.failures);
    let failures = if reached { 0 } else { former.saturating_add(1) };
    let pause = PAUSES.0.saturating_mul(1 << failures.min(6)).min(PAUSES.1);
    let jittered = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
    attempts.insert(
        peer,
        Attempt {
            failures,
            next: Instant::now() + jittered,
        },
    );
}

/// The peers with greater PeerIds that follow `me`: spread, since every peer has other ones.
fn choose(members: Vec<MemberRecord>, me: &PeerId) -> Vec<PeerId> {
    let mut greater: Vec<PeerId> = members
        .into_iter()
        .map(|record| record.peer)
        .filter(|peer| peer > me)
        .collect();
    greater.sort_unstable();
    greater.truncate(MAX_CONTACTS);
    greater
}

async fn contact(session: &Session, peer: PeerId) -> bool {
    let reached = reach::connect(session, peer).await;
    reached
        .inspect_err(|error| tracing::debug!(%peer, %error, "peer is not reached"))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use peerup_protocol::SigningKey;
    use peerup_protocol::id::{NetworkId, PeerName, Serial, peer_id};
    use peerup_protocol::record::Method;

    use super::*;

    fn member(seed: u8) -> MemberRecord {
        MemberRecord {
            net: NetworkId([1; 16]),
            serial: Serial(seed.into()),
            peer: peer_id(&SigningKey::from_bytes(&[seed; 32]).verifying_key()),
            name: PeerName::parse("p").unwrap(),
            subject: String::new(),
            method: Method::Attested,
            issued: 0,
            not_after: 1,
        }
    }

    #[test]
    fn of_two_peers_exactly_one_dials_and_nobody_many() {
        let all: Vec<_> = (1..=20).map(member).collect();
        let mut pairs = 0;
        for one in &all {
            let chosen = choose(all.clone(), &one.peer);
            assert!(chosen.len() <= MAX_CONTACTS);
            for other in &chosen {
                pairs += 1;
                assert!(!choose(all.clone(), other).contains(&one.peer));
            }
        }
        // 12 peers have at least eight greater ones, the others 7, 6 … 0.
        assert_eq!(pairs, 12 * 8 + 28);
    }

    #[tokio::test]
    async fn pauses_grow_and_a_success_ends_them() {
        let peer = member(1).peer;
        let mut attempts = BTreeMap::new();
        for _ in 0..20 {
            note(&mut attempts, peer, false);
        }
        assert!(attempts[&peer].next <= Instant::now() + PAUSES.1);
        assert!(attempts[&peer].next >= Instant::now() + PAUSES.1 / 3);
        note(&mut attempts, peer, true);
        assert!(attempts[&peer].next <= Instant::now() + PAUSES.0);
    }
}
