//! The last report of every peer, in memory: heartbeats are not written anywhere.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use peerup_protocol::{UnixTime, report::Report};
use tokio::sync::broadcast;

/// Reports that the peer controller may lag behind before it looks at all peers.
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
    /// UID of the Peer that it is about: a later Peer of the same name is another one.
    pub uid: String,
    /// The report.
    pub report: Report,
    /// When it came.
    pub time: UnixTime,
    /// Since when the reported grade is this one.
    pub grade_since: UnixTime,
}

/// Last reports. The operator API writes, the peer controller reads.
#[derive(Clone)]
pub struct Reports {
    heard: Arc<Mutex<HashMap<PeerKey, Heard>>>,
    news: broadcast::Sender<PeerKey>,
}

impl Default for Reports {
    fn default() -> Self {
        Self { heard: Arc::default(), news: broadcast::channel(NEWS).0 }
    }
}

impl Reports {
    /// Takes a report of an authenticated peer. Only one that differs from the last makes news.
    pub fn record(&self, key: PeerKey, uid: &str, report: Report, now: UnixTime) {
        let changed = {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let last = heard.get(&key).filter(|last| last.uid == uid);
            let same_grade = last.filter(|last| last.report.grade == report.grade);
            let grade_since = same_grade.map_or(now, |last| last.grade_since);
            let changed = last.is_none_or(|last| last.report != report);
            heard.insert(key.clone(), Heard { uid: uid.to_owned(), report, time: now, grade_since });
            changed
        };
        if changed {
            drop(self.news.send(key));
        }
    }

    /// The last report of a peer.
    #[must_use]
    pub fn get(&self, key: &PeerKey, uid: &str) -> Option<Heard> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(key).filter(|last| last.uid == uid).cloned()
    }

    /// Tells whose report changed.
    #[must_use]
    pub fn news(&self) -> broadcast::Receiver<PeerKey> {
        self.news.subscribe()
    }

    /// Forgets a peer that is gone.
    pub fn remove(&self, key: &PeerKey) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Forgets all: somebody else leads now.
    pub fn clear(&self) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
