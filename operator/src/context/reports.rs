//! What every peer did last, in memory: reports are heartbeats and are not written anywhere.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use peerup_protocol::{UnixTime, report::Report};
use tokio::sync::broadcast;

/// News that the peer controller may lag behind before it looks at all peers.
const NEWS: usize = 4096;

/// A peer, by the namespace and name of its Peer object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey {
    /// Namespace of the Peer.
    pub namespace: String,
    /// Name of the Peer.
    pub name: String,
}

/// A report and when it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// The report.
    pub report: Report,
    /// When it came.
    pub time: UnixTime,
}

/// What is kept of one peer; its Peer's UID tells it from a later one of the same name.
#[derive(Default)]
struct Last {
    uid: String,
    redeemed: bool,
    heard: Option<Heard>,
}

/// Last reports. The operator API writes, the peer controller reads.
#[derive(Clone)]
pub struct Reports {
    last: Arc<Mutex<HashMap<PeerKey, Last>>>,
    news: broadcast::Sender<PeerKey>,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            last: Arc::default(),
            news: broadcast::channel(NEWS).0,
        }
    }
}

impl Reports {
    /// Takes a report of an authenticated peer. One that says the same as the last makes no news, unless the last came
    /// more than `offline` seconds ago: the peer may be taken for silent by now.
    pub fn record(&self, key: PeerKey, uid: &str, report: Report, now: UnixTime, offline: u64) {
        self.update(key, uid, |last| {
            let is_news = last.heard.as_ref().is_none_or(|heard| {
                heard.report != report || now.saturating_sub(heard.time) > offline
            });
            last.heard = Some(Heard { report, time: now });
            is_news
        });
    }

    /// Notes that a record was signed for a peer that asked for its first one.
    pub fn redeemed(&self, key: PeerKey, uid: &str) {
        self.update(key, uid, |last| {
            !std::mem::replace(&mut last.redeemed, true)
        });
    }

    /// The last report of a peer.
    #[must_use]
    pub fn get(&self, key: &PeerKey, uid: &str) -> Option<Heard> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(key).filter(|last| last.uid == uid)?.heard.clone()
    }

    /// Whether this leader has signed a record for the peer.
    #[must_use]
    pub fn has_redeemed(&self, key: &PeerKey, uid: &str) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(key)
            .is_some_and(|last| last.uid == uid && last.redeemed)
    }

    /// Tells of whom there is news.
    #[must_use]
    pub fn news(&self) -> broadcast::Receiver<PeerKey> {
        self.news.subscribe()
    }

    /// Forgets a peer that is gone.
    pub fn remove(&self, key: &PeerKey) {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    /// Forgets all: somebody else leads now.
    pub fn clear(&self) {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn update(&self, key: PeerKey, uid: &str, change: impl FnOnce(&mut Last) -> bool) {
        let is_news = {
            let mut all = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let last = all.entry(key.clone()).or_default();
            if last.uid != uid {
                *last = Last {
                    uid: uid.to_owned(),
                    ..Last::default()
                };
            }
            change(last)
        };
        if is_news {
            drop(self.news.send(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OFFLINE: u64 = 90;

    fn report(grade: &str) -> Report {
        serde_json::from_value(json!({
            "grade": grade, "gradeReason": "measured", "scope": "Internal", "natType": "None", "mapping": "None",
            "filtering": "Unknown", "confidence": "Measured", "evidence": [], "publicAddresses": [], "path": "Direct",
            "relays": [], "changedTime": 5, "version": "0.1.0",
        }))
        .unwrap()
    }

    #[test]
    fn news_are_what_differs_and_what_comes_after_a_silence() {
        let reports = Reports::default();
        let mut news = reports.news();
        let key = PeerKey {
            namespace: "shop".to_owned(),
            name: "crew.laptop".to_owned(),
        };
        for (grade, time, expected) in [
            ("B", 100, true),
            ("B", 130, false),
            ("C", 160, true),
            ("C", 160 + OFFLINE, false),
            ("C", 161 + 2 * OFFLINE, true),
            ("C", 50, false),
        ] {
            reports.record(key.clone(), "uid", report(grade), time, OFFLINE);
            assert_eq!(news.try_recv().is_ok(), expected, "{grade} at {time}");
        }
    }
}
