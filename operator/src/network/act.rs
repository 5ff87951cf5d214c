//! Does what was decided about a network, in order.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
    runtime::controller::Action,
};
use peerup_crds::{
    PairingCode, Peer, PeerNetwork,
    names::{self, labels, managers},
};
use peerup_protocol::secret::NetworkSeed;
use rand::{TryRng as _, rngs::SysRng};

use super::{
    decide::{Decision, Keep, RESIGN_SECONDS, RelayKeys, Remove},
    objects::{Desired, api_of},
};
use crate::{
    context::{ChildKey, Context, Kind},
    controller::ReconcileError,
    keys::NetworkKey,
};

/// What this leader has applied, so that nothing is applied twice without need.
#[derive(Default)]
pub(super) struct Applied {
    objects: Mutex<HashMap<ChildKey, (u64, String)>>,
    relay_keys: Mutex<HashMap<String, Instant>>,
}

/// Acts.
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
    if let Some(keys) = keep.relay_keys {
        apply_relay_keys(client, applied, network, keys).await?;
    }
    for object in keep.apply {
        apply(context, applied, object).await?;
    }
    for child in &keep.delete {
        delete_child(client, child).await?;
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
        replaced.map_err(ReconcileError::at("write the PeerNetwork's status"))?;
    }
    if let Some(event) = keep.event {
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

/// The operator may not read Secrets there, so this one is written from time to time.
async fn apply_relay_keys(
    client: &Client,
    applied: &Applied,
    network: &PeerNetwork,
    keys: RelayKeys,
) -> Result<(), ReconcileError> {
    let uid = network.uid().unwrap_or_default();
    let last = applied
        .relay_keys
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&uid)
        .copied();
    if last.is_some_and(|last| last.elapsed() < Duration::from_secs(RESIGN_SECONDS)) {
        return Ok(());
    }
    let mut body = keys.secret;
    for (name, seed) in &keys.seeds {
        body["data"][name] = serde_json::to_value(ByteString(seed.expose().to_vec()))
            .map_err(|error| ReconcileError::Other(error.to_string()))?;
    }
    let name = names::relay_keys(&network.name_any());
    let secrets =
        Api::<Secret>::namespaced(client.clone(), &network.namespace().unwrap_or_default());
    let patched = secrets
        .patch(
            &name,
            &PatchParams::apply(managers::OPERATOR).force(),
            &Patch::Apply(&body),
        )
        .await;
    patched.map_err(ReconcileError::at("apply the Secret with the relays' keys"))?;
    applied
        .relay_keys
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(uid, Instant::now());
    Ok(())
}

async fn apply(
    context: &Context,
    applied: &Applied,
    object: Desired,
) -> Result<(), ReconcileError> {
    let mut hasher = DefaultHasher::new();
    object.body.to_string().hash(&mut hasher);
    let wanted = hasher.finish();
    let current = context.stores.children.version(&object.key);
    let known = applied
        .objects
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&object.key)
        .cloned();
    if let (Some((hash, version)), Some(current)) = (&known, &current)
        && *hash == wanted
        && version == current
    {
        return Ok(());
    }
    let ChildKey {
        kind,
        namespace,
        name,
    } = &object.key;
    let patched = api(&context.client, *kind, namespace)
        .patch(
            name,
            &PatchParams::apply(managers::OPERATOR).force(),
            &Patch::Apply(&object.body),
        )
        .await;
    let patched = match patched {
        Ok(patched) => patched,
        Err(source) => return Err(refused(&object.key, source)),
    };
    let version = patched.resource_version().unwrap_or_default();
    applied
        .objects
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(object.key, (wanted, version));
    Ok(())
}

fn refused(key: &ChildKey, source: kube::Error) -> ReconcileError {
    ReconcileError::Other(format!(
        "apply {} {}/{}: {}",
        api_of(key.kind).1,
        key.namespace,
        key.name,
        crate::errors::explain(&source)
    ))
}

async fn delete_child(client: &Client, child: &ChildKey) -> Result<(), ReconcileError> {
    let deleted = api(client, child.kind, &child.namespace)
        .delete(&child.name, &DeleteParams::default())
        .await;
    deleted
        .map(drop)
        .or_else(unless_gone)
        .map_err(|source| refused(child, source))
}

fn api(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    let (api_version, kind) = api_of(kind);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
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
    for child in &remove.children {
        delete_child(client, child).await?;
    }
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
