//! Objects that the operator cannot read cost nobody else anything.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, Resource};
use peerup_crds::{PairingCode, Peer, PeerNetwork};
use peerup_tests::light::{self, Light};
use peerup_tests::operator::Home;
use peerup_tests::wait::eventually;
use serde_json::{Value, json};

use super::world::{SOON, World};

/// A time that Kubernetes takes, and the operator's clock does not know.
const LATE: &str = "9999-12-31T23:59:59Z";

/// Objects of a kind as they are, without a type that they may not fit.
fn raw<K: Resource<DynamicType = ()>>(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<K>(&()))
}

async fn create(api: &Api<DynamicObject>, object: Value) -> Result<DynamicObject> {
    let object = serde_json::from_value(object)?;
    Ok(api.create(&PostParams::default(), &object).await?)
}

fn ours(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
    })
}

/// What the rules hold of spec they do not of status, which stands here for objects of another version.
async fn spoil(api: &Api<DynamicObject>, name: &str, status: Value) -> Result<()> {
    let patch = Patch::Merge(json!({ "status": status }));
    api.patch_status(name, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

/// One of each kind that cannot be read, and a pod that can be but for its managers.
async fn bad_objects(client: &Client, namespace: &str) -> Result<()> {
    let networks = raw::<PeerNetwork>(client, namespace);
    create(&networks, ours("PeerNetwork", "late", json!({}))).await?;
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "X", "message": "", "lastTransitionTime": LATE,
    });
    spoil(&networks, "late", json!({ "conditions": [condition] })).await?;

    let codes = raw::<PairingCode>(client, namespace);
    let spec = json!({"networkRef": {"name": "main"}});
    create(&codes, ours("PairingCode", "late", spec)).await?;
    spoil(&codes, "late", json!({ "expirationTime": LATE })).await?;

    let peers = raw::<Peer>(client, namespace);
    for (network, name) in [("main", "one"), ("late", "two")] {
        let spec = json!({
            "networkRef": {"name": network}, "peerID": "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
            "serial": "0000000000000005", "type": "External", "method": "Code", "displayName": name,
            "pairingCodeRef": {"name": "late", "slot": 0},
        });
        let peer = ours("Peer", &format!("{network}.{name}"), spec);
        create(&peers, peer).await?;
    }
    spoil(&peers, "main.one", json!({ "joinedTime": LATE })).await?;
    let joined = json!({ "joinedTime": "2026-01-01T00:00:00Z" });
    spoil(&peers, "late.two", joined).await?;

    managed_late(client, namespace).await
}

/// A pod with a manager whose time is late: whoever may change a pod may write so, and no typed object holds it.
async fn managed_late(client: &Client, namespace: &str) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "late"},
        "spec": {"containers": [{"name": "app", "image": "app:1"}], "automountServiceAccountToken": false},
    });
    let pods = raw::<Pod>(client, namespace);
    eventually(
        "a pod, as soon as there is a service account",
        SOON,
        async || create(&pods, pod.clone()).await,
    )
    .await?;
    let patch = serde_json::from_value(json!([
        {"op": "replace", "path": "/metadata/managedFields/0/time", "value": LATE},
        {"op": "add", "path": "/metadata/labels", "value": {"app": "x"}},
    ]))?;
    let another = PatchParams {
        field_manager: Some("another".to_owned()),
        ..PatchParams::default()
    };
    let request = kube::core::Request::new(format!("/api/v1/namespaces/{namespace}/pods"));
    let request = request.patch("late", &another, &Patch::Json::<()>(patch))?;
    let answer = client.request_text(request).await?;
    ensure!(answer.contains(LATE), "{answer}");
    Ok(())
}

/// Waits for an event of the operator on an object that it cannot read.
async fn told(world: &World, kind: &str, name: &str) -> Result<()> {
    eventually(&format!("an event on {kind} {name}"), SOON, async || {
        let events = world.api::<Event>().list(&ListParams::default()).await?;
        let note = events.iter().find_map(|event| {
            let about = event.regarding.as_ref()?;
            let is = event.reason.as_deref() == Some("Unreadable")
                && about.kind.as_deref() == Some(kind)
                && about.name.as_deref() == Some(name);
            is.then(|| event.note.clone().unwrap_or_default())
        });
        let note = note.context("no event")?;
        ensure!(note.contains("cannot read this object"), "{note}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_object_stops_nobody_else() -> Result<()> {
    let light = Light::shared()?;
    let client = light.client().await?;
    let namespace = light::namespace(&client, "unreadable").await?;
    let other = light::namespace(&client, "unreadable").await?;
    let home = Home::new(light, &client, &[&namespace, &other]).await?;
    bad_objects(&client, &namespace).await?;

    // It finds them when it starts, and serves.
    let operator = home.start().await?;
    let world = World {
        client,
        namespace,
        other,
        home,
        operator,
    };
    let advertised = json!([{"ordinal": 0, "addresses": ["/ip4/192.0.2.1/tcp/4001"]}]);
    let relay = json!({"managed": {"advertiseAddresses": advertised}});
    world.network("main", json!({ "relay": relay })).await?;
    let of_main = json!({"networkRef": {"name": "main"}});
    world.code("team", of_main.clone()).await?;
    world.code_says("team", "Delivered", "Written").await?;
    for (kind, name) in [
        ("PeerNetwork", "late"),
        ("PairingCode", "late"),
        ("Peer", "main.one"),
    ] {
        told(&world, kind, name).await?;
    }

    // One turns bad while it runs.
    let codes = raw::<PairingCode>(&world.client, &world.namespace);
    create(&codes, ours("PairingCode", "turns", of_main.clone())).await?;
    world.code_says("turns", "Delivered", "Written").await?;
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "X", "message": "", "lastTransitionTime": LATE,
    });
    spoil(&codes, "turns", json!({ "conditions": [condition] })).await?;
    told(&world, "PairingCode", "turns").await?;
    world.code("next", of_main).await?;
    world.code_says("next", "Delivered", "Written").await?;

    // A network that cannot be read is not one that is gone.
    let peers = raw::<Peer>(&world.client, &world.namespace);
    let kept = peers.get("late.two").await?;
    ensure!(kept.metadata.deletion_timestamp.is_none(), "{kept:?}");
    Ok(())
}
