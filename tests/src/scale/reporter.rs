//! One pod with its Peer and token, and what it reports.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, PostParams};
use kube::{Client, ResourceExt};
use peerup_crds::{Peer, PeerNetwork, names};
use peerup_protocol::{SigningKey, id};
use serde_json::{Value, json};

/// The network.
pub(super) const NETWORK: &str = "main";

/// How reports were answered.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) taken: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Sent {
    pub(super) fn count(&self, taken: bool) {
        let count = if taken { &self.taken } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Where a pod runs: what stays when another pod takes its place.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) client: Client,
    pub(super) network: PeerNetwork,
    /// Where reports go, and from which address.
    pub(super) url: String,
    pub(super) http: reqwest::Client,
}

/// One pod that reports.
pub(super) struct Reporter {
    pod: String,
    token: String,
    url: String,
    http: reqwest::Client,
    pub(super) poor: AtomicBool,
    changed: AtomicU64,
}

impl Seat {
    /// A pod with the sidecar that the webhook gives it, its Peer as attestation leaves it, and a token as the kubelet
    /// gets it. No two have the same number.
    pub(super) async fn take(&self, number: usize) -> Result<Reporter> {
        let client = &self.client;
        let namespace = self.network.namespace().context("no namespace")?;
        let name = format!("pod-{number}");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
        }))?;
        let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
        let pod = pods.create(&PostParams::default(), &pod).await?;
        let given = pod.labels().get(names::labels::NETWORK_UID);
        ensure!(
            given == self.network.metadata.uid.as_ref(),
            "no sidecar: {:?}",
            pod.metadata
        );
        let token = token(client, &namespace, &pod).await?;
        let uid = self.network.uid().context("no uid")?;
        let peers = Api::<Peer>::namespaced(client.clone(), &namespace);
        let peer = serde_json::from_value(peer(&pod, number, &uid)?)?;
        peers.create(&PostParams::default(), &peer).await?;
        Ok(Reporter {
            pod: name,
            token,
            url: self.url.clone(),
            http: self.http.clone(),
            poor: AtomicBool::new(false),
            changed: AtomicU64::new(now()),
        })
    }

    /// The pod goes; its Peer is the operator's to remove.
    pub(super) async fn leave(&self, reporter: &Reporter) -> Result<()> {
        let namespace = self.network.namespace().context("no namespace")?;
        let pods = Api::<Pod>::namespaced(self.client.clone(), &namespace);
        let now = DeleteParams::default().grace_period(0);
        pods.delete(&reporter.pod, &now).await?;
        Ok(())
    }
}

impl Reporter {
    /// Reports; answers whether it was taken.
    pub(super) async fn report(&self) -> bool {
        let request = self.http.post(&self.url).bearer_auth(&self.token);
        let answer = request.body(self.words().to_string()).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// From now on it says the other of two grades.
    pub(super) fn change(&self) {
        self.poor.fetch_xor(true, Ordering::Relaxed);
        self.changed.store(now(), Ordering::Relaxed);
    }

    fn words(&self) -> Value {
        let (grade, evidence, mapping) = if self.poor.load(Ordering::Relaxed) {
            ("D", "mapping-differs", "AddressDependent")
        } else {
            ("C", "filtering-untestable", "EndpointIndependent")
        };
        json!({ "report": {
            "grade": grade, "gradeReason": "as a simulation says", "scope": "Internal", "natType": "EndpointIndependent",
            "mapping": mapping, "filtering": "Unknown", "confidence": "Measured", "evidence": [evidence],
            "publicAddresses": ["10.244.1.7"], "path": "Relayed", "relays": [],
            "changedTime": self.changed.load(Ordering::Relaxed), "version": "0.1.0",
        } })
    }
}

async fn token(client: &Client, namespace: &str, pod: &Pod) -> Result<String> {
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![names::audience(namespace, NETWORK)],
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(pod.name_any()),
                uid: pod.uid(),
            }),
            expiration_seconds: Some(4 * 3600),
        },
        ..TokenRequest::default()
    };
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    let answer = accounts
        .create_token_request("default", &PostParams::default(), &request)
        .await?;
    Ok(answer.status.context("no token")?.token)
}

fn peer(pod: &Pod, number: usize, network_uid: &str) -> Result<Value> {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    let peer_id = id::peer_id(&SigningKey::from_bytes(&seed).verifying_key());
    let (name, namespace) = (pod.name_any(), pod.namespace().context("no namespace")?);
    Ok(json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "Peer",
        "metadata": {
            "name": names::peer(NETWORK, &name),
            "labels": { names::labels::NETWORK_UID: network_uid, names::labels::MANAGED_BY: names::labels::OPERATOR },
            "finalizers": [names::finalizers::PEER],
        },
        "spec": {
            "networkRef": { "name": NETWORK }, "peerID": peer_id.to_string(), "serial": format!("{:016x}", number + 1),
            "subject": format!("sa:{namespace}/default"), "type": "Pod", "method": "Attested", "displayName": name,
            "podRef": {
                "namespace": namespace, "name": name, "uid": pod.uid(), "serviceAccount": "default", "nodeName": "node",
            },
            "state": "Active",
        },
    }))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
