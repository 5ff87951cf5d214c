//! Does what was decided about a network, in order.

use std::time::{Duration, Instant};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::controller::Action,
};
use peerup_crds::{
    PairingCode, Peer, PeerNetwork,
    names::{self, labels},
};
use peerup_protocol::secret::NetworkSeed;
use rand::{TryRng as _, rngs::SysRng};

use super::decide::{Decision, Keep, Remove};
use crate::{context::Context, controller::ReconcileError, keys::NetworkKey};

mod objects;

pub(super) use objects::{Applied, objects};

/// Acts; the objects of a network that lives are there already.
pub(super) async fn act(
    context: &Context,
    applied: &Applied,
    network: &PeerNetwork,
    decision: Decision,
) -> Result<Action, ReconcileError> {
    match decision {
        Decision::Keep(keep) => keep_running(context, applied, network, *keep).await,
        Decision::Remove(remove) => clear(context, network, remove).await,
    }
}

async fn keep_running(
    context: &Context,
    applied: &Applied,
    network: &PeerNetwork,
    keep: Keep,
) -> Result<Action, ReconcileError> {
    let client = &context.client;
    if keep.add_finalizer {
        set_finalizer(client, network, true).await?;
    }
    if keep.make_key {
        make_key(context, network).await?;
        return Ok(Action::requeue(Duration::ZERO));
    }
    if let Some(status) = keep.status {
        let object = PeerNetwork {
            status: Some(status),
            ..network.clone()
        };
        let networks = Api::<PeerNetwork>::namespaced(
            client.clone(),
            &network.namespace().unwrap_or_default(),
        );
        let replaced = networks
            .replace_status(&network.name_any(), &PostParams::default(), &object)
            .await;
        let replaced = replaced.map_err(ReconcileError::at("write the PeerNetwork's status"))?;
        applied.written.put(replaced, Instant::now());
    }
    for event in keep.events {
        let about = network.object_ref(&());
        if event.warning {
            context
                .events
                .warning(&about, "Reconcile", &event.reason, &event.note)
                .await;
        } else {
            context
                .events
                .normal(&about, "Reconcile", &event.reason, &event.note)
                .await;
        }
    }
    if let Some(published) = keep.publish {
        context
            .documents
            .publish(&network.uid().unwrap_or_default(), published);
    }
    Ok(Action::requeue(Duration::from_secs(keep.again_seconds)))
}

/// Adds or removes our finalizer, if nobody changed the object meanwhile.
async fn set_finalizer(
    client: &Client,
    network: &PeerNetwork,
    present: bool,
) -> Result<(), ReconcileError> {
    let mut finalizers = network.finalizers().to_vec();
    finalizers.retain(|name| name != names::finalizers::NETWORK);
    if present {
        finalizers.push(names::finalizers::NETWORK.to_owned());
    }
    let patch = serde_json::json!({"metadata": {"resourceVersion": network.resource_version(), "finalizers": finalizers}});
    let networks =
        Api::<PeerNetwork>::namespaced(client.clone(), &network.namespace().unwrap_or_default());
    let patched = networks
        .patch(
            &network.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await;
    patched
        .map(drop)
        .or_else(unless_gone)
        .map_err(ReconcileError::at("change the PeerNetwork's finalizers"))
}

/// Draws the network's key and keeps it in a Secret. A Secret that exists already wins.
async fn make_key(context: &Context, network: &PeerNetwork) -> Result<(), ReconcileError> {
    let mut bytes = [0; 32];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| ReconcileError::Other(format!("no randomness: {error}")))?;
    let seed = NetworkSeed::new(bytes);
    let uid = network.uid().unwrap_or_default();
    let metadata = serde_json::json!({
        "name": names::network_key(&uid),
        "labels": {labels::MANAGED_BY: labels::OPERATOR, labels::NETWORK_UID: uid},
        "annotations": {names::annotations::NETWORK: crate::controller::title(network)},
    });
    let secret = Secret {
        metadata: serde_json::from_value(metadata)
            .map_err(|error| ReconcileError::Other(error.to_string()))?,
        type_: Some(names::secrets::NETWORK_KEY_TYPE.to_owned()),
        data: Some(
            [(
                names::secrets::NETWORK_KEY.to_owned(),
                ByteString(seed.expose().to_vec()),
            )]
            .into(),
        ),
        ..Secret::default()
    };
    let secrets =
        Api::<Secret>::namespaced(context.client.clone(), &context.config.operator_namespace);
    match secrets.create(&PostParams::default(), &secret).await {
        Ok(_) => {
            tracing::info!(
                network = crate::controller::title(network),
                "network key made"
            );
            context.keys.insert(&uid, NetworkKey::new(seed));
            Ok(())
        }
        // The watch has not shown it yet; it will.
        Err(kube::Error::Api(status)) if status.code == 409 => Err(ReconcileError::Other(
            "the network's key exists and has not been read yet".to_owned(),
        )),
        Err(error) => Err(ReconcileError::Api {
            step: "keep the network's key",
            source: error,
        }),
    }
}

/// That something to be removed is not there is no error.
pub(crate) fn unless_gone(error: kube::Error) -> Result<(), kube::Error> {
    if matches!(&error, kube::Error::Api(status) if status.code == 404) {
        Ok(())
    } else {
        Err(error)
    }
}

async fn clear(
    context: &Context,
    network: &PeerNetwork,
    remove: Remove,
) -> Result<Action, ReconcileError> {
    let client = &context.client;
    let namespace = network.namespace().unwrap_or_default();
    let (peers, codes) = (
        Api::<Peer>::namespaced(client.clone(), &namespace),
        Api::<PairingCode>::namespaced(client.clone(), &namespace),
    );
    for name in &remove.codes {
        let deleted = codes.delete(name, &DeleteParams::default()).await;
        deleted
            .map(drop)
            .or_else(unless_gone)
            .map_err(ReconcileError::at("delete the network's PairingCodes"))?;
    }
    for name in &remove.peers {
        let deleted = peers.delete(name, &DeleteParams::default()).await;
        deleted
            .map(drop)
            .or_else(unless_gone)
            .map_err(ReconcileError::at("delete the network's Peers"))?;
    }
    objects::remove(context, &remove.children).await?;
    if let Some(key) = &remove.key {
        let secrets = Api::<Secret>::namespaced(client.clone(), &context.config.operator_namespace);
        let deleted = secrets.delete(key, &DeleteParams::default()).await;
        deleted
            .map(drop)
            .or_else(unless_gone)
            .map_err(ReconcileError::at("delete the network's key"))?;
    }
    if remove.finished {
        set_finalizer(client, network, false).await?;
        tracing::info!(
            network = crate::controller::title(network),
            "network removed"
        );
        return Ok(Action::await_change());
    }
    // Peers and codes tell when they are gone; this is for the case that nobody does.
    Ok(Action::requeue(Duration::from_secs(5)))
}
