//! Reads all that the decision about a network needs; every read is one of memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::{Resource, ResourceExt as _};
use peerup_crds::{PairingCode, PeerNetwork, SlotState, names::labels};
use peerup_protocol::UnixTime;

use super::{
    census,
    decide::{Observed, Rival, dht_namespace},
    objects::RelaySettings,
};
use crate::{
    admission::select::{Home, Places, admits},
    clock,
    config::{Config, LogFormat},
    context::Context,
    injection::{self, observe::network_of_namespace},
    pods::Pod,
};

/// Looks.
pub(crate) fn observe(context: &Context, network: Arc<PeerNetwork>) -> Observed {
    let (namespace, name) = (network.namespace().unwrap_or_default(), network.name_any());
    let uid = network.uid().unwrap_or_default();
    let stores = &context.stores;
    let peers = stores
        .peers
        .list_where(&namespace, |peer| peer.spec.network_ref.name == name);
    let codes = stores
        .codes
        .list_where(&namespace, |code| code.spec.network_ref.name == name);
    let relays = |labels: &BTreeMap<String, String>| {
        labels.get(labels::NETWORK_UID) == Some(&uid)
            && labels.get(labels::NAME).map(String::as_str) == Some(labels::RELAY)
    };
    let services = stores
        .services
        .list_where(&namespace, |service: &Service| relays(service.labels()));
    let pods = stores
        .pods
        .list_where(&namespace, |pod: &Pod| relays(pod.labels()));
    let survey = injection::observe::survey(context, &uid);
    Observed {
        now: clock::now(),
        key: context.keys.of(&network),
        rivals: rivals(context, &uid),
        ca: context.ca.get(),
        cluster: context.config.cluster_name.clone(),
        relay: settings(&context.config),
        services: by_ordinal(&name, services),
        pods: by_ordinal(&name, pods),
        children: stores.children.of(&uid),
        refused: Vec::new(),
        pod_namespaces: pod_namespaces(context, &network, &survey.namespaces),
        published: context.documents.get(&uid),
        census: census::take(
            peers.iter().map(AsRef::as_ref),
            network.spec.reachability.minimum_grade,
        ),
        active_codes: codes.iter().map(|code| available(code)).sum(),
        injection: survey.counts,
        peers: to_remove(&network, &peers),
        codes: to_remove(&network, &codes),
        network,
    }
}

/// Names of what a network takes with it when it goes.
fn to_remove<K: Resource>(network: &PeerNetwork, all: &[Arc<K>]) -> Vec<String> {
    if network.metadata.deletion_timestamp.is_none() {
        return Vec::new();
    }
    all.iter().map(|object| object.name_any()).collect()
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

/// Namespaces that opted in to this network, and those where pods say that they are in it, if they may be.
fn pod_namespaces(
    context: &Context,
    network: &PeerNetwork,
    with_pods: &BTreeSet<String>,
) -> BTreeSet<String> {
    let uid = network.uid().unwrap_or_default();
    let (networks, places) = (context.stores.networks.list(), Places::of(&context.config));
    let wanted = |namespace: &Namespace| {
        let name = namespace.name_any();
        let has_pods = || {
            with_pods.contains(&name)
                && places.serves(&name)
                && admits(network, &Home::of(Some(namespace), &name))
        };
        namespace.metadata.deletion_timestamp.is_none()
            && (network_of_namespace(namespace, &networks, &places).as_ref() == Some(&uid)
                || has_pods())
    };
    let all = context.stores.namespaces.list();
    let wanted = all.iter().filter(|namespace| wanted(namespace));
    wanted.map(|namespace| namespace.name_any()).collect()
}

/// Objects of the network's relays, by the number at the end of their name.
fn by_ordinal<K: Resource>(network: &str, relays: Vec<Arc<K>>) -> BTreeMap<u8, Arc<K>> {
    let prefix = format!("{}-", peerup_crds::names::relay(network));
    let ordinal = |object: &K| object.name_any().strip_prefix(&prefix)?.parse().ok();
    relays
        .into_iter()
        .filter_map(|object| Some((ordinal(&object)?, object)))
        .collect()
}
