//! What wakes the measurement from outside, and who waits for its result.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use peerup_node::PeerId;
use tokio::sync::watch;

use crate::netcheck::Netcheck;
use crate::session::lock;

/// The result of a full measurement.
pub(super) type Result = std::result::Result<Netcheck, String>;

/// A result, and the last request that it answers.
#[derive(Debug, Clone)]
struct Found {
    answers: u64,
    result: Arc<Result>,
}

/// One session's.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Links, addresses or routes of this machine changed.
    network: watch::Sender<()>,
    /// A relay sees this peer at another address than before.
    observed: watch::Sender<()>,
    seen_at: Mutex<SeenAt>,
    /// Requests so far.
    wanted: watch::Sender<u64>,
    found: watch::Sender<Option<Found>>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            network: watch::Sender::new(()),
            observed: watch::Sender::new(()),
            seen_at: Mutex::default(),
            wanted: watch::Sender::new(0),
            found: watch::Sender::new(None),
        }
    }
}

impl Signals {
    pub(crate) fn watch_network(&self) -> watch::Receiver<()> {
        self.network.subscribe()
    }

    pub(super) fn network_changed(&self) {
        self.network.send_replace(());
    }

    pub(super) fn watch_observed(&self) -> watch::Receiver<()> {
        self.observed.subscribe()
    }

    /// A relay tells at which address it sees this peer; `relays` are all that there are.
    pub(crate) fn observed(&self, relay: PeerId, ip: IpAddr, relays: &[PeerId]) {
        if lock(&self.seen_at).take(relay, ip, relays) {
            self.observed.send_replace(());
        }
    }

    pub(super) fn watch_wanted(&self) -> watch::Receiver<u64> {
        self.wanted.subscribe()
    }

    /// What a full measurement that began after the first `answers` requests has found.
    pub(super) fn found(&self, answers: u64, result: Result) {
        let result = Arc::new(result);
        self.found.send_replace(Some(Found { answers, result }));
    }

    /// Asks for a full measurement that begins from now on, and waits for it.
    pub(crate) async fn measured(&self) -> Arc<Result> {
        let mut found = self.found.subscribe();
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            *wanted += 1;
            number = *wanted;
        });
        let answer = found.wait_for(|found| {
            let answers = found.as_ref().map_or(0, |found| found.answers);
            answers >= number
        });
        let result = answer.await.ok().and_then(|found| {
            let found = found.as_ref()?;
            Some(Arc::clone(&found.result))
        });
        match result {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }
}

/// Where each relay sees this peer (pure). Ports differ from connection to connection.
#[derive(Debug, Default)]
struct SeenAt(BTreeMap<PeerId, IpAddr>);

impl SeenAt {
    /// Whether the relay had told another address before.
    fn take(&mut self, relay: PeerId, ip: IpAddr, relays: &[PeerId]) -> bool {
        self.0.retain(|known, _| relays.contains(known));
        if !relays.contains(&relay) {
            return false;
        }
        let former = self.0.insert(relay, ip);
        former.is_some_and(|former| former != ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_address_is_one_that_the_same_relay_did_not_tell_before() {
        let (a, b, stranger) = (PeerId::random(), PeerId::random(), PeerId::random());
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let relays = [a, b];
        let mut seen = SeenAt::default();
        for (at, (relay, ip, differs)) in [
            (a, one, false),
            (b, two, false),
            (a, one, false),
            (a, two, true),
            (a, two, false),
            (stranger, one, false),
            (stranger, two, false),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(seen.take(relay, ip, &relays), differs, "{at}");
        }
        // A relay that is no longer one is forgotten.
        assert!(!seen.take(a, two, &[a]));
        assert_eq!(seen.0.len(), 1);
    }

    #[tokio::test]
    async fn a_request_is_answered_by_what_begins_after_it() {
        let signals = Arc::new(Signals::default());
        let asked = Arc::clone(&signals);
        let mut wanted = signals.watch_wanted();
        let waiting = tokio::spawn(async move { asked.measured().await });
        wanted.wait_for(|number| *number == 1).await.unwrap();
        signals.found(0, Err("began before".to_owned()));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        signals.found(1, Err("began after".to_owned()));
        let answer = waiting.await.unwrap();
        assert_eq!(*answer, Err("began after".to_owned()));
    }
}
