//! Reads all that the decision about a Peer needs: from memory, and from the API server where something seems to be
//! gone and would be deleted for it.

use std::sync::Arc;

use kube::{Api, ResourceExt as _};
use peerup_crds::{PairingCode, Peer, PeerMethod, PeerNetwork, PeerStatus, PodRef};

use super::decide::{Observed, PodSeen};
use crate::{
    api::records,
    clock,
    context::{Context, PeerKey, Written},
    controller::ReconcileError,
    leader::Term,
    pods::Pod,
};

/// For how long what a relay told of who is online counts.
const PRESENCE_SECONDS: u64 = 45;

/// Looks.
pub(super) async fn observe(
    context: &Context,
    term: Term,
    written: &Written<Pod>,
    peer: Arc<Peer>,
) -> Result<Observed, ReconcileError> {
    let namespace = peer.namespace().unwrap_or_default();
    let key = PeerKey {
        namespace: namespace.clone(),
        name: peer.name_any(),
    };
    let uid = peer.uid().unwrap_or_default();
    let now = clock::now();
    let network = network(context, &namespace, &peer.spec.network_ref.name).await?;
    let online = match (&network, peer.spec.peer_id.parse()) {
        (Some(network), Ok(id)) => {
            let since = now.saturating_sub(PRESENCE_SECONDS);
            !context
                .presence
                .relays_of(&network.uid().unwrap_or_default(), &id, since)
                .is_empty()
        }
        (None, _) | (_, Err(_)) => false,
    };
    let code = match &peer.spec.pairing_code_ref {
        Some(code) => context.stores.codes.get(&namespace, &code.name),
        None => None,
    };
    let credential = network.as_ref().map_or((now, now), |network| {
        let life = records::life(network, &peer, code.as_deref());
        let issued = records::issued(&peer, life, now);
        (issued, issued + life)
    });
    Ok(Observed {
        now,
        elected: term.since,
        cluster: context.config.cluster_name.clone(),
        pod: pod(context, written, &peer).await?,
        heard: context.reports.get(&key, &uid),
        redeemed: redeemed(context, &peer, &key, &uid, code.as_deref()).await?,
        online,
        network,
        credential,
        peer,
    })
}

/// The network; one that the store does not know is asked for.
async fn network(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<Arc<PeerNetwork>>, ReconcileError> {
    if let Some(network) = context.stores.networks.get(namespace, name) {
        return Ok(Some(network));
    }
    let networks = Api::<PeerNetwork>::namespaced(context.client.clone(), namespace);
    let found = networks
        .get_opt(name)
        .await
        .map_err(ReconcileError::at("look for the Peer's network"))?;
    Ok(found.map(Arc::new))
}

async fn pod(
    context: &Context,
    written: &Written<Pod>,
    peer: &Peer,
) -> Result<PodSeen, ReconcileError> {
    let Some(wanted) = &peer.spec.pod_ref else {
        return Ok(PodSeen::NotAPod);
    };
    let is_it = |pod: &Pod, wanted: &PodRef| pod.uid().as_ref() == Some(&wanted.uid);
    if let Some(pod) = context
        .stores
        .pods
        .get(&wanted.namespace, &wanted.name)
        .filter(|pod| is_it(pod, wanted))
        .map(|pod| written.newest(pod))
    {
        return Ok(if has_ended(&pod) {
            PodSeen::Gone
        } else {
            PodSeen::Alive(pod)
        });
    }
    let pods = Api::<Pod>::namespaced(context.client.clone(), &wanted.namespace);
    let found = pods
        .get_opt(&wanted.name)
        .await
        .map_err(ReconcileError::at("look for the Peer's pod"))?;
    Ok(match found.filter(|pod| is_it(pod, wanted)) {
        Some(pod) if !has_ended(&pod) => PodSeen::Alive(Arc::new(pod)),
        Some(_) | None => PodSeen::Gone,
    })
}

/// A pod that is being deleted works on until its containers end.
fn has_ended(pod: &Pod) -> bool {
    pod.is_over() && pod.metadata.deletion_timestamp.is_none()
}

/// Whether the peer has got a record, as far as can be told. A slot is asked for again before a claim is called void.
async fn redeemed(
    context: &Context,
    peer: &Peer,
    key: &PeerKey,
    uid: &str,
    code: Option<&PairingCode>,
) -> Result<bool, ReconcileError> {
    let joined = |status: &PeerStatus| status.joined_time.is_some();
    let names = |code: &PairingCode| code.slot_of(peer).is_some();
    let known = context.reports.has_redeemed(key, uid) || peer.status.as_ref().is_some_and(joined);
    match (peer.spec.method, &peer.spec.pairing_code_ref) {
        (PeerMethod::Attested, _) | (PeerMethod::Code, None) => Ok(known),
        (PeerMethod::Code, Some(_)) if known || code.is_some_and(names) => Ok(true),
        (PeerMethod::Code, Some(reference)) => {
            let codes = Api::<PairingCode>::namespaced(context.client.clone(), &key.namespace);
            let found = codes
                .get_opt(&reference.name)
                .await
                .map_err(ReconcileError::at("look for the Peer's code"))?;
            Ok(found.as_ref().is_some_and(names))
        }
    }
}
