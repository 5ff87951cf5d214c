//! A Prometheus on this machine that watches the cluster through the API server, with the chart's own rules. Debian's
//! is built without its discovery of Kubernetes, so the pods are listed here, by the annotations that they have for it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use data_encoding::BASE64;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use peerup_crds::names;
use peerup_tests::story::cluster::Cluster;
use peerup_tests::story::{CHART, HOME, SHOP};
use peerup_tests::tools::{helm, prometheus, run};
use peerup_tests::wait::patiently;
use serde_json::{Value, json};

/// The file that lists what is watched.
const TARGETS: &str = "targets.json";
/// Below the ports that the kernel gives away.
const PORTS: std::ops::Range<u16> = 19_800..19_900;
/// Longest time for a server to begin, or an alert to come or go.
const LIMIT: Duration = Duration::from_secs(120);
/// The alerts that are looked at, with as little patience as they can have.
const WATCHED: [&str; 2] = ["PeerupGradeD", "PeerupPeerOffline"];

/// The server; ends when dropped.
#[derive(Debug)]
pub(crate) struct Prometheus {
    child: Child,
    port: u16,
    targets: PathBuf,
    host: String,
}

impl Prometheus {
    /// Starts it with its files in this directory, and waits until it has seen the operator and a sidecar.
    pub(crate) async fn start(cluster: &Cluster, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let port = PORTS
            .into_iter()
            .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .context("no port is free")?;
        fs::write(directory.join("rules.yaml"), rules()?.to_string())?;
        let (config, host) = config(directory)?;
        fs::write(directory.join("prometheus.yaml"), config.to_string())?;
        let log = fs::File::create(directory.join("log"))?;
        let child = Command::new(prometheus()?)
            .arg(format!(
                "--config.file={}",
                directory.join("prometheus.yaml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start prometheus")?;
        let server = Self {
            child,
            port,
            targets: directory.join(TARGETS),
            host,
        };
        for expected in [
            "count(peerup_peers) > 0",
            "count(peerup_joined == 1) > 2",
            "count(peerup_relay_reservations) > 0",
        ] {
            patiently(expected, LIMIT, async || {
                server.look(cluster).await?;
                let answer = server.get("query", &[("query", expected)]).await?;
                let found = answer["data"]["result"].as_array().map_or(0, Vec::len);
                ensure!(found > 0, "{answer}");
                Ok(())
            })
            .await?;
        }
        Ok(server)
    }

    /// Lists the pods that want to be watched.
    async fn look(&self, cluster: &Cluster) -> Result<()> {
        let mut targets = Vec::new();
        for namespace in [HOME, SHOP] {
            let pods = cluster.list::<Pod>(namespace).await?;
            targets.extend(pods.iter().filter_map(|pod| self.target(namespace, pod)));
        }
        let new = self.targets.with_extension("new");
        fs::write(&new, json!(targets).to_string())?;
        Ok(fs::rename(&new, &self.targets)?)
    }

    fn target(&self, namespace: &str, pod: &Pod) -> Option<Value> {
        let annotation = |name: &str| pod.annotations().get(&format!("prometheus.io/{name}"));
        annotation("scrape").filter(|wanted| *wanted == "true")?;
        let (name, port) = (pod.name_any(), annotation("port")?);
        let page = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/metrics");
        let network = pod.labels().get(names::labels::NETWORK_UID).cloned();
        Some(json!({
            "targets": [self.host],
            "labels": {
                "__metrics_path__": page, "namespace": namespace, "pod": name, "instance": name,
                "peerup_dev_network_uid": network.unwrap_or_default(),
            },
        }))
    }

    async fn get(&self, what: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let url = format!("http://127.0.0.1:{}/api/v1/{what}", self.port);
        let url = reqwest::Url::parse_with_params(&url, parameters)?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let text = http.get(url).send().await?.text().await?;
        serde_json::from_str(&text).with_context(|| text)
    }

    /// Labels of those alerts of the name that fire and have these labels.
    async fn firing(&self, name: &str, labels: &[(&str, &str)]) -> Result<Vec<Value>> {
        let answer = self.get("alerts", &[]).await?;
        let alerts = answer["data"]["alerts"].as_array().context("no list")?;
        let is_it = |alert: &&Value| {
            let has = |(label, value): &(&str, &str)| alert["labels"][*label] == *value;
            alert["labels"]["alertname"] == name
                && alert["state"] == "firing"
                && labels.iter().all(has)
        };
        Ok(alerts.iter().filter(is_it).cloned().collect())
    }

    /// Waits until an alert fires.
    pub(crate) async fn fires(&self, name: &str, labels: &[(&str, &str)]) -> Result<()> {
        let what = format!("{name} to fire");
        let alert = patiently(&what, LIMIT, async || {
            let firing = self.firing(name, labels).await?;
            firing.first().cloned().context("it does not")
        })
        .await?;
        println!("{name}: {}", alert["annotations"]["summary"]);
        Ok(())
    }

    /// Waits until no such alert fires.
    pub(crate) async fn resolves(&self, name: &str, labels: &[(&str, &str)]) -> Result<()> {
        let what = format!("{name} to resolve");
        patiently(&what, LIMIT, async || {
            let firing = self.firing(name, labels).await?;
            ensure!(firing.is_empty(), "{firing:?}");
            Ok(())
        })
        .await
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The groups of the chart's PrometheusRule.
fn rules() -> Result<Value> {
    let mut helm = Command::new(helm()?);
    helm.args(["template", "peerup", CHART])
        .args(["--kube-version", "1.33.0"])
        .args(["--api-versions", "monitoring.coreos.com/v1/PrometheusRule"])
        .args(["--show-only", "templates/monitoring/prometheusrule.yaml"]);
    for alert in WATCHED {
        let quick = format!("monitoring.prometheusRule.for.{alert}=1s");
        helm.args(["--set", &quick]);
    }
    let rule: Value = serde_saphyr::from_str(&run(&mut helm)?)?;
    let groups = &rule["spec"]["groups"];
    ensure!(groups.is_array(), "no groups in {rule}");
    Ok(json!({ "groups": groups }))
}

/// Reaches pods through the API server; also says where that is.
fn config(directory: &Path) -> Result<(Value, String)> {
    let path = std::env::var_os("KUBECONFIG").context("KUBECONFIG is not set")?;
    let text = fs::read_to_string(path)?;
    let kubeconfig: Value = serde_saphyr::from_str(&text)?;
    let cluster = &kubeconfig["clusters"][0]["cluster"];
    let user = &kubeconfig["users"][0]["user"];
    let server = cluster["server"].as_str().context("no server")?;
    let host = server.strip_prefix("https://").context("no https")?;
    let tls = json!({
        "ca_file": file(directory, "ca.crt", &cluster["certificate-authority-data"])?,
        "cert_file": file(directory, "client.crt", &user["client-certificate-data"])?,
        "key_file": file(directory, "client.key", &user["client-key-data"])?,
    });
    let config = json!({
        "global": { "scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s" },
        "rule_files": [directory.join("rules.yaml")],
        "scrape_configs": [{
            "job_name": "peerup",
            "scheme": "https",
            "tls_config": tls,
            "file_sd_configs": [{ "files": [directory.join(TARGETS)] }],
        }],
    });
    Ok((config, host.to_owned()))
}

/// Writes what a kubeconfig holds in base64.
fn file(directory: &Path, name: &str, data: &Value) -> Result<PathBuf> {
    let text = data.as_str().with_context(|| format!("no {name}"))?;
    let path = directory.join(name);
    fs::write(&path, BASE64.decode(text.as_bytes())?)?;
    Ok(path)
}
