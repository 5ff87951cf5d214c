//! Very many pods that report, and what becomes of them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use kube::api::{Api, PostParams};
use peerup_crds::PeerNetwork;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::reporter::{NETWORK, Reporter, Seat, Sent};
use crate::light::Light;
use crate::operator::{Home, Operator, opted_in};
use crate::wait::{eventually, patiently};

/// Requests to the API server that are under way at once while things are set up.
const AT_ONCE: usize = 32;
/// Reporters that share an address, as pods behind one node's address would.
const PER_ADDRESS: usize = 40;
/// Between two reports of one pod, as a network's default says; ±20 %.
const PERIOD: Duration = Duration::from_secs(30);
const SETUP: Duration = Duration::from_secs(120);
/// The operator's Lease, by default.
const LEASE: &str = "peerup-operator";
/// Pods that are there for a moment beside those that they replace.
const SURPLUS: usize = 500;

/// All of it; the reporters end with it.
pub struct Crowd {
    /// A client of the API server.
    pub client: Client,
    operator: Operator,
    home: Home,
    http: reqwest::Client,
    places: Vec<Arc<Place>>,
    numbers: AtomicUsize,
    sent: Arc<Sent>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _light: Light,
}

/// A pod, and later the one that replaces it.
struct Place {
    seat: Seat,
    reporter: Mutex<Arc<Reporter>>,
}

impl Place {
    fn reporter(&self) -> Arc<Reporter> {
        let reporter = self.reporter.lock().unwrap_or_else(PoisonError::into_inner);
        reporter.clone()
    }

    /// Another pod takes the place; then the former one goes.
    async fn replace(&self, number: usize, sent: &Sent) -> Result<()> {
        let next = Arc::new(self.seat.take(number).await?);
        let former = {
            let mut reporter = self.reporter.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *reporter, next.clone())
        };
        sent.count(next.report().await);
        self.seat.leave(&former).await
    }
}

impl Crowd {
    /// Starts API server and operator, and stores so many pods with their Peers; each reports from then on.
    pub async fn gather(count: usize) -> Result<Self> {
        let light = Light::start()?;
        let client = light.client().await?;
        let namespace = opted_in(&client, "crowd").await?;
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
            let seat = Seat {
                client: client.clone(),
                network: network.clone(),
                url: format!("{}/v1/report", operator.url),
                http: sources[number / PER_ADDRESS].clone(),
            };
            async move {
                let reporter = Mutex::new(Arc::new(seat.take(number).await?));
                anyhow::Ok(Arc::new(Place { seat, reporter }))
            }
        });
        let mut made = made.buffer_unordered(AT_ONCE);
        let (sent, mut places, mut tasks) = (Arc::<Sent>::default(), Vec::new(), Vec::new());
        while let Some(place) = made.try_next().await? {
            tasks.push(tokio::spawn(report(
                place.clone(),
                sent.clone(),
                tasks.len(),
            )));
            places.push(place);
        }
        drop(made);
        Ok(Self {
            client,
            operator,
            home,
            http: reqwest::Client::builder().no_proxy().build()?,
            places,
            numbers: AtomicUsize::new(count),
            sent,
            tasks,
            _light: light,
        })
    }

    /// The operator's process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.operator.program.id()
    }

    /// Waits until what all said first is written.
    pub async fn settle(&self, limit: Duration) -> Result<()> {
        let wanted = self.places.len() as u64;
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
        let mut pace = self.pace(share, span);
        let mut changed = 0;
        while pace.next().await {
            let reporter = self.place(changed).reporter();
            reporter.change();
            let sent = self.sent.clone();
            tokio::spawn(async move { sent.count(reporter.report().await) });
            changed += 1;
        }
        changed
    }

    /// For so long, replaces this share of all pods a minute, evenly in time; answers how many.
    pub async fn replace(&self, share: f64, span: Duration) -> Result<usize> {
        let mut pace = self.pace(share, span);
        let mut replacing = JoinSet::new();
        while pace.next().await {
            // not those whose grades change at the same time
            let place = self.place(replacing.len() + self.places.len() / 2).clone();
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let sent = self.sent.clone();
            replacing.spawn(async move { place.replace(number, &sent).await });
        }
        let count = replacing.len();
        for replaced in replacing.join_all().await {
            replaced.context("replace a pod")?;
        }
        Ok(count)
    }

    fn pace(&self, share: f64, span: Duration) -> Pace {
        let per_second = self.places.len() as f64 * share / 60.0;
        Pace {
            ticks: tokio::time::interval(Duration::from_secs_f64(1.0 / per_second)),
            end: Instant::now() + span,
        }
    }

    /// A stride without a common divisor visits all before any again.
    fn place(&self, turn: usize) -> &Arc<Place> {
        &self.places[turn * 7919 % self.places.len()]
    }

    /// Waits until the operator counts exactly the grades that were reported, and nobody as silent.
    pub async fn agrees(&self, limit: Duration) -> Result<()> {
        let poor = |place: &&Arc<Place>| place.reporter().poor.load(Ordering::Relaxed);
        let poor = self.places.iter().filter(poor).count() as u64;
        let well = self.places.len() as u64 - poor;
        patiently("the last changes to be written", limit, async || {
            let found = (self.graded("C").await?, self.graded("D").await?);
            ensure!(found == (well, poor), "{found:?}, not {:?}", (well, poor));
            Ok(())
        })
        .await
    }

    /// How often the lease got a holder: once more for each time that the operator lost it.
    pub async fn elections(&self) -> Result<i32> {
        let leases = Api::<Lease>::namespaced(self.client.clone(), &self.home.namespace);
        let spec = leases.get(LEASE).await?.spec.context("an empty Lease")?;
        spec.lease_transitions.context("nobody has held the Lease")
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

/// Reports at once, as a sidecar that has measured for the first time, and then for ever.
async fn report(place: Arc<Place>, sent: Arc<Sent>, number: usize) {
    let mut ticks = tokio::time::interval(PERIOD.mul_f64(0.8 + 0.4 * spread(number)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let reporter = place.reporter();
        let taken = reporter.report().await;
        // one that was replaced meanwhile is nobody
        if taken || Arc::ptr_eq(&reporter, &place.reporter()) {
            sent.count(taken);
        }
    }
}

/// Evenly in time, until the end.
struct Pace {
    ticks: tokio::time::Interval,
    end: Instant,
}

impl Pace {
    async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.ticks.tick() => Instant::now() < self.end,
            () = tokio::time::sleep_until(self.end) => false,
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn network(client: &Client, namespace: &str, count: usize) -> Result<PeerNetwork> {
    let api = Api::<PeerNetwork>::namespaced(client.clone(), namespace);
    let network = serde_json::from_value(json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork", "metadata": { "name": NETWORK },
        "spec": { "peers": { "maxPeers": count + SURPLUS } },
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

/// A client for each address, as the operator's limits for one source are those of a node. Each report has a connection
/// of its own, as sidecars keep theirs for less than their period.
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
                .pool_max_idle_per_host(0)
                .timeout(Duration::from_secs(20))
                .build()?)
        })
        .collect()
}

/// A fraction of 1 for each number, evenly spread.
fn spread(number: usize) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    (number as f64 * GOLDEN).fract()
}
