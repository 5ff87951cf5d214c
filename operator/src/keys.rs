//! Keys of networks: Secrets in the operator's namespace, watched and held ready.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use peerup_crds::{PeerNetwork, names};
use peerup_protocol::{SigningKey, VerifyingKey, id::NetworkId, secret::NetworkSeed};
use tokio::sync::{broadcast, watch};

/// A network's key and what follows from it at once.
#[derive(Debug)]
pub struct NetworkKey {
    /// The network.
    pub id: NetworkId,
    /// From which codes and relay keys are derived.
    pub seed: NetworkSeed,
    /// Signs records, revocations and the network document.
    pub signing: SigningKey,
}

impl NetworkKey {
    /// The key with this seed.
    #[must_use]
    pub fn new(seed: NetworkSeed) -> Self {
        let signing = SigningKey::from_bytes(seed.expose());
        Self {
            id: NetworkId::of(&signing.verifying_key()),
            seed,
            signing,
        }
    }

    /// What others check signatures with.
    #[must_use]
    pub fn public(&self) -> VerifyingKey {
        self.signing.verifying_key()
    }
}

/// Why a network's key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The network is new.
    #[error("the network's key has not been made yet")]
    NotMade,
    /// The status names a key, and there is none.
    #[error(
        "the Secret {secret} with the network's key is gone; restore it from a backup, or delete the PeerNetwork and make it anew"
    )]
    Lost {
        /// The Secret.
        secret: String,
    },
    /// The status names another key.
    #[error(
        "the Secret {secret} holds the key of network {found}, the status says {expected}; restore the former Secret"
    )]
    Changed {
        /// The Secret.
        secret: String,
        /// Whose key it holds.
        found: String,
        /// Whose key it should hold.
        expected: String,
    },
    /// The Secret has no 32 bytes under `seed`.
    #[error(
        "the Secret {secret} must hold 32 bytes under the key `seed`; restore it from a backup"
    )]
    Malformed {
        /// The Secret.
        secret: String,
    },
}

type Held = HashMap<String, Option<Arc<NetworkKey>>>;

/// The keys of all networks, by the name of their Secret; `None` is a Secret that holds no key.
#[derive(Clone)]
pub struct Keys {
    held: Arc<RwLock<Held>>,
    changed: broadcast::Sender<()>,
    listed: watch::Sender<bool>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            held: Arc::default(),
            changed: broadcast::channel(1).0,
            listed: watch::Sender::new(false),
        }
    }
}

impl Keys {
    /// The key of a network, if it is the one that the network began with.
    ///
    /// # Errors
    /// When there is none yet, when it is gone and when it is another one.
    pub fn of(&self, network: &PeerNetwork) -> Result<Arc<NetworkKey>, KeyError> {
        let expected = network
            .status
            .as_ref()
            .and_then(|status| status.network_id.as_deref());
        self.find(&network.uid().unwrap_or_default(), expected)
    }

    fn find(&self, uid: &str, expected: Option<&str>) -> Result<Arc<NetworkKey>, KeyError> {
        let secret = names::network_key(uid);
        let held = self
            .held
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&secret)
            .cloned();
        match (held, expected) {
            (None, None) => Err(KeyError::NotMade),
            (None, Some(_)) => Err(KeyError::Lost { secret }),
            (Some(None), _) => Err(KeyError::Malformed { secret }),
            (Some(Some(key)), Some(expected)) if key.id.to_string() != expected => {
                Err(KeyError::Changed {
                    secret,
                    found: key.id.to_string(),
                    expected: expected.to_owned(),
                })
            }
            (Some(Some(key)), _) => Ok(key),
        }
    }

    /// Tells that some key came, went or changed.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until all keys have been read once: before, a key that is not known is not lost.
    pub async fn ready(&self) {
        // The sender lives in self, so this cannot fail.
        drop(self.listed.subscribe().wait_for(|listed| *listed).await);
    }

    /// Takes a key that was just written, ahead of the watch.
    pub fn insert(&self, uid: &str, key: NetworkKey) {
        self.write(|held| held.insert(names::network_key(uid), Some(Arc::new(key))));
    }

    /// Watches the Secrets for ever.
    pub async fn watch(self, client: Client, namespace: String) {
        use futures::StreamExt as _;

        let selector = format!("type={}", names::secrets::NETWORK_KEY_TYPE);
        let config = watcher::Config::default().fields(&selector);
        let secrets = Api::<Secret>::namespaced(client, &namespace);
        let mut events = std::pin::pin!(watcher(secrets, config).default_backoff());
        let mut buffer = Held::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => buffer.clear(),
                Ok(watcher::Event::InitApply(secret)) => {
                    buffer.insert(secret.name_any(), read(&secret));
                }
                Ok(watcher::Event::InitDone) => {
                    self.write(|held| *held = std::mem::take(&mut buffer));
                    self.listed.send_replace(true);
                }
                Ok(watcher::Event::Apply(secret)) => {
                    self.write(|held| held.insert(secret.name_any(), read(&secret)))
                }
                Ok(watcher::Event::Delete(secret)) => {
                    self.write(|held| held.remove(&secret.name_any()))
                }
                Err(error) => tracing::warn!(%error, "watching the networks' keys"),
            }
        }
    }

    fn write<T>(&self, change: impl FnOnce(&mut Held) -> T) {
        change(&mut self.held.write().unwrap_or_else(PoisonError::into_inner));
        drop(self.changed.send(()));
    }
}

fn read(secret: &Secret) -> Option<Arc<NetworkKey>> {
    let bytes = secret.data.as_ref()?.get(names::secrets::NETWORK_KEY)?;
    NetworkSeed::from_slice(&bytes.0)
        .map(NetworkKey::new)
        .map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_only_where_the_status_agrees() {
        let keys = Keys::default();
        assert_eq!(keys.find("u", None).unwrap_err(), KeyError::NotMade);
        let secret = || "peerup-network-u".to_owned();
        assert_eq!(
            keys.find("u", Some("aa")).unwrap_err(),
            KeyError::Lost { secret: secret() }
        );

        keys.insert("u", NetworkKey::new(NetworkSeed::new([7; 32])));
        let key = keys.find("u", None).unwrap();
        let id = key.id.to_string();
        assert_eq!(keys.find("u", Some(&id)).unwrap().id, key.id);
        let changed = KeyError::Changed {
            secret: secret(),
            found: id,
            expected: "aa".to_owned(),
        };
        assert_eq!(keys.find("u", Some("aa")).unwrap_err(), changed);
        assert_eq!(keys.find("other", None).unwrap_err(), KeyError::NotMade);
    }

    #[test]
    fn a_secret_without_seed_is_malformed() {
        let keys = Keys::default();
        keys.write(|held| held.insert(names::network_key("u"), read(&Secret::default())));
        let secret = "peerup-network-u".to_owned();
        assert_eq!(
            keys.find("u", None).unwrap_err(),
            KeyError::Malformed { secret }
        );
    }
}
