//! What a network needs next. Pure: the same observation and time always give the same decision.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use peerup_crds::{DeletionPolicy, InjectionCounts, PeerNetwork, PeerNetworkStatus, names};
use peerup_protocol::{SigningKey, UnixTime, derive, id, secret::Secret};

use super::{
    addresses,
    census::Census,
    objects::{self, Desired, Identity, Of, RelaySettings},
};
use crate::{
    context::{ChildKey, Kind, Published},
    keys::{KeyError, NetworkKey},
    pods::Pod,
};

mod sign;
mod status;

#[cfg(test)]
mod tests;

/// How often documents are signed anew, so that silence is visible.
pub(crate) const RESIGN_SECONDS: u64 = 300;

/// Another network, as far as names matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// `<namespace>/<name>`.
    pub title: String,
    /// Its name on the wire.
    pub dht_namespace: String,
    /// Its age and, between twins, its UID: the smaller keeps the name.
    pub seniority: (UnixTime, String),
}

/// Everything that the decision depends on.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The time.
    pub now: UnixTime,
    /// The network.
    pub network: Arc<PeerNetwork>,
    /// Its key.
    pub key: Result<Arc<NetworkKey>, KeyError>,
    /// The other networks.
    pub rivals: Vec<Rival>,
    /// The operator's CA bundle.
    pub ca: Option<String>,
    /// Name of the cluster.
    pub cluster: String,
    /// What relays need to know.
    pub relay: RelaySettings,
    /// The relays' Services, by ordinal.
    pub services: BTreeMap<u8, Arc<Service>>,
    /// The relays' pods, by ordinal.
    pub pods: BTreeMap<u8, Arc<Pod>>,
    /// The objects that exist.
    pub children: Vec<ChildKey>,
    /// What the API server refused of them, once they were tried.
    pub refused: Vec<Refused>,
    /// Namespaces whose pods may be in the network and asked for it.
    pub pod_namespaces: BTreeSet<String>,
    /// What was signed last, by this leader.
    pub published: Option<Arc<Published>>,
    /// Its peers.
    pub census: Census,
    /// Codes that can be used.
    pub active_codes: u32,
    /// Its pods.
    pub injection: InjectionCounts,
    /// Names of its Peers, if it is to go.
    pub peers: Vec<String>,
    /// Names of its PairingCodes, if it is to go.
    pub codes: Vec<String>,
}

/// What to do, in the order in which the fields stand.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The network lives.
    Keep(Box<Keep>),
    /// The network is to go.
    Remove(Remove),
}

/// What to do for a network that lives.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Keep {
    /// The finalizer is missing.
    pub add_finalizer: bool,
    /// It needs a key; nothing else can be done before.
    pub make_key: bool,
    /// Keys of its relays.
    pub relay_keys: Option<RelayKeys>,
    /// Objects as they should be.
    pub apply: Vec<Desired>,
    /// Objects that are not needed any more.
    pub delete: Vec<ChildKey>,
    /// The status, if it differs.
    pub status: Option<PeerNetworkStatus>,
    /// Changes of conditions worth an event.
    pub events: Vec<Event>,
    /// What to publish once the status is written.
    pub publish: Option<Published>,
    /// When to look again, in seconds.
    pub again_seconds: u64,
}

/// Something that the API server does not want done with one of a network's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What was to be done, such as `apply Service shop/crew-relay-0`.
    pub step: String,
    /// The object is in another namespace than the network: not its owner's, but of a pod's author.
    pub elsewhere: bool,
    /// Why not, in the API server's words.
    pub words: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.step, self.words)
    }
}

/// An event on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whether something is wrong.
    pub warning: bool,
    /// In one word.
    pub reason: String,
    /// In a sentence.
    pub note: String,
}

/// The seeds of a network's relays, one for each replica there can ever be.
#[derive(Debug, Clone, PartialEq)]
pub struct RelayKeys {
    /// The Secret without its data.
    pub secret: serde_json::Value,
    /// Its data.
    pub seeds: BTreeMap<String, Secret<32>>,
}

/// What to remove of a network that is to go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remove {
    /// Its Peers.
    pub peers: Vec<String>,
    /// Its PairingCodes.
    pub codes: Vec<String>,
    /// Objects that no owner reference removes.
    pub children: Vec<ChildKey>,
    /// The Secret with its key.
    pub key: Option<String>,
    /// Nothing is left: the finalizer may go.
    pub finished: bool,
}

/// Why a network cannot run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Obstacle {
    reason: &'static str,
    message: String,
}

impl Obstacle {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// Decides.
#[must_use]
pub fn decide(seen: &Observed) -> Decision {
    if seen.network.metadata.deletion_timestamp.is_some() {
        return Decision::Remove(remove(seen));
    }
    Decision::Keep(Box::new(keep(seen)))
}

fn remove(seen: &Observed) -> Remove {
    let home = seen.network.namespace();
    let foreign = seen
        .children
        .iter()
        .filter(|child| Some(&child.namespace) != home.as_ref() && is_made(&seen.network, child));
    let key = match seen.network.spec.deletion_policy {
        DeletionPolicy::Delete => Some(names::network_key(&seen.network.uid().unwrap_or_default())),
        DeletionPolicy::Retain => None,
    };
    let finished = seen.peers.is_empty() && seen.codes.is_empty();
    Remove {
        peers: seen.peers.clone(),
        codes: seen.codes.clone(),
        children: foreign.cloned().collect(),
        key: key.filter(|_| finished),
        finished,
    }
}

fn keep(seen: &Observed) -> Keep {
    let again_seconds = RESIGN_SECONDS / 10;
    if !seen
        .network
        .finalizers()
        .iter()
        .any(|name| name == names::finalizers::NETWORK)
    {
        return Keep {
            add_finalizer: true,
            again_seconds,
            ..Keep::default()
        };
    }
    let dht_namespace = dht_namespace(&seen.network);
    let (key, ca) = match requirements(seen, &dht_namespace) {
        Ok((Some(key), ca)) => (key, ca),
        Ok((None, _)) => {
            return Keep {
                make_key: true,
                again_seconds,
                ..Keep::default()
            };
        }
        Err(obstacle) => return blocked(seen, &obstacle, again_seconds),
    };
    let status = status::running(seen, &key, &dht_namespace);
    let signing = sign::plan(seen, &key, &dht_namespace, &status);
    let status = PeerNetworkStatus {
        epoch: Some(signing.epoch),
        revocations: signing.revocations,
        ..status
    };
    let apply = desired(seen, &key, &dht_namespace, &ca);
    Keep {
        relay_keys: Some(relay_keys(seen, &key)),
        delete: surplus(seen, &apply),
        apply,
        events: status::events(&seen.network, &status),
        status: status::if_changed(&seen.network, status),
        publish: signing.publish,
        again_seconds,
        ..Keep::default()
    }
}

/// What must be there before relays can run: a name of its own, a key (`None`: to be made), certificates.
fn requirements(
    seen: &Observed,
    dht_namespace: &str,
) -> Result<(Option<Arc<NetworkKey>>, String), Obstacle> {
    if let Some(rival) = senior(seen, dht_namespace) {
        let message = format!(
            "dhtNamespace {dht_namespace} belongs to the older PeerNetwork {}; delete this PeerNetwork and make it anew with another dhtNamespace",
            rival.title
        );
        return Err(Obstacle::new("NamespaceTaken", message));
    }
    let key = match &seen.key {
        Ok(key) => Some(key.clone()),
        Err(KeyError::NotMade) => None,
        Err(
            error @ (KeyError::Lost { .. } | KeyError::Changed { .. } | KeyError::Malformed { .. }),
        ) => {
            return Err(Obstacle::new("NetworkKeyLost", error.to_string()));
        }
    };
    match (&key, &seen.ca) {
        (Some(_), None) => Err(Obstacle::new(
            "CertificateNotReady",
            "the operator's certificate authority is not ready yet",
        )),
        (None, _) => Ok((key, String::new())),
        (Some(_), Some(ca)) => Ok((key, ca.clone())),
    }
}

fn blocked(seen: &Observed, obstacle: &Obstacle, again_seconds: u64) -> Keep {
    let status = status::blocked(seen, obstacle.reason, &obstacle.message);
    Keep {
        events: status::events(&seen.network, &status),
        status: status::if_changed(&seen.network, status),
        again_seconds,
        ..Keep::default()
    }
}

/// The network's name on the wire: as asked for, else its own name made unique by its UID.
#[must_use]
pub fn dht_namespace(network: &PeerNetwork) -> String {
    network.spec.dht_namespace.clone().unwrap_or_else(|| {
        let unique: String = network.uid().unwrap_or_default().chars().take(8).collect();
        format!("{}-{unique}", network.name_any())
    })
}

/// The network that had the name before.
fn senior<'a>(seen: &'a Observed, dht_namespace: &str) -> Option<&'a Rival> {
    let mine = super::observe::seniority(&seen.network);
    let same = seen
        .rivals
        .iter()
        .filter(|rival| rival.dht_namespace == dht_namespace);
    same.filter(|rival| rival.seniority < mine)
        .min_by_key(|rival| rival.seniority.clone())
}

/// The identity of a relay.
#[must_use]
pub fn relay_peer(key: &NetworkKey, ordinal: u8) -> peerup_protocol::PeerId {
    let seed = derive::relay_seed(&key.seed, &key.id, ordinal);
    id::peer_id(&SigningKey::from_bytes(seed.expose()).verifying_key())
}

fn relay_keys(seen: &Observed, key: &NetworkKey) -> RelayKeys {
    let of = Of::new(&seen.network);
    let mut secret = of
        .own(
            Kind::ConfigMap,
            &names::relay_keys(&of.name),
            serde_json::json!({ "metadata": {} }),
        )
        .body;
    secret["kind"] = "Secret".into();
    secret["type"] = names::secrets::RELAY_KEYS_TYPE.into();
    let seed = |ordinal| {
        (
            names::relay_replica(&of.name, ordinal),
            derive::relay_seed(&key.seed, &key.id, ordinal),
        )
    };
    RelayKeys {
        secret,
        seeds: (0..names::RELAYS_MAX).map(seed).collect(),
    }
}

fn desired(seen: &Observed, key: &NetworkKey, dht_namespace: &str, ca: &str) -> Vec<Desired> {
    let of = Of::new(&seen.network);
    let mut namespaces = seen.pod_namespaces.clone();
    namespaces.insert(of.namespace.clone());
    let public_key: String = key
        .public()
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let identity = Identity {
        dht_namespace,
        public_key,
    };
    let mut all: Vec<_> = namespaces
        .iter()
        .map(|namespace| objects::ca_config_map(&of, namespace, ca))
        .collect();
    all.extend([
        objects::service_account(&of),
        objects::headless_service(&of),
    ]);
    let replicas = seen.network.spec.relay.managed.replicas;
    all.extend((0..replicas).map(|ordinal| objects::replica_service(&of, ordinal)));
    all.extend([
        objects::network_policy(&of),
        objects::disruption_budget(&of),
        objects::stateful_set(&of, &seen.relay, &identity),
    ]);
    all
}

/// Objects that a former state asked for: Services of replicas and bundles of namespaces that are no more.
fn surplus(seen: &Observed, desired: &[Desired]) -> Vec<ChildKey> {
    let wanted: BTreeSet<_> = desired.iter().map(|object| &object.key).collect();
    seen.children
        .iter()
        .filter(|child| !wanted.contains(child) && is_made(&seen.network, child))
        .cloned()
        .collect()
}

/// Whether the operator makes an object of this kind and name that is not always wanted: anybody can give labels.
fn is_made(network: &PeerNetwork, child: &ChildKey) -> bool {
    match child.kind {
        Kind::ConfigMap => child.name == names::ca_config_map(&network.uid().unwrap_or_default()),
        Kind::Service => {
            let name = network.name_any();
            network.namespace().as_ref() == Some(&child.namespace)
                && (0..names::RELAYS_MAX)
                    .any(|ordinal| child.name == names::relay_replica(&name, ordinal))
        }
        Kind::ServiceAccount
        | Kind::NetworkPolicy
        | Kind::PodDisruptionBudget
        | Kind::StatefulSet => false,
    }
}

/// All addresses of a relay now.
fn relay_addresses(seen: &Observed, ordinal: u8) -> Vec<peerup_protocol::Multiaddr> {
    let (service, pod) = (seen.services.get(&ordinal), seen.pods.get(&ordinal));
    addresses::all(
        &seen.network,
        ordinal,
        &seen.relay.cluster_domain,
        service.map(AsRef::as_ref),
        pod.map(AsRef::as_ref),
    )
}
