//! Custom resources that cannot be, and an operator that may not do its work.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use peerup_crds::{PairingCode, PeerNetwork};
use peerup_tests::story::{CODES, NETWORK, SHOP, facts};
use peerup_tests::wait::patiently;

use super::{STRAYS, strays};
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(60);

const FOR_NOBODY: &str = "
apiVersion: peerup.dev/v1alpha1
kind: PairingCode
metadata: {name: for-nobody, namespace: strays}
spec: {networkRef: {name: missing}}
";

/// An operator with the shipped image, and an account without any right.
const RIGHTLESS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: rightless}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: nobody, namespace: rightless}
---
apiVersion: v1
kind: Pod
metadata: {name: operator, namespace: rightless}
spec:
  serviceAccountName: nobody
  restartPolicy: Never
  containers:
    - name: operator
      image: IMAGE
      imagePullPolicy: IfNotPresent
      env: [{name: POD_NAMESPACE, value: rightless}]
";

pub(crate) async fn a_code_for_a_missing_network_says_so(world: &mut World) -> Result<()> {
    strays(world)?;
    world.cluster.apply(FOR_NOBODY)?.ok()?;
    patiently("the PairingCode to say it", LIMIT, async || {
        let code = world
            .cluster
            .get::<PairingCode>(STRAYS, "for-nobody")
            .await?;
        let ready = facts::code_condition(&code, "Ready", "False")?;
        ensure!(
            ready.reason == "NetworkNotFound",
            "the reason is {}",
            ready.reason
        );
        ensure!(
            ready.message.contains("missing"),
            "the message is {}",
            ready.message
        );
        Ok(())
    })
    .await?;
    world
        .cluster
        .kubectl(&format!("delete pcode for-nobody -n {STRAYS}"))?
        .ok()
        .map(drop)
}

pub(crate) async fn impossible_numbers_and_changes_are_refused(world: &mut World) -> Result<()> {
    let cluster = &world.cluster;
    let code = |spec: &str| {
        format!(
            "{{apiVersion: peerup.dev/v1alpha1, kind: PairingCode, \
             metadata: {{name: impossible, namespace: {SHOP}}}, \
             spec: {{networkRef: {{name: {NETWORK}}}, {spec}}}}}"
        )
    };
    cluster
        .apply(&code("ttlSeconds: 5"))?
        .refused(&["spec.ttlSeconds", "greater than or equal to 60"])?;
    cluster
        .apply(&code("count: 0"))?
        .refused(&["spec.count", "greater than or equal to 1"])?;
    for (what, change, words) in [
        (
            format!("pcode {CODES}"),
            r#"{"spec":{"count":5}}"#,
            "count must not change",
        ),
        (
            format!("pcode {CODES}"),
            r#"{"spec":{"ttlSeconds":7200}}"#,
            "ttlSeconds must not change",
        ),
        (
            format!("pnet {NETWORK}"),
            r#"{"spec":{"dhtNamespace":"other"}}"#,
            "dhtNamespace must not",
        ),
        (
            format!("peer {NETWORK}.laptop"),
            r#"{"spec":{"displayName":"me"}}"#,
            "displayName must not change",
        ),
    ] {
        cluster
            .kubectl(&format!(
                "patch {what} -n {SHOP} --type=merge -p '{change}'"
            ))?
            .refused(&[words])?;
    }
    Ok(())
}

pub(crate) async fn a_network_name_is_taken_once(world: &mut World) -> Result<()> {
    strays(world)?;
    let cluster = &world.cluster;
    let first = cluster.get::<PeerNetwork>(SHOP, NETWORK).await?;
    let taken = first.status.and_then(|status| status.dht_namespace);
    let taken = taken.context("the first network has no name")?;
    cluster
        .apply(&format!(
            "{{apiVersion: peerup.dev/v1alpha1, kind: PeerNetwork, \
             metadata: {{name: second, namespace: {STRAYS}}}, spec: {{dhtNamespace: {taken}}}}}"
        ))?
        .ok()?;
    patiently("the second network to say it", LIMIT, async || {
        let second = cluster.get::<PeerNetwork>(STRAYS, "second").await?;
        let message = facts::network_condition(&second, "Ready", "False", "NamespaceTaken")?;
        ensure!(
            message.contains(&format!("{SHOP}/{NETWORK}")),
            "the message is {message}"
        );
        Ok(())
    })
    .await?;
    cluster
        .kubectl(&format!("delete pnet second -n {STRAYS} --timeout=60s"))?
        .ok()
        .map(drop)
}

pub(crate) async fn an_operator_without_rights_says_which(world: &mut World) -> Result<()> {
    let cluster = &world.cluster;
    let image = cluster
        .kubectl("get pods -n peerup-system -l app.kubernetes.io/component=operator -o jsonpath='{.items[0].spec.containers[0].image}'")?
        .ok()?;
    cluster.apply(&RIGHTLESS.replace("IMAGE", &image))?.ok()?;
    patiently("the operator to give up", LIMIT, async || {
        let pod = cluster.get::<Pod>("rightless", "operator").await?;
        let phase = pod.status.and_then(|status| status.phase);
        ensure!(phase.as_deref() == Some("Failed"), "it is {phase:?}");
        Ok(())
    })
    .await?;
    let log = cluster.kubectl("logs operator -n rightless")?.ok()?;
    println!("{log}");
    for words in [
        "lacks permissions",
        "list peernetworks.peerup.dev",
        "create tokenreviews",
    ] {
        ensure!(log.contains(words), "no {words:?} in its log");
    }
    Ok(())
}

pub(crate) async fn nothing_was_lost(world: &mut World) -> Result<()> {
    let cluster = &world.cluster;
    cluster.network_ready(NETWORK, LIMIT).await?;
    cluster.pods_joined(6, LIMIT).await?;
    world.laptop()?.connected(LIMIT).await.map(drop)
}
