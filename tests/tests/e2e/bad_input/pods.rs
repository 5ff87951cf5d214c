//! Pods with wrong annotations: they run, and somebody is told what is wrong.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use peerup_crds::Peer;
use peerup_tests::story::{SHOP, facts};
use peerup_tests::wait::patiently;

use super::{STRAYS, strays};
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(60);

const WRONG_NETWORK: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: lost
  namespace: strays
  annotations: {peerup.dev/network: nowhere}
spec:
  containers: [{name: app, image: 'registry.k8s.io/pause:3.10'}]
";

const NOT_ADMITTED: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: guests, namespace: strays}
spec:
  selector: {matchLabels: {app: guests}}
  template:
    metadata:
      labels: {app: guests}
      annotations: {peerup.dev/network: shop/crew}
    spec:
      containers: [{name: app, image: 'registry.k8s.io/pause:3.10'}]
";

const BAD_ANNOTATIONS: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: odd
  namespace: shop
  annotations:
    peerup.dev/hold: perhaps
    peerup.dev/log-level: loud
    peerup.dev/name: Not a Name
    peerup.dev/memory-limit: much
    peerup.dev/colour: blue
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: app
      image: registry.k8s.io/pause:3.10
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
";

pub(crate) async fn a_wrong_network_name_is_told(world: &mut World) -> Result<()> {
    strays(world)?;
    let said = world.cluster.apply(WRONG_NETWORK)?;
    let warning = "the PeerNetwork named by annotation peerup.dev/network does not exist";
    ensure!(
        said.complaint().contains(warning),
        "no warning: {}",
        said.complaint()
    );
    said.ok()?;
    event(world, "Pod", "NetworkNotFound", warning).await?;
    runs_alone(world, "lost").await
}

pub(crate) async fn a_namespace_that_is_not_admitted_is_told(world: &mut World) -> Result<()> {
    strays(world)?;
    world.cluster.apply(NOT_ADMITTED)?.ok()?;
    let advice = "must admit this namespace in spec.allowedNamespaces";
    event(world, "ReplicaSet", "NamespaceNotAdmitted", advice).await?;
    let pods = world.cluster.list::<Pod>(STRAYS).await?;
    let guest = pods.iter().find(|pod| pod.labels().contains_key("app"));
    runs_alone(world, &guest.context("no guest")?.name_any()).await
}

/// The event that tells it, on the object that a person looks at.
async fn event(world: &World, kind: &str, reason: &str, words: &str) -> Result<()> {
    patiently(&format!("an event {reason}"), LIMIT, async || {
        let events = world.cluster.list::<Event>(STRAYS).await?;
        let found = events.iter().any(|event| {
            event.reason.as_deref() == Some(reason)
                && event.involved_object.kind.as_deref() == Some(kind)
                && event.message.as_deref().unwrap_or_default().contains(words)
        });
        ensure!(found, "none of {} events", events.len());
        Ok(())
    })
    .await
}

/// The pod runs, without a sidecar.
async fn runs_alone(world: &World, name: &str) -> Result<()> {
    patiently(&format!("pod {name} to run"), LIMIT, async || {
        let pod = world.cluster.get::<Pod>(STRAYS, name).await?;
        let phase = pod.status.and_then(|status| status.phase);
        ensure!(phase.as_deref() == Some("Running"), "it is {phase:?}");
        let spec = pod.spec.context("no spec")?;
        ensure!(
            spec.containers.len() == 1 && spec.init_containers.is_none(),
            "it has a sidecar"
        );
        Ok(())
    })
    .await
}

pub(crate) async fn bad_annotations_are_told_and_break_nothing(world: &mut World) -> Result<()> {
    let cluster = &world.cluster;
    let said = cluster.apply(BAD_ANNOTATIONS)?;
    let warnings = said.complaint();
    said.ok()?;
    for words in [
        "peerup.dev/hold=perhaps: must be none, started or joined",
        "peerup.dev/log-level=loud: must be error, warn, info, debug or trace",
        "must be a lower-case DNS label of at most 59 characters",
        "peerup.dev/memory-limit=much: must be a quantity",
        "peerup.dev/colour=blue: unknown annotation, ignored",
    ] {
        ensure!(warnings.contains(words), "no {words:?} in {warnings}");
    }
    let peer = patiently("the odd pod to join", Duration::from_secs(90), async || {
        let pod = cluster.get::<Pod>(SHOP, "odd").await?;
        facts::pod_says(&pod, "peerup.dev/Joined", "True", "Attested")?;
        let peers = cluster.list::<Peer>(SHOP).await?;
        Ok(facts::peer_of(&pod, &peers)?.name_any())
    })
    .await?;
    cluster
        .kubectl(&format!("delete pod odd -n {SHOP}"))?
        .ok()?;
    patiently("its Peer to go", LIMIT, async || {
        let left = cluster.list::<Peer>(SHOP).await?;
        ensure!(
            left.iter().all(|left| left.name_any() != peer),
            "it is there"
        );
        Ok(())
    })
    .await
}
