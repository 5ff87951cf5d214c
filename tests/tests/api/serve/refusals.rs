//! What the API server refuses of a network's objects costs neither its status nor its documents.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use peerup_crds::PeerNetwork;
use peerup_protocol::record::NetworkDocument;
use peerup_tests::wait::eventually;
use serde_json::{Value, json};

use super::roll::roster;
use super::world::{SOON, World};

/// What the network's readiness says for its newest spec, when this is its reason.
async fn says_now(world: &World, reason: &str) -> Result<String> {
    let network = world.api::<PeerNetwork>().get("main").await?;
    let status = network.status.as_ref().context("no status")?;
    ensure!(
        status.observed_generation == network.metadata.generation,
        "the status is of another spec: {status:?}"
    );
    let mut conditions = status.conditions.iter();
    let ready = conditions.find(|condition| condition.type_ == "Ready");
    let ready = ready.context("no Ready")?;
    ensure!(ready.reason == reason, "{ready:?}");
    Ok(ready.message.clone())
}

/// Waits until the network's readiness has this reason; answers what it says.
async fn says(world: &World, reason: &str) -> Result<String> {
    let what = format!("Ready: {reason}");
    eventually(&what, SOON, async || says_now(world, reason).await).await
}

async fn change(world: &World, spec: Value) -> Result<()> {
    let patch = Patch::Merge(json!({ "spec": spec }));
    let networks = world.api::<PeerNetwork>();
    networks
        .patch("main", &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

/// Waits until a relay is told whether there are guests.
async fn guests(world: &World, expected: bool) -> Result<()> {
    let relay = world.relay().await?;
    eventually("the document", SOON, async || {
        let answer = roster(&relay, 0, 0).await?;
        let document = NetworkDocument::decode(&answer.network_document.bytes)?;
        ensure!(document.flags.guests == expected, "{document:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_refused_stateful_set_is_told_and_documents_are_still_published() -> Result<()> {
    let mut world = World::new("refused").await?;
    guests(&world, false).await?;
    let bad = json!({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}});
    let bad = json!({"relay": {"managed": {"resources": bad}}, "pairing": {"guests": "Enabled"}});
    change(&world, bad).await?;
    let said = says(&world, "ObjectRefused").await?;
    let expected = format!("apply StatefulSet {}/main-relay: ", world.namespace);
    ensure!(
        said.contains(&expected) && said.contains("memory limit"),
        "{said}"
    );
    guests(&world, true).await?;
    let events = world.api::<Event>();
    eventually("an event", SOON, async || {
        let all = events.list(&ListParams::default()).await?;
        let told = all.iter().find(|event| {
            let about = event.regarding.clone().unwrap_or_default();
            about.kind.as_deref() == Some("PeerNetwork")
                && event.reason.as_deref() == Some("ObjectRefused")
        });
        let told = told.context("nothing is told")?;
        ensure!(told.type_.as_deref() == Some("Warning"), "{told:?}");
        Ok(())
    })
    .await?;

    // Another leader has signed nothing yet, and is refused the same.
    world.operator.program.kill()?;
    world.operator = world.home.replica("operator-1")?;
    world.home.ready(&mut world.operator).await?;
    guests(&world, true).await?;

    let good = json!({"requests": {"memory": "64Mi"}, "limits": {"memory": "1Gi"}});
    change(&world, json!({"relay": {"managed": {"resources": good}}})).await?;
    // The controller of StatefulSets replaces the pod: whichever is there is told to run.
    eventually("Ready: Running", SOON, async || {
        world.relay_runs().await?;
        says_now(&world, "Running").await.map(drop)
    })
    .await
}

#[tokio::test]
async fn a_quiet_refusal_writes_nothing() -> Result<()> {
    let world = World::new("refused").await?;
    // The order of the words about two labels is up to the API server.
    let labels = json!({"bad one": "x", "bad two": "y", "bad three": "z", "bad four": "z"});
    change(
        &world,
        json!({"relay": {"managed": {"podTemplate": {"labels": labels}}}}),
    )
    .await?;
    says(&world, "ObjectRefused").await?;
    let networks = world.api::<PeerNetwork>();
    let first = networks.get("main").await?.resource_version();
    let mut versions = std::collections::BTreeSet::from([first]);
    peerup_tests::wait::steadily("peace", std::time::Duration::from_secs(8), async || {
        versions.insert(networks.get("main").await?.resource_version());
        ensure!(versions.len() <= 2, "it is written again and again");
        Ok(())
    })
    .await
}
