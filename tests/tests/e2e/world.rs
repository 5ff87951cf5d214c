//! What the steps share.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::api::{Api, Patch, PatchParams};
use peerup_crds::PeerNetwork;
use peerup_tests::story::cluster::Cluster;
use peerup_tests::story::laptop::Laptop;
use peerup_tests::story::shell::Show;
use peerup_tests::story::{NETWORK, SHOP};
use serde_json::{Value, json};

use crate::logs::Logs;
use crate::prometheus::Prometheus;
use crate::snapshot::Snapshot;
use crate::wire::Capture;

/// The cluster and what the steps so far have left.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    /// Logs of all our containers since the beginning.
    pub(crate) logs: Logs,
    /// What was in the cluster before the beginning.
    pub(crate) before: Snapshot,
    /// Texts of all codes that were ever issued.
    pub(crate) issued: BTreeSet<String>,
    /// A code that lives for a minute.
    pub(crate) brief: Option<String>,
    /// The peer outside of the cluster.
    pub(crate) laptop: Option<Laptop>,
    /// Another one.
    pub(crate) desktop: Option<Laptop>,
    /// Where the laptop's local port leads to a pod.
    pub(crate) port: Option<u16>,
    /// What passes at the relay's ports outside.
    pub(crate) wire: Option<Capture>,
    /// What watches the cluster.
    pub(crate) prometheus: Option<Prometheus>,
    /// Name of the pod whose grade is watched.
    pub(crate) watched: Option<String>,
    directory: PathBuf,
}

impl World {
    pub(crate) async fn new() -> Result<World> {
        let directory = std::env::var_os("PEERUP_E2E_DIRECTORY")
            .map_or_else(|| std::env::temp_dir().join("peerup-e2e"), PathBuf::from);
        let _ = fs::remove_dir_all(&directory); // of a run before
        fs::create_dir_all(&directory).context("make the directory for logs")?;
        let cluster = Cluster::connect(Show::Command).await?;
        Ok(World {
            logs: Logs::start(cluster.client.clone(), directory.join("logs"))?,
            before: Snapshot::take(&cluster.client).await?,
            issued: BTreeSet::new(),
            brief: None,
            laptop: None,
            desktop: None,
            port: None,
            wire: None,
            prometheus: None,
            watched: None,
            cluster,
            directory,
        })
    }

    /// Where logs, evidence and laptops lie.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The state directory of a peer on this machine.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.directory.join("state").join(name)
    }

    /// The laptop that joined.
    pub(crate) fn laptop(&self) -> Result<&Laptop> {
        self.laptop.as_ref().context("no laptop has joined")
    }

    /// The other peer outside.
    pub(crate) fn desktop(&self) -> Result<&Laptop> {
        self.desktop.as_ref().context("the desktop does not run")
    }

    /// The Prometheus that watches.
    pub(crate) fn prometheus(&self) -> Result<&Prometheus> {
        self.prometheus.as_ref().context("no Prometheus watches")
    }

    /// Changes the network's spec, as `kubectl patch` would.
    pub(crate) async fn patch_network(&self, spec: Value) -> Result<()> {
        let patch = json!({ "spec": spec });
        println!("$ kubectl patch pnet {NETWORK} -n {SHOP} --type merge -p '{patch}'");
        let networks = Api::<PeerNetwork>::namespaced(self.cluster.client.clone(), SHOP);
        networks
            .patch(NETWORK, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// Ends what runs here; what lies in the directory is worth something after a failure only.
    pub(crate) fn end(self, well: bool) {
        drop(self.laptop);
        drop(self.desktop);
        drop(self.wire);
        drop(self.logs);
        if well {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
