//! A relay of a network on a machine of the Internet, started as the kubelet would start its pod.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::internet::{Internet, Line, Uplink};
use super::namespace::Namespace;
use super::sandbox;
use crate::network::Network;
use crate::operator::Home;
use crate::programs::Program;

/// How long a relay may take until it serves.
const READY: Duration = Duration::from_secs(60);

/// The network between the sandbox and the relays, over which nobody else can be reached.
const MANAGEMENT: &str = "link add management type bridge
addr add 172.30.0.1/24 dev management
link set management up";

/// Where the sandbox is in that network: the operator listens there.
pub const OPERATOR: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);

/// A machine for a relay, and the relay once it is started.
#[derive(Debug)]
pub struct Relay {
    program: Option<Program>,
    /// Where it is plugged in.
    pub line: Line,
    machine: Namespace,
    ordinal: u8,
    directory: PathBuf,
}

/// Makes the network between the sandbox and the relays.
pub fn management() -> Result<()> {
    super::namespace::run(
        std::process::Command::new("ip").args(["-batch", "-"]),
        MANAGEMENT,
    )?;
    Ok(())
}

impl Relay {
    /// A machine on the Internet that also has a way to the operator.
    pub fn machine(internet: &Internet, ordinal: u8) -> Result<Self> {
        let machine = Namespace::new(format!("relay-{ordinal}"))?;
        let line = internet.plug(&machine, "wan")?;
        let name = machine.name();
        super::namespace::run(
            std::process::Command::new("ip").args(["-batch", "-"]),
            &format!(
                "link add {name} type veth peer name management netns {name}\n\
                 link set {name} master management up"
            ),
        )?;
        machine.ip(&format!(
            "addr add {}/24 dev management\nlink set management up",
            inside(ordinal)
        ))?;
        let directory = Path::new(sandbox::DIRECTORY).join(name);
        Ok(Self {
            program: None,
            line,
            machine,
            ordinal,
            directory,
        })
    }

    /// What the network's spec says of it: where it is reached from outside.
    pub fn advertised(&self) -> Result<Value> {
        let v6 = self.line.v6.context("no IPv6 on this line")?;
        let hosts = [format!("/ip4/{}", self.line.v4), format!("/ip6/{v6}")];
        let ends = ["udp/4001/quic-v1", "tcp/4001", "udp/3478", "udp/3479"];
        let at = |host: &String| ends.map(|end| format!("{host}/{end}"));
        let addresses: Vec<String> = hosts.iter().flat_map(at).collect();
        Ok(json!({ "ordinal": self.ordinal, "addresses": addresses }))
    }

    /// Starts it with what its pod says, and waits until it serves.
    pub async fn start(&mut self, network: &Network, home: &Home) -> Result<()> {
        let pod = network
            .relay_runs(self.ordinal, inside(self.ordinal).into())
            .await?;
        let seed = network.relay_seed(self.ordinal).await?;
        let token = network.relay_token(&pod).await?;
        for (file, contents) in [
            ("key/seed", seed),
            ("token/token", token.into_bytes()),
            ("ca/ca.crt", home.ca().await?.into_bytes()),
        ] {
            let path = self.directory.join(file);
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(&path, contents)?;
        }
        fs::create_dir_all(self.directory.join("state"))?;
        let settings = settings(&pod, &self.directory)?;
        let environment: Vec<_> = settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut program = Program::start_on(&self.machine, "peerup-relay", &[], &environment)?;
        program.answers(&self.page("readyz"), READY).await?;
        self.program = Some(program);
        Ok(())
    }

    /// The value of one of its metrics, all labels as given.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let text = http.get(self.page("metrics")).send().await?.text().await?;
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let (_, value) = lines
            .find(|(found, _)| *found == name)
            .with_context(|| format!("the relay has no metric {name}"))?;
        Ok(value.parse()?)
    }

    /// All that it has printed.
    #[must_use]
    pub fn output(&self) -> String {
        self.program
            .as_ref()
            .map(Program::output)
            .unwrap_or_default()
    }

    fn page(&self, page: &str) -> String {
        format!("http://{}:9465/{page}", inside(self.ordinal))
    }
}

/// A relay's address in the management's network.
fn inside(ordinal: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, 0, 10 + ordinal)
}

/// The environment of the relay's container, its files in this directory.
fn settings(pod: &Pod, directory: &Path) -> Result<BTreeMap<String, String>> {
    let name = pod.name_any();
    let directory = directory.to_str().context("a path that is no UTF-8")?;
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice());
    let container = containers.and_then(<[_]>::first).context("no container")?;
    let variables = container.env.iter().flatten().map(|variable| {
        let value = variable.value.as_ref().unwrap_or(&name); // the only one from elsewhere is the pod's name
        let value = value
            .replace("$(POD_NAME)", &name)
            .replace("/var/run/peerup", directory);
        (variable.name.clone(), value)
    });
    Ok(variables.collect())
}
