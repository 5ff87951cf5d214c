//! Reads what is known of pods, namespaces and networks, all from memory.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::ResourceExt as _;
use peerup_crds::{InjectionCounts, PeerNetwork, names::labels};

use super::decide::{Verdict, is_ending, judge};
use crate::{
    admission::{
        self, inject,
        select::{Home, Subject, select},
    },
    context::Context,
};

/// What is to be said about a pod.
pub(crate) fn verdict(context: &Context, pod: &Pod, networks: &[Arc<PeerNetwork>]) -> Verdict {
    let name = pod.namespace().unwrap_or_default();
    let home = Home::of(
        context.stores.namespaces.get_global(&name).as_deref(),
        &name,
    );
    judge(pod, &home, networks, &context.config.operator_namespace)
}

/// Pods with a sidecar of this network that are not ending.
pub(crate) fn pods_of(
    context: &Context,
    network_uid: &str,
) -> impl Iterator<Item = Arc<Pod>> + use<> {
    let uid = network_uid.to_owned();
    let is_ours = move |pod: &Arc<Pod>| {
        pod.labels().get(labels::NETWORK_UID) == Some(&uid)
            && pod.labels().contains_key(labels::INJECTED)
            && !is_ending(pod)
    };
    context.stores.pods.list().into_iter().filter(is_ours)
}

/// UID of the network that pods of a namespace are in without saying anything themselves, if the namespace opted in.
pub(crate) fn network_of_namespace(
    context: &Context,
    namespace: &Namespace,
    networks: &[Arc<PeerNetwork>],
) -> Option<String> {
    let home = Home::of(Some(namespace), &namespace.name_any());
    select(
        &Subject::default(),
        &home,
        networks,
        &context.config.operator_namespace,
    )
    .ok()?
    .uid()
}

/// The pods of a network, counted.
pub(crate) fn counts(context: &Context, network_uid: &str) -> InjectionCounts {
    let networks = context.stores.networks.list();
    let network = networks
        .iter()
        .find(|network| network.uid().as_deref() == Some(network_uid));
    let template = network
        .map(|network| inject::template_hash(network, &admission::settings(&context.config)));
    let mut counts = InjectionCounts::default();
    let mut namespaces = BTreeSet::new();
    for pod in context.stores.pods.list() {
        match verdict(context, &pod, &networks) {
            Verdict::Injected {
                network_uid: of,
                template: made_from,
            } if of == network_uid => {
                counts.pods += 1;
                counts.outdated += u32::from(made_from != template);
                namespaces.insert(pod.namespace());
            }
            Verdict::Missing(missing)
                if missing.counts && missing.network_uid.as_deref() == Some(network_uid) =>
            {
                counts.not_injected += 1;
            }
            Verdict::Uninvolved | Verdict::Injected { .. } | Verdict::Missing(_) => {}
        }
    }
    counts.namespaces = u32::try_from(namespaces.len()).unwrap_or(u32::MAX);
    counts
}
