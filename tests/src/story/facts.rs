//! What objects of a cluster say, and what they should say.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use peerup_crds::{PairingCode, Peer, PeerNetwork};

use super::WEB;

/// Does the pod belong to the Deployment `web`, and is it here to stay?
pub fn is_web(pod: &Pod) -> bool {
    pod.labels().get("app").is_some_and(|app| app == WEB)
        && pod.metadata.deletion_timestamp.is_none()
}

/// A condition of a pod, e.g. `peerup.dev/Joined`.
pub fn pod_condition<'a>(pod: &'a Pod, name: &str) -> Result<&'a PodCondition> {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .and_then(|all| all.iter().find(|condition| condition.type_ == name))
        .with_context(|| format!("pod {} has no condition {name}", pod.name_any()))
}

/// Status and reason of a pod's condition are these.
pub fn pod_says(pod: &Pod, name: &str, status: &str, reason: &str) -> Result<()> {
    let condition = pod_condition(pod, name)?;
    let found = (
        condition.status.as_str(),
        condition.reason.as_deref().unwrap_or_default(),
    );
    ensure!(
        found == (status, reason),
        "pod {}: {name} is {found:?} ({}), not {:?}",
        pod.name_any(),
        condition.message.as_deref().unwrap_or_default(),
        (status, reason)
    );
    Ok(())
}

fn says(of: &str, all: &[Condition], name: &str, status: &str) -> Result<Condition> {
    let Some(found) = all.iter().find(|condition| condition.type_ == name) else {
        bail!("{of} has no condition {name}");
    };
    ensure!(
        found.status == status,
        "{of}: {name} is {} ({}: {}), not {status}",
        found.status,
        found.reason,
        found.message
    );
    Ok(found.clone())
}

/// A condition of a Peer has this status; answers the condition.
pub fn peer_condition(peer: &Peer, name: &str, status: &str) -> Result<Condition> {
    let all = peer
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice());
    says(&peer.name_any(), all.unwrap_or_default(), name, status)
}

/// A condition of a PairingCode has this status; answers the condition.
pub fn code_condition(code: &PairingCode, name: &str, status: &str) -> Result<Condition> {
    let all = code
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice());
    says(&code.name_any(), all.unwrap_or_default(), name, status)
}

/// A condition of a PeerNetwork has this status and reason; answers its message.
pub fn network_condition(
    network: &PeerNetwork,
    name: &str,
    status: &str,
    reason: &str,
) -> Result<String> {
    let all = network
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice());
    let of = network.name_any();
    let found = says(&of, all.unwrap_or_default(), name, status)?;
    ensure!(
        found.reason == reason,
        "{of}: {name} is {status} because of {} ({}), not {reason}",
        found.reason,
        found.message
    );
    Ok(found.message)
}

/// The pods are `count`, each has joined and has a Peer that says so, and there is no
/// Peer of another pod.
pub fn all_joined(pods: &[Pod], peers: &[Peer], count: usize) -> Result<()> {
    ensure!(pods.len() == count, "{} pods, not {count}", pods.len());
    for pod in pods {
        pod_says(pod, "peerup.dev/Joined", "True", "Attested")?;
        peer_condition(peer_of(pod, peers)?, "Joined", "True")?;
    }
    let of_pods = peers.iter().filter(|peer| peer.spec.pod_ref.is_some());
    let stale: Vec<_> = of_pods
        .filter(|peer| !pods.iter().any(|pod| is_of(peer, pod)))
        .map(ResourceExt::name_any)
        .collect();
    ensure!(stale.is_empty(), "Peers of pods that are gone: {stale:?}");
    Ok(())
}

/// The Peer of a pod.
pub fn peer_of<'a>(pod: &Pod, peers: &'a [Peer]) -> Result<&'a Peer> {
    peers
        .iter()
        .find(|peer| is_of(peer, pod))
        .with_context(|| format!("pod {} has no Peer", pod.name_any()))
}

fn is_of(peer: &Peer, pod: &Pod) -> bool {
    let of = peer.spec.pod_ref.as_ref();
    of.is_some_and(|of| Some(&of.uid) == pod.metadata.uid.as_ref())
}
