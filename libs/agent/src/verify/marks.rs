//! Which peers a person here has compared with: `verified=sha256:…` of each, in a file of the state directory. What is
//! read is computed anew; anything else than the very text is as good as nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use peerup_pairing::sas::{Fingerprint, Verified};
use peerup_protocol::PeerId;
use peerup_protocol::id::{DhtNamespace, PeerName};
use serde::{Deserialize, Serialize};

use crate::session::lock;
use crate::state::{StateError, Store};

const VERSION: u8 = 1;
/// More peers than a person compares with.
const MAX: usize = 4096;

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u8,
    peers: Vec<Mark>,
}

/// One peer. Its name is there for people who look into the file; nothing depends on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mark {
    #[serde(rename = "peerID")]
    peer: PeerId,
    name: String,
    verified: String,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Marks {
    store: Arc<Store>,
    me: PeerId,
    known: Mutex<BTreeMap<PeerId, Mark>>,
    /// One change at a time, since each is durable before the next.
    changing: tokio::sync::Mutex<()>,
}

impl Marks {
    /// What is stored. A file that is damaged counts as empty, and is replaced by the next comparison.
    pub(crate) fn load(store: Arc<Store>, me: PeerId) -> Self {
        let stored = store.verified::<Stored>().unwrap_or_else(|error| {
            tracing::warn!(%error, "everybody is unverified");
            None
        });
        let peers = match stored {
            Some(Stored {
                version: VERSION,
                peers,
            }) => peers,
            Some(Stored { version, .. }) => {
                tracing::warn!(
                    version,
                    "verified peers of another version, everybody is unverified"
                );
                Vec::new()
            }
            None => Vec::new(),
        };
        let known = peers.into_iter().take(MAX).map(|mark| (mark.peer, mark));
        Self {
            store,
            me,
            known: Mutex::new(known.collect()),
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// Whether a person here has compared with `peer`, in the network that is called so.
    pub(crate) fn check(&self, namespace: &DhtNamespace, peer: &PeerId) -> Verified {
        let known = lock(&self.known);
        let stored = known.get(peer).map(|mark| mark.verified.as_str());
        Verified::check(stored, namespace, &self.me, peer)
    }

    /// Keeps that a person here has compared with `peer`; durable when it returns.
    pub(crate) async fn set(
        &self,
        namespace: &DhtNamespace,
        peer: PeerId,
        name: &PeerName,
    ) -> Result<(), StateError> {
        let mark = Mark {
            peer,
            name: name.to_string(),
            verified: Fingerprint::of(namespace, &self.me, &peer).to_string(),
        };
        self.change(|known| {
            if known.len() < MAX || known.contains_key(&peer) {
                known.insert(peer, mark);
            }
        })
        .await
    }

    /// Forgets what was compared with `peer`, since a person here or there has said no.
    pub(crate) async fn remove(&self, peer: &PeerId) -> Result<(), StateError> {
        if !lock(&self.known).contains_key(peer) {
            return Ok(());
        }
        self.change(|known| {
            known.remove(peer);
        })
        .await
    }

    /// Durable before anybody sees it.
    async fn change(
        &self,
        change: impl FnOnce(&mut BTreeMap<PeerId, Mark>),
    ) -> Result<(), StateError> {
        let _one = self.changing.lock().await;
        let mut changed = lock(&self.known).clone();
        change(&mut changed);
        let stored = Stored {
            version: VERSION,
            peers: changed.values().cloned().collect(),
        };
        let store = Arc::clone(&self.store);
        let saved = tokio::task::spawn_blocking(move || store.save_verified(&stored)).await;
        saved.map_err(|error| StateError::Io {
            action: "write to",
            path: self.store.dir().to_owned(),
            source: std::io::Error::other(error),
        })??;
        *lock(&self.known) = changed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use peerup_protocol::SigningKey;
    use peerup_protocol::id::peer_id;

    use super::*;
    use crate::state::Access;

    struct Scratch(std::path::PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn scratch() -> Scratch {
        Scratch(std::env::temp_dir().join(format!("peerup-marks-{:016x}", rand::random::<u64>())))
    }

    fn peer(seed: u8) -> PeerId {
        peer_id(&SigningKey::from_bytes(&[seed; 32]).verifying_key())
    }

    fn crew() -> DhtNamespace {
        DhtNamespace::parse("crew").unwrap()
    }

    fn load(scratch: &Scratch, me: u8) -> Marks {
        let store = Store::open(&scratch.0, Access::Refuse).unwrap();
        Marks::load(Arc::new(store), peer(me))
    }

    async fn marked(scratch: &Scratch) {
        let marks = load(scratch, 1);
        let home = PeerName::parse("home").unwrap();
        marks.set(&crew(), peer(2), &home).await.unwrap();
        assert_eq!(marks.check(&crew(), &peer(2)), Verified::Yes);
    }

    #[tokio::test]
    async fn a_comparison_is_there_after_a_restart() {
        let scratch = scratch();
        marked(&scratch).await;
        let marks = load(&scratch, 1);
        assert_eq!(marks.check(&crew(), &peer(2)), Verified::Yes);
        assert_eq!(marks.check(&crew(), &peer(3)), Verified::No);
        let other = DhtNamespace::parse("other").unwrap();
        assert_eq!(marks.check(&other, &peer(2)), Verified::Mismatch);
        marks.remove(&peer(2)).await.unwrap();
        drop(marks);
        let marks = load(&scratch, 1);
        assert_eq!(marks.check(&crew(), &peer(2)), Verified::No);
    }

    #[tokio::test]
    async fn of_another_key_nobody_is_verified() {
        let scratch = scratch();
        marked(&scratch).await;
        let marks = load(&scratch, 9);
        assert_eq!(marks.check(&crew(), &peer(2)), Verified::Mismatch);
    }

    #[tokio::test]
    async fn tampered_is_unverified() {
        let scratch = scratch();
        marked(&scratch).await;
        let path = scratch.0.join("verified.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let fingerprint = Fingerprint::of(&crew(), &peer(1), &peer(2)).to_string();
        assert!(text.contains(&fingerprint), "{text}");
        // The fingerprint of one peer under another's PeerId.
        let swapped = text.replace(&peer(2).to_string(), &peer(3).to_string());
        std::fs::write(&path, swapped).unwrap();
        let marks = load(&scratch, 1);
        assert_eq!(marks.check(&crew(), &peer(3)), Verified::Mismatch);
        assert_eq!(marks.check(&crew(), &peer(2)), Verified::No);
        drop(marks);
        for damaged in ["", "{", "{\"version\":2,\"peers\":[]}", "[1]"] {
            std::fs::write(&path, damaged).unwrap();
            let marks = load(&scratch, 1);
            assert_eq!(marks.check(&crew(), &peer(2)), Verified::No, "{damaged}");
        }
    }

    #[tokio::test]
    async fn what_is_not_durable_is_not_believed() {
        let scratch = scratch();
        let marks = load(&scratch, 1);
        std::fs::create_dir(scratch.0.join("verified.json")).unwrap();
        let home = PeerName::parse("home").unwrap();
        let set = marks.set(&crew(), peer(2), &home).await;
        assert!(matches!(set, Err(StateError::Io { .. })), "{set:?}");
        assert_eq!(marks.check(&crew(), &peer(2)), Verified::No);
    }
}
