//! Which network, if any, a pod is given to. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::LabelSelector};
use kube::{
    ResourceExt,
    core::{Selector, SelectorExt},
};
use peerup_crds::{
    NamespacesFrom, PeerNetwork, Switch,
    names::{annotations, labels},
};

use crate::config::Config;

/// Set by the kubelet on a static pod's mirror.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Namespaces of Kubernetes itself.
const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Where the operator's own configuration lets pods have a sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Namespace of the operator, whose pods get none.
    pub operator_namespace: String,
    /// Namespaces that the webhook leaves out, beside those of Kubernetes and the operator's.
    pub excluded: Vec<String>,
    /// Namespaces that are served; all if none is named.
    pub served: Vec<String>,
}

impl Places {
    /// As the operator is told.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            operator_namespace: config.operator_namespace.clone(),
            excluded: config.excluded_namespaces.clone(),
            served: config.watch_namespaces.clone(),
        }
    }

    /// Whether the operator sees and may make anything in a namespace.
    #[must_use]
    pub fn serves(&self, namespace: &str) -> bool {
        self.served.is_empty() || self.served.iter().any(|served| served == namespace)
    }

    fn excludes(&self, namespace: &str) -> bool {
        SYSTEM_NAMESPACES.contains(&namespace)
            || self.operator_namespace == namespace
            || self.excluded.iter().any(|excluded| excluded == namespace)
    }
}

/// What counts about a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.os.name` is `windows`.
    pub windows: bool,
}

/// What counts about a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Home {
    /// A namespace as far as it is known.
    pub fn of(namespace: Option<&Namespace>, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            labels: namespace
                .map(|namespace| namespace.labels().clone())
                .unwrap_or_default(),
            annotations: namespace
                .map(|namespace| namespace.annotations().clone())
                .unwrap_or_default(),
        }
    }
}

/// Why a pod gets no sidecar; the names are reasons of events and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Neither pod nor namespace opted in.
    NotOptedIn,
    /// The inject label says something else than `enabled` or `disabled`.
    BadInjectLabel,
    /// A namespace of Kubernetes or of the operator, or one that the chart excludes.
    SystemNamespace,
    /// The operator does not serve the namespace.
    NamespaceNotServed,
    /// A static pod.
    MirrorPod,
    /// The pod uses its node's network.
    HostNetwork,
    /// The pod runs on Windows.
    UnsupportedOS,
    /// The network annotation is not `<name>` or `<namespace>/<name>`.
    BadNetworkName,
    /// No network is named and the namespace has none.
    NoNetwork,
    /// No network is named and the namespace has several.
    NetworkAmbiguous,
    /// The named network does not exist.
    NetworkNotFound,
    /// The network is being deleted.
    NetworkTerminating,
    /// The network does not admit the namespace.
    NamespaceNotAdmitted,
    /// The network takes no new sidecars.
    InjectionDisabled,
    /// The network's pod selector leaves the pod out.
    NotSelected,
    /// The pod has a shape that no API server would send.
    MalformedPod,
    /// The sidecar is there and nothing has to be done.
    AlreadyInjected,
}

impl Reason {
    /// The name, in CamelCase.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotOptedIn => "NotOptedIn",
            Self::BadInjectLabel => "BadInjectLabel",
            Self::SystemNamespace => "SystemNamespace",
            Self::NamespaceNotServed => "NamespaceNotServed",
            Self::MirrorPod => "MirrorPod",
            Self::HostNetwork => "HostNetwork",
            Self::UnsupportedOS => "UnsupportedOS",
            Self::BadNetworkName => "BadNetworkName",
            Self::NoNetwork => "NoNetwork",
            Self::NetworkAmbiguous => "NetworkAmbiguous",
            Self::NetworkNotFound => "NetworkNotFound",
            Self::NetworkTerminating => "NetworkTerminating",
            Self::NamespaceNotAdmitted => "NamespaceNotAdmitted",
            Self::InjectionDisabled => "InjectionDisabled",
            Self::NotSelected => "NotSelected",
            Self::MalformedPod => "MalformedPod",
            Self::AlreadyInjected => "AlreadyInjected",
        }
    }

    /// For the pod's author: what is wrong and what to do. `None` when nothing is.
    pub fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::NotOptedIn | Self::MirrorPod | Self::AlreadyInjected => return None,
            Self::BadInjectLabel => "label peerup.dev/inject must be enabled or disabled",
            Self::SystemNamespace => {
                "pods of system namespaces, and of those in the chart's webhook.excludedNamespaces, get no sidecar"
            }
            Self::NamespaceNotServed => {
                "the operator does not serve this namespace; add it to the chart's watchNamespaces"
            }
            Self::HostNetwork => "a pod with hostNetwork gets no sidecar",
            Self::UnsupportedOS => "a Windows pod gets no sidecar",
            Self::BadNetworkName => {
                "annotation peerup.dev/network must be <name> or <namespace>/<name>"
            }
            Self::NoNetwork => {
                "the namespace has no PeerNetwork; create one, or name one with annotation peerup.dev/network: <namespace>/<name>"
            }
            Self::NetworkAmbiguous => {
                "the namespace has several PeerNetworks; name one with annotation peerup.dev/network"
            }
            Self::NetworkNotFound => {
                "the PeerNetwork named by annotation peerup.dev/network does not exist"
            }
            Self::NetworkTerminating => "the PeerNetwork is being deleted",
            Self::NamespaceNotAdmitted => {
                "the PeerNetwork must admit this namespace in spec.allowedNamespaces"
            }
            Self::InjectionDisabled => "the PeerNetwork says injection.policy: Disabled",
            Self::NotSelected => "injection.podSelector of the PeerNetwork does not match the pod",
            Self::MalformedPod => "the pod could not be read",
        })
    }

    /// Whether an object that was just created, and is not seen yet, may make the difference.
    pub fn may_be_early(self) -> bool {
        matches!(self, Self::NoNetwork | Self::NetworkNotFound)
    }
}

/// The network that the pod belongs to, or why none.
pub fn select<'a, N>(
    pod: &Subject,
    home: &Home,
    networks: &'a [N],
    places: &Places,
) -> Result<&'a PeerNetwork, Reason>
where
    N: AsRef<PeerNetwork>,
{
    opted_in(pod, home)?;
    if places.excludes(&home.name) {
        return Err(Reason::SystemNamespace);
    }
    if !places.serves(&home.name) {
        return Err(Reason::NamespaceNotServed);
    }
    if pod.annotations.contains_key(MIRROR) {
        return Err(Reason::MirrorPod);
    }
    if pod.host_network {
        return Err(Reason::HostNetwork);
    }
    if pod.windows {
        return Err(Reason::UnsupportedOS);
    }
    let network = resolve(pod, home, networks)?;
    if network.metadata.deletion_timestamp.is_some() {
        return Err(Reason::NetworkTerminating);
    }
    if !admits(network, home) {
        return Err(Reason::NamespaceNotAdmitted);
    }
    if network.spec.injection.policy == Switch::Disabled {
        return Err(Reason::InjectionDisabled);
    }
    match &network.spec.injection.pod_selector {
        Some(selector) if !selects(selector, &pod.labels) => Err(Reason::NotSelected),
        Some(_) | None => Ok(network),
    }
}

fn opted_in(pod: &Subject, home: &Home) -> Result<(), Reason> {
    let said = |labels: &BTreeMap<String, String>| labels.get(labels::INJECT).cloned();
    match said(&pod.labels).or_else(|| said(&home.labels)).as_deref() {
        Some(labels::ENABLED) => Ok(()),
        Some(labels::DISABLED) | None => Err(Reason::NotOptedIn),
        Some(_) => Err(Reason::BadInjectLabel),
    }
}

fn resolve<'a, N: AsRef<PeerNetwork>>(
    pod: &Subject,
    home: &Home,
    networks: &'a [N],
) -> Result<&'a PeerNetwork, Reason> {
    let named =
        |annotations: &BTreeMap<String, String>| annotations.get(annotations::NETWORK).cloned();
    let Some(wanted) = named(&pod.annotations).or_else(|| named(&home.annotations)) else {
        return only(home, networks);
    };
    let (namespace, name) = wanted.split_once('/').unwrap_or((&home.name, &wanted));
    if [namespace, name]
        .iter()
        .any(|label| peerup_protocol::id::PeerName::parse(label).is_err())
    {
        return Err(Reason::BadNetworkName);
    }
    let is_it = |network: &&PeerNetwork| {
        network.name_any() == name && network.namespace().as_deref() == Some(namespace)
    };
    networks
        .iter()
        .map(AsRef::as_ref)
        .find(is_it)
        .ok_or(Reason::NetworkNotFound)
}

/// The only network of the pod's own namespace.
fn only<'a, N: AsRef<PeerNetwork>>(
    home: &Home,
    networks: &'a [N],
) -> Result<&'a PeerNetwork, Reason> {
    let mut own = networks.iter().map(AsRef::as_ref).filter(|network| {
        network.namespace().as_ref() == Some(&home.name)
            && network.metadata.deletion_timestamp.is_none()
    });
    match (own.next(), own.next()) {
        (None, _) => Err(Reason::NoNetwork),
        (Some(network), None) => Ok(network),
        (Some(_), Some(_)) => Err(Reason::NetworkAmbiguous),
    }
}

/// Whether pods of a namespace may be in a network; those of its own namespace always.
pub fn admits(network: &PeerNetwork, home: &Home) -> bool {
    if network.namespace().as_ref() == Some(&home.name) {
        return true;
    }
    let allowed = &network.spec.allowed_namespaces;
    match allowed.from {
        NamespacesFrom::Same => false,
        NamespacesFrom::All => true,
        NamespacesFrom::Selector => allowed
            .selector
            .as_ref()
            .is_some_and(|selector| selects(selector, &home.labels)),
    }
}

/// Whether a selector matches; one that cannot be read matches nothing.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}
