//! From nothing to a network with pods and codes.

use std::time::Duration;

use anyhow::{Result, ensure};
use peerup_tests::story::{CODES, HOME, NETWORK, SHOP};

use crate::world::World;

/// A code that has expired long before the end of the run.
const BRIEF: &str = "
apiVersion: peerup.dev/v1alpha1
kind: PairingCode
metadata: {name: brief, namespace: shop}
spec: {networkRef: {name: crew}, ttlSeconds: 60}
";

/// On a machine that stands still for seconds the API server would let pods through without a sidecar.
const PATIENT: &str = "--set webhook.timeoutSeconds=30";

pub(crate) async fn helm_installs_the_operator(world: &mut World) -> Result<()> {
    world.cluster.install("install", PATIENT)?;
    let notes = world
        .cluster
        .shell
        .run(&format!("helm get notes peerup -n {HOME}"))?
        .ok()?;
    ensure!(
        notes.contains("kubectl get secret"),
        "no word of codes in the notes:\n{notes}"
    );
    Ok(())
}

pub(crate) async fn the_examples_apply(world: &mut World) -> Result<()> {
    world.cluster.apply_examples().await?;
    world
        .cluster
        .network_ready(NETWORK, Duration::from_secs(120))
        .await?;
    Ok(())
}

pub(crate) async fn codes_are_delivered(world: &mut World) -> Result<()> {
    let limit = Duration::from_secs(60);
    world.cluster.apply(BRIEF)?.ok()?;
    let mut brief = world.cluster.codes(SHOP, "brief", limit).await?;
    world.brief = brief.remove("code-0");
    world.issued.extend(world.brief.clone());
    let codes = world.cluster.codes(SHOP, CODES, limit).await?;
    ensure!(
        codes.keys().eq(["code-0", "code-1", "code-2"]),
        "keys {:?}",
        codes.keys()
    );
    world.issued.extend(codes.into_values());
    Ok(())
}

pub(crate) async fn helm_test_passes(world: &mut World) -> Result<()> {
    let line = format!("helm test peerup --namespace {HOME} --timeout 3m");
    world.cluster.shell.run(&line)?.ok().map(drop)
}
