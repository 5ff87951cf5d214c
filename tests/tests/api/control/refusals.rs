//! Objects in the way of a network's, and such as only look like the operator's.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use peerup_crds::{PeerNetwork, names};
use peerup_tests::light;
use peerup_tests::operator::Home;
use peerup_tests::wait::eventually;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::networks::opt_in;
use super::world::{SOON, World, gone, says};
use crate::chart;

/// Who the operator is here, so that the chart's policy can be about it alone.
const OPERATOR: &str = "lookalike-operator";

fn known(home: Home) -> Result<Home> {
    home.known_as(OPERATOR)
}

fn read<K: DeserializeOwned>(object: Value) -> Result<K> {
    Ok(serde_json::from_value(object)?)
}

/// What a copy of one of the operator's objects has.
fn labels(uid: &str) -> Value {
    json!({
        "app.kubernetes.io/name": "peerup-relay", "app.kubernetes.io/instance": "main",
        "app.kubernetes.io/managed-by": "peerup-operator", "peerup.dev/network-uid": uid,
    })
}

/// Puts up a policy and waits until it holds for the operator.
async fn enforce(world: &World, policy: Value) -> Result<()> {
    let name = policy["metadata"]["name"].as_str().context("a name")?;
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    let how = PatchParams::apply("peerup-tests").force();
    chart::apply(&world.client, &policy, &how).await?;
    chart::apply(&world.client, &binding, &how).await?;
    Ok(())
}

/// The chart's policy that holds the operator to names and labels of its own.
async fn policy_of_the_chart(world: &World) -> Result<()> {
    let objects = chart::objects(&[])?;
    let kind = "ValidatingAdmissionPolicy";
    let mut policy = chart::find(&objects, kind, "peerup-operator-objects")?.clone();
    policy["metadata"] = json!({"name": world.namespace});
    policy["spec"]["matchConditions"] = json!([{
        "name": "operator",
        "expression": format!("request.userInfo.username == '{OPERATOR}' && request.namespace in ['{}', '{}']", world.namespace, world.other),
    }]);
    enforce(world, policy).await?;
    let own = Api::<ConfigMap>::namespaced(world.home.client().await?, &world.namespace);
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    eventually("the policy", SOON, async || {
        let any = read(json!({"metadata": {"name": "any"}}))?;
        ensure!(own.create(&dry, &any).await.is_err(), "it is not known yet");
        Ok(())
    })
    .await
}

/// The status tells of the newest spec.
async fn settled(world: &World, reason: &str) -> Result<PeerNetwork> {
    eventually(&format!("Ready: {reason}"), SOON, async || {
        let network = world.api::<PeerNetwork>().get("main").await?;
        let status = network.status.as_ref().context("no status")?;
        ensure!(
            status.observed_generation == network.metadata.generation,
            "{status:?}"
        );
        says(&status.conditions, "Ready", reason)?;
        Ok(network)
    })
    .await
}

#[tokio::test]
async fn a_service_in_the_way_is_named_and_the_rest_is_made() -> Result<()> {
    let world = World::new("way").await?;
    let services = world.api::<Service>();
    let foreign = json!({"metadata": {"name": "main-relays"}, "spec": {"ports": [{"port": 4001}]}});
    services
        .create(&PostParams::default(), &read(foreign)?)
        .await?;
    world.network("main", json!({})).await?;
    let network = settled(&world, "ObjectRefused").await?;
    let status = network.status.context("status")?;
    let said = &status.conditions[0].message;
    let expected = format!("apply Service {}/main-relays: ", world.namespace);
    ensure!(said.starts_with(&expected), "{said}");
    ensure!(status.epoch == Some(1) && status.network_id.is_some());
    world.has::<Service>("main-relay-0").await?;
    world.has::<StatefulSet>("main-relay").await?;

    services
        .delete("main-relays", &DeleteParams::default())
        .await?;
    settled(&world, "NoRelayReady").await?;
    world.has::<Service>("main-relays").await.map(drop)
}

#[tokio::test]
async fn nothing_is_made_in_a_namespace_that_is_not_served() -> Result<()> {
    let world = World::new("served").await?;
    opt_in(&world, &world.other).await?;
    let unserved = light::namespace(&world.client, "unserved").await?;
    opt_in(&world, &unserved).await?;
    let network = world
        .network("main", json!({"allowedNamespaces": {"from": "All"}}))
        .await?;
    let bundle = names::ca_config_map(&network.uid().context("uid")?);
    let bundles = |namespace| Api::<ConfigMap>::namespaced(world.client.clone(), namespace);
    let served = bundles(&world.other);
    eventually("the bundle", SOON, async || Ok(served.get(&bundle).await?)).await?;
    // Applied after all bundles.
    world.has::<StatefulSet>("main-relay").await?;
    settled(&world, "NoRelayReady").await?;
    ensure!(bundles(&unserved).get_opt(&bundle).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn objects_that_look_like_ours_hold_up_nothing() -> Result<()> {
    let world = World::with("alike", known).await?;
    let network = world
        .network("main", json!({"allowedNamespaces": {"from": "All"}}))
        .await?;
    settled(&world, "NoRelayReady").await?;
    policy_of_the_chart(&world).await?;
    let uid = network.uid().context("uid")?;
    let (services, post) = (world.api::<Service>(), PostParams::default());
    let copy = json!({
        "metadata": {"name": "my-lb", "labels": labels(&uid)}, "spec": {"ports": [{"port": 4001}]},
    });
    services.create(&post, &read(copy)?).await?;
    let elsewhere = Api::<ConfigMap>::namespaced(world.client.clone(), &world.other);
    let notes = json!({"metadata": {"name": "notes", "labels": labels(&uid)}});
    elsewhere.create(&post, &read(notes)?).await?;
    // And a pod that says it is in the network, with a ConfigMap where its bundle would be.
    let bundle = json!({"metadata": {"name": names::ca_config_map(&uid)}});
    elsewhere.create(&post, &read(bundle)?).await?;
    let pods = Api::<Pod>::namespaced(world.client.clone(), &world.other);
    let pod = json!({
        "metadata": {"name": "forged", "labels": {"peerup.dev/injected": "true", "peerup.dev/network-uid": uid}},
        "spec": {"containers": [{"name": "app", "image": "app:1"}], "automountServiceAccountToken": false},
    });
    eventually("the forged pod", SOON, async || {
        Ok(pods.create(&post, &read(pod.clone())?).await?)
    })
    .await?;

    world
        .network_says("main", "InjectionReady", "ObjectRefused")
        .await?;
    let two = Patch::Merge(json!({"spec": {"relay": {"managed": {"replicas": 2}}}}));
    let networks = world.api::<PeerNetwork>();
    networks
        .patch("main", &PatchParams::default(), &two)
        .await?;
    world.has::<Service>("main-relay-1").await?;
    settled(&world, "NoRelayReady").await?;
    let one = Patch::Merge(json!({"spec": {"relay": {"managed": {"replicas": 1}}}}));
    networks
        .patch("main", &PatchParams::default(), &one)
        .await?;
    gone(&services, "main-relay-1").await?;
    settled(&world, "NoRelayReady").await?;

    networks.delete("main", &DeleteParams::default()).await?;
    gone(&networks, "main").await?;
    services.get("my-lb").await?;
    elsewhere.get("notes").await?;
    Ok(())
}

#[tokio::test]
async fn what_may_not_be_deleted_does_not_keep_a_network() -> Result<()> {
    let world = World::with("kept", known).await?;
    opt_in(&world, &world.other).await?;
    let network = world
        .network("main", json!({"allowedNamespaces": {"from": "All"}}))
        .await?;
    let bundle = names::ca_config_map(&network.uid().context("uid")?);
    let bundles = Api::<ConfigMap>::namespaced(world.client.clone(), &world.other);
    eventually("the bundle", SOON, async || {
        Ok(bundles.get(&bundle).await?)
    })
    .await?;
    let keep = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": world.namespace},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""], "apiVersions": ["*"], "resources": ["configmaps"], "operations": ["DELETE"],
            }]},
            "validations": [{
                "expression": format!("request.namespace != '{}' || request.userInfo.username != '{OPERATOR}'", world.other),
                "message": "nothing is deleted here",
            }],
        },
    });
    enforce(&world, keep).await?;
    let own = Api::<ConfigMap>::namespaced(world.home.client().await?, &world.other);
    let dry = DeleteParams {
        dry_run: true,
        ..DeleteParams::default()
    };
    eventually("the policy", SOON, async || {
        ensure!(own.delete(&bundle, &dry).await.is_err(), "not known yet");
        Ok(())
    })
    .await?;

    let networks = world.api::<PeerNetwork>();
    networks.delete("main", &DeleteParams::default()).await?;
    gone(&networks, "main").await?;
    bundles.get(&bundle).await?;
    Ok(())
}
