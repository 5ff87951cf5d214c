//! Pods with their Peers and tokens, and their reports.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use peerup_crds::{Peer, PeerNetwork, names};
use peerup_protocol::{SigningKey, id};
use serde_json::{Value, json};

use crate::light::{self, Light};
use crate::operator::{Home, Operator};
use crate::wait::{eventually, patiently};

/// The network.
const NETWORK: &str = "main";
/// Requests to the API server that are under way at once while things are set up.
const AT_ONCE: usize = 32;
/// Reporters that share an address, as pods behind one node's address would.
const PER_ADDRESS: usize = 40;
/// Between two reports of one pod, as a network's default says; ±20 %.
const PERIOD: Duration = Duration::from_secs(30);
const SETUP: Duration = Duration::from_secs(120);

/// All of it; the reporters end with it.
pub struct Crowd {
    /// A client of the API server.
    pub client: Client,
    operator: Operator,
    http: reqwest::Client,
    reporters: Vec<Arc<Reporter>>,
    sent: Arc<Sent>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _light: Light,
}

/// How reports were answered.
#[derive(Debug, Default)]
struct Sent {
    taken: AtomicU64,
    refused: AtomicU64,
}

/// One pod that reports.
struct Reporter {
    token: String,
    url: String,
    http: reqwest::Client,
    poor: AtomicBool,
    changed: AtomicU64,
}

impl Crowd {
    /// Starts API server and operator, and stores so many pods with their Peers.
    pub async fn gather(count: usize) -> Result<Self> {
        let light = Light::start()?;
        let client = light.client().await?;
        let namespace = light::namespace(&client, "crowd").await?;
        let home = Home::new(&light, &client, &[&namespace]).await?;
        let operator = home.start().await?;
        let network = network(&client, &namespace, count).await?;
        eventually("the default service account", SETUP, async || {
            let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &namespace);
            Ok(accounts.get("default").await?)
        })
        .await?;
        let ca = home.ca().await?;
        let sources = sources(count, &ca)?;
        let made = stream::iter(0..count).map(|number| {
            let http = sources[number / PER_ADDRESS].clone();
            let url = format!("{}/v1/report", operator.url);
            let (client, network) = (&client, &network);
            async move {
                reporter(client, network, number, url, http)
                    .await
                    .map(Arc::new)
            }
        });
        let reporters = made.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(Self {
            client,
            operator,
            http: reqwest::Client::builder().no_proxy().build()?,
            reporters,
            sent: Arc::default(),
            tasks: Vec::new(),
            _light: light,
        })
    }

    /// The operator's process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.operator.program.id()
    }

    /// Lets all begin to report, each at its own time within a period, and waits until what they say first is written.
    pub async fn settle(&mut self, limit: Duration) -> Result<()> {
        for (number, reporter) in self.reporters.iter().enumerate() {
            let (reporter, sent) = (reporter.clone(), self.sent.clone());
            let first = PERIOD.mul_f64(spread(number));
            let period = PERIOD.mul_f64(0.8 + 0.4 * spread(number.wrapping_mul(7) + 3));
            self.tasks.push(tokio::spawn(async move {
                let mut ticks =
                    tokio::time::interval_at(tokio::time::Instant::now() + first, period);
                loop {
                    ticks.tick().await;
                    reporter.report(&sent).await;
                }
            }));
        }
        let wanted = self.reporters.len() as u64;
        patiently("all to be graded", limit, async || {
            let (graded, waiting) = (self.graded("C").await?, self.waiting().await?);
            ensure!(
                graded == wanted && waiting == 0,
                "{graded} of {wanted} are graded, {waiting} wait; {}",
                self.told()
            );
            Ok(())
        })
        .await
    }

    /// For so long, changes this share of all grades a minute, evenly in time; answers how many.
    pub async fn change(&self, share: f64, span: Duration) -> usize {
        let per_second = self.reporters.len() as f64 * share / 60.0;
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second));
        let end = tokio::time::Instant::now() + span;
        let mut changed = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = tokio::time::sleep_until(end) => return changed,
            }
            // a stride without a common divisor visits all before any again
            let reporter = &self.reporters[changed * 7919 % self.reporters.len()];
            reporter.poor.fetch_xor(true, Ordering::Relaxed);
            reporter.changed.store(now(), Ordering::Relaxed);
            let (reporter, sent) = (reporter.clone(), self.sent.clone());
            tokio::spawn(async move { reporter.report(&sent).await });
            changed += 1;
        }
    }

    /// Waits until the operator counts exactly the grades that were reported, and nobody as silent.
    pub async fn agrees(&self, limit: Duration) -> Result<()> {
        let poor = |reporter: &&Arc<Reporter>| reporter.poor.load(Ordering::Relaxed);
        let poor = self.reporters.iter().filter(poor).count() as u64;
        let well = self.reporters.len() as u64 - poor;
        patiently("the last changes to be written", limit, async || {
            let found = (self.graded("C").await?, self.graded("D").await?);
            ensure!(found == (well, poor), "{found:?}, not {:?}", (well, poor));
            Ok(())
        })
        .await
    }

    /// Reports that were taken, and those that were not.
    #[must_use]
    pub fn reports(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&self.sent.taken), of(&self.sent.refused))
    }

    /// Peers that wait for a write.
    pub async fn waiting(&self) -> Result<u64> {
        self.metric("peerup_status_write_queue").await
    }

    fn told(&self) -> String {
        let (taken, refused) = self.reports();
        format!("{taken} reports were taken, {refused} not")
    }

    async fn graded(&self, grade: &str) -> Result<u64> {
        self.metric(&format!("peerup_peers{{grade=\"{grade}\","))
            .await
    }

    /// The sum of the operator's metrics that begin so.
    async fn metric(&self, start: &str) -> Result<u64> {
        let url = format!("{}/metrics", self.operator.http);
        let page = self.http.get(url).send().await?.text().await?;
        let values = page
            .lines()
            .filter(|line| line.starts_with(start))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        Ok(values.sum())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Reporter {
    async fn report(&self, sent: &Sent) {
        let request = self.http.post(&self.url).bearer_auth(&self.token);
        let answer = request.body(self.words().to_string()).send().await;
        let taken = answer.is_ok_and(|answer| answer.status().is_success());
        let count = if taken { &sent.taken } else { &sent.refused };
        count.fetch_add(1, Ordering::Relaxed);
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

async fn network(client: &Client, namespace: &str, count: usize) -> Result<PeerNetwork> {
    let api = Api::<PeerNetwork>::namespaced(client.clone(), namespace);
    let network = serde_json::from_value(json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork", "metadata": { "name": NETWORK },
        "spec": { "peers": { "maxPeers": count } },
    }))?;
    api.create(&PostParams::default(), &network).await?;
    eventually("the network to be set up", SETUP, async || {
        let network = api.get(NETWORK).await?;
        let status = network.status.as_ref().context("no status")?;
        ensure!(status.network_id.is_some(), "{status:?}");
        Ok(network)
    })
    .await
}

/// A client for each address, as the operator's limits for one source are those of a node.
fn sources(count: usize, ca: &str) -> Result<Vec<reqwest::Client>> {
    let ca = reqwest::Certificate::from_pem(ca.as_bytes())?;
    let addresses = u32::try_from(count.div_ceil(PER_ADDRESS))?;
    (1..=addresses)
        .map(|number| {
            let address = Ipv4Addr::from(0x7f65_0000 + number);
            Ok(reqwest::Client::builder()
                .no_proxy()
                .local_address(IpAddr::V4(address))
                .tls_certs_only([ca.clone()])
                .pool_max_idle_per_host(2)
                .timeout(Duration::from_secs(20))
                .build()?)
        })
        .collect()
}

/// A pod as the webhook leaves it, its Peer as attestation does, and a token as the kubelet gets it.
async fn reporter(
    client: &Client,
    network: &PeerNetwork,
    number: usize,
    url: String,
    http: reqwest::Client,
) -> Result<Reporter> {
    let namespace = network.namespace().context("no namespace")?;
    let (name, uid) = (format!("pod-{number}"), network.uid().context("no uid")?);
    let labels = json!({ names::labels::INJECTED: "true", names::labels::NETWORK_UID: uid });
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": name, "labels": labels },
        "spec": { "containers": [{ "name": "app", "image": "app:1" }] },
    }))?;
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let pod = pods.create(&PostParams::default(), &pod).await?;
    let token = token(client, &namespace, &pod).await?;
    let peers = Api::<Peer>::namespaced(client.clone(), &namespace);
    let peer = serde_json::from_value(peer(&pod, number, &uid)?)?;
    peers.create(&PostParams::default(), &peer).await?;
    Ok(Reporter {
        token,
        url,
        http,
        poor: AtomicBool::new(false),
        changed: AtomicU64::new(now()),
    })
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

/// A fraction of 1 for each number, evenly spread.
fn spread(number: usize) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    (number as f64 * GOLDEN).fract()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
