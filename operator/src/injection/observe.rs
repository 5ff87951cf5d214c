//! Reads what is known of pods, namespaces and networks, all from memory.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use peerup_crds::{InjectionCounts, PeerNetwork, names::labels};

use super::decide::{Verdict, judge};
use crate::{
    admission::{
        self, inject,
        select::{Home, Places, Subject, select},
    },
    context::Context,
    pods::Pod,
};

/// Judges many pods, and reads each namespace once.
pub(crate) struct Judge<'a> {
    context: &'a Context,
    networks: &'a [Arc<PeerNetwork>],
    places: Places,
    homes: HashMap<String, Home>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(context: &'a Context, networks: &'a [Arc<PeerNetwork>]) -> Self {
        Self {
            context,
            networks,
            places: Places::of(&context.config),
            homes: HashMap::new(),
        }
    }

    /// What is to be said about a pod.
    pub(crate) fn verdict(&mut self, pod: &Pod) -> Verdict {
        let name = pod.metadata.namespace.as_deref().unwrap_or_default();
        if !self.homes.contains_key(name) {
            let namespace = self.context.stores.namespaces.get_global(name);
            let home = Home::of(namespace.as_deref(), name);
            self.homes.insert(name.to_owned(), home);
        }
        judge(pod, &self.homes[name], self.networks, &self.places)
    }
}

/// UID of the network that pods of a namespace are in without saying anything themselves, if the namespace opted in.
pub(crate) fn network_of_namespace(
    namespace: &Namespace,
    networks: &[Arc<PeerNetwork>],
    places: &Places,
) -> Option<String> {
    let home = Home::of(Some(namespace), &namespace.name_any());
    select(&Subject::default(), &home, networks, places)
        .ok()?
        .uid()
}

/// The pods of a network.
#[derive(Default)]
pub(crate) struct Survey {
    pub(crate) counts: InjectionCounts,
    /// Where pods run that the webhook gave to it.
    pub(crate) namespaces: BTreeSet<String>,
}

/// Looks at every pod once.
pub(crate) fn survey(context: &Context, network_uid: &str) -> Survey {
    let networks = context.stores.networks.list();
    let network = networks
        .iter()
        .find(|network| network.uid().as_deref() == Some(network_uid));
    let template = network
        .map(|network| inject::template_hash(network, &admission::settings(&context.config)));
    let mut judge = Judge::new(context, &networks);
    let mut found = Survey::default();
    let mut namespaces = BTreeSet::new();
    for pod in context.stores.pods.list() {
        if is_given(&pod, network_uid) {
            note(&mut found.namespaces, &pod);
        }
        match judge.verdict(&pod) {
            Verdict::Injected {
                network_uid: of,
                template: made_from,
            } if of == network_uid => {
                found.counts.pods += 1;
                found.counts.outdated += u32::from(made_from != template);
                note(&mut namespaces, &pod);
            }
            Verdict::Missing(missing)
                if missing.counts && missing.network_uid.as_deref() == Some(network_uid) =>
            {
                found.counts.not_injected += 1;
            }
            Verdict::Uninvolved | Verdict::Injected { .. } | Verdict::Missing(_) => {}
        }
    }
    found.counts.namespaces = u32::try_from(namespaces.len()).unwrap_or(u32::MAX);
    found
}

/// Whether a pod that is not ending has the labels of a network's sidecar.
fn is_given(pod: &Pod, network_uid: &str) -> bool {
    let labelled = pod.labels().get(labels::NETWORK_UID).map(String::as_str) == Some(network_uid)
        && pod.labels().contains_key(labels::INJECTED);
    labelled && !pod.is_ending()
}

fn note(namespaces: &mut BTreeSet<String>, pod: &Pod) {
    if let Some(namespace) = &pod.metadata.namespace
        && !namespaces.contains(namespace)
    {
        namespaces.insert(namespace.clone());
    }
}
