//! Reads all that the decision about a network needs; every read is one of memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Resource, ResourceExt as _};
use peerup_crds::{PairingCode, PeerNetwork, SlotState, names::labels};
use peerup_protocol::UnixTime;

use super::{
    census,
    decide::{Observed, Rival, dht_namespace},
    objects::RelaySettings,
};
use crate::{
    clock,
    config::{Config, LogFormat},
    context::Context,
    injection,
};

/// Looks.
pub(crate) fn observe(context: &Context, network: Arc<PeerNetwork>) -> Observed {
    let (namespace, name) = (network.namespace().unwrap_or_default(), network.name_any());
    let uid = network.uid().unwrap_or_default();
    let stores = &context.stores;
    let mut peers = stores.peers.list_in(&namespace);
    peers.retain(|peer| peer.spec.network_ref.name == name);
    let mut codes = stores.codes.list_in(&namespace);
    codes.retain(|code| code.spec.network_ref.name == name);
    let relays = |labels: &BTreeMap<String, String>| {
        labels.get(labels::NETWORK_UID) == Some(&uid)
            && labels.get(labels::NAME).map(String::as_str) == Some(labels::RELAY)
    };
    Observed {
        now: clock::now(),
        key: context.keys.of(&network),
        rivals: rivals(context, &uid),
        ca: context.ca.get(),
        cluster: context.config.cluster_name.clone(),
        relay: settings(&context.config),
        services: by_ordinal(
            &name,
            stores.services.list_in(&namespace),
            |service: &Service| relays(service.labels()),
        ),
        pods: by_ordinal(&name, stores.pods.list_in(&namespace), |pod: &Pod| {
            relays(pod.labels())
        }),
        children: stores.children.of(&uid),
        pod_namespaces: pod_namespaces(context, &uid),
        published: context.documents.get(&uid),
        census: census::take(
            peers.iter().map(AsRef::as_ref),
            network.spec.reachability.minimum_grade,
        ),
        active_codes: codes.iter().map(|code| available(code)).sum(),
        injection: injection::observe::counts(context, &uid),
        peers: peers.iter().map(|peer| peer.name_any()).collect(),
        codes: codes.iter().map(|code| code.name_any()).collect(),
        network,
    }
}

fn settings(config: &Config) -> RelaySettings {
    RelaySettings {
        image: config.relay_image.clone(),
        pull_policy: config.image_pull_policy.as_str(),
        operator_url: config.operator_url.clone(),
        cluster_domain: config.cluster_domain.clone(),
        log_format: match config.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        },
    }
}

/// Codes of a PairingCode that can be used.
pub(crate) fn available(code: &PairingCode) -> u32 {
    let codes = code
        .status
        .as_ref()
        .map(|status| status.codes.as_slice())
        .unwrap_or_default();
    let count = codes
        .iter()
        .filter(|slot| slot.state == SlotState::Available)
        .count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Which of two networks was there first: its age and, between twins, its UID.
pub(crate) fn seniority(network: &PeerNetwork) -> (UnixTime, String) {
    let created = network
        .creation_timestamp()
        .map_or(UnixTime::MAX, |time| clock::unix(&time));
    (created, network.uid().unwrap_or_default())
}

fn rivals(context: &Context, uid: &str) -> Vec<Rival> {
    let others = context
        .stores
        .networks
        .list()
        .into_iter()
        .filter(|other| other.uid().as_deref() != Some(uid));
    let mut rivals: Vec<_> = others
        .map(|other| Rival {
            title: crate::controller::title(&*other),
            dht_namespace: dht_namespace(&other),
            seniority: seniority(&other),
        })
        .collect();
    rivals.sort_by(|a, b| a.seniority.cmp(&b.seniority));
    rivals
}

/// Namespaces that opted in to this network, and those where pods of it run.
fn pod_namespaces(context: &Context, uid: &str) -> BTreeSet<String> {
    let mut namespaces: BTreeSet<_> = injection::observe::pods_of(context, uid)
        .filter_map(|pod| pod.namespace())
        .collect();
    let networks = context.stores.networks.list();
    let opted_in = context
        .stores
        .namespaces
        .list()
        .into_iter()
        .filter(|namespace| {
            namespace.metadata.deletion_timestamp.is_none()
                && injection::observe::network_of_namespace(context, namespace, &networks)
                    .as_deref()
                    == Some(uid)
        });
    namespaces.extend(opted_in.map(|namespace| namespace.name_any()));
    namespaces
}

/// Objects of the network's relays, by the number at the end of their name.
fn by_ordinal<K>(
    network: &str,
    objects: Vec<Arc<K>>,
    is_relay: impl Fn(&K) -> bool,
) -> BTreeMap<u8, Arc<K>>
where
    K: Resource,
{
    let prefix = format!("{}-", peerup_crds::names::relay(network));
    let ordinal = |object: &K| object.name_any().strip_prefix(&prefix)?.parse().ok();
    objects
        .into_iter()
        .filter(|object| is_relay(object))
        .filter_map(|object| Some((ordinal(&object)?, object)))
        .collect()
}
