//! Does what was decided about a Peer.

use std::time::Instant;

use k8s_openapi::api::core::v1::PodCondition;
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use peerup_crds::{
    Peer, PeerNetworkStatus, PeerStatus, Revocation,
    names::{finalizers, managers},
};
use peerup_protocol::{UnixTime, record::MAX_REVOCATIONS};
use serde_json::json;

use super::{Recent, decide::Write};
use crate::{
    clock,
    context::Context,
    controller::{ReconcileError, title},
    network::{swap, unless_gone},
    pods::Pod,
};

fn peers(context: &Context, peer: &Peer) -> Api<Peer> {
    Api::namespaced(
        context.client.clone(),
        &peer.namespace().unwrap_or_default(),
    )
}

/// Deletes exactly this Peer as it was seen. It is let go when the watch shows it going: twice would be a write too many.
pub(super) async fn delete(
    context: &Context,
    peer: &Peer,
    why: &str,
) -> Result<(), ReconcileError> {
    let seen = Preconditions {
        uid: peer.uid(),
        resource_version: peer.resource_version(),
    };
    let deleted = peers(context, peer)
        .delete(
            &peer.name_any(),
            &DeleteParams::default().preconditions(seen),
        )
        .await;
    deleted
        .map(drop)
        .or_else(unless_gone)
        .map_err(ReconcileError::at("delete the Peer"))?;
    tracing::info!(peer = title(peer), why, "peer deleted");
    Ok(())
}

/// Takes our finalizer away; the uid keeps a later Peer of the same name out of it.
pub(super) async fn release(context: &Context, peer: &Peer) -> Result<(), ReconcileError> {
    let mut others = peer.finalizers().to_vec();
    others.retain(|name| name != finalizers::PEER);
    let patch = json!({"metadata": {"uid": peer.uid(), "finalizers": others}});
    let patched = peers(context, peer)
        .patch(
            &peer.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await;
    patched
        .map(drop)
        .or_else(unless_gone)
        .map_err(ReconcileError::at("release the Peer"))
}

/// Writes the peer's serial and a new epoch to its network, by compare-and-swap.
pub(super) async fn revoke(
    context: &Context,
    peer: &Peer,
    until: UnixTime,
) -> Result<(), ReconcileError> {
    let name = &peer.spec.network_ref.name;
    let entry = Revocation {
        serial: peer.spec.serial.clone(),
        until_time: clock::time(until),
    };
    let change = |status: &mut PeerNetworkStatus| {
        let mut known = status.revocations.iter();
        if known.any(|known| known.serial == entry.serial) {
            return Ok(false);
        }
        if status.revocations.len() >= MAX_REVOCATIONS {
            return Err(ReconcileError::Other(format!(
                "PeerNetwork {name} has {MAX_REVOCATIONS} revocations, which is the most; one must end before this peer can be revoked"
            )));
        }
        status.revocations.push(entry.clone());
        status.epoch = Some(status.epoch.unwrap_or(0) + 1);
        Ok(true)
    };
    let namespace = peer.namespace().unwrap_or_default();
    match swap::status(&context.client, &namespace, name, change).await? {
        swap::Swapped::Same | swap::Swapped::Gone => return Ok(()),
        swap::Swapped::Written => {}
    }
    tracing::info!(peer = title(peer), "peer revoked");
    let note = format!(
        "PeerNetwork {name} revokes its record until {}: nobody lets it in any more",
        entry.until_time.0
    );
    context
        .events
        .normal(&peer.object_ref(&()), "Revoke", "Revoked", &note)
        .await;
    Ok(())
}

/// Writes status and pod conditions; neither touches another object of the same name.
pub(super) async fn write(
    context: &Context,
    written: &Recent,
    peer: &Peer,
    write: Write,
) -> Result<(), ReconcileError> {
    tracing::debug!(
        peer = title(peer),
        turn = ?write.turn,
        status = ?write.status,
        pod_conditions = ?write.pod_conditions,
        "writing"
    );
    let status = match write.status {
        Some(status) => write_status(context, peer, &status).await,
        None => Ok(None),
    };
    let pod = match write.pod_conditions {
        Some(conditions) => write_pod(context, peer, &conditions).await,
        None => Ok(None),
    };
    let now = Instant::now();
    let status = status.map(|peer| peer.map(|peer| written.peers.put(peer, now)));
    let pod = pod.map(|pod| pod.map(|pod| written.pods.put(pod, now)));
    status.and(pod).map(drop)
}

async fn write_status(
    context: &Context,
    peer: &Peer,
    status: &PeerStatus,
) -> Result<Option<Peer>, ReconcileError> {
    let body = json!({
        "apiVersion": Peer::api_version(&()),
        "kind": "Peer",
        "metadata": {"name": peer.name_any(), "namespace": peer.namespace(), "uid": peer.uid()},
        "status": status,
    });
    let how = PatchParams::apply(managers::GRADE).force();
    let patched = peers(context, peer)
        .patch_status(&peer.name_any(), &how, &Patch::Apply(body))
        .await;
    patched
        .map(Some)
        .or_else(|error| unless_gone(error).map(|()| None))
        .map_err(ReconcileError::at("write the Peer's status"))
}

async fn write_pod(
    context: &Context,
    peer: &Peer,
    conditions: &[PodCondition],
) -> Result<Option<Pod>, ReconcileError> {
    let Some(pod) = &peer.spec.pod_ref else {
        return Ok(None);
    };
    let body = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "status": {"conditions": conditions},
    });
    let pods = Api::<Pod>::namespaced(context.client.clone(), &pod.namespace);
    let how = PatchParams::apply(managers::GRADE).force();
    let patched = pods
        .patch_status(&pod.name, &how, &Patch::Apply(body))
        .await;
    patched
        .map(Some)
        .or_else(|error| unless_gone(error).map(|()| None))
        .map_err(ReconcileError::at("write the pod's conditions"))
}
