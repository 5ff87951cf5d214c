//! Command line and environment of the operator.

use std::net::{IpAddr, SocketAddr};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Runs Peerup in a cluster: private peer-to-peer networks declared as PeerNetworks.
#[derive(Parser, Debug, Clone)]
#[command(name = "peerup-operator", version)]
pub struct Cli {
    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to do it.
    #[command(flatten)]
    pub config: Config,
}

/// What the program can do beside running.
#[derive(Subcommand, Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Delete what running operators have made for themselves: certificate authority, lease, ConfigMaps. Networks stay.
    Cleanup,
    /// Check that a pod would get its sidecar and that the operator API answers. Nothing is made or changed.
    Check(CheckConfig),
}

/// Settings of the check.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
pub struct CheckConfig {
    /// Namespace in which a pod is created as a dry run: one that is served.
    #[arg(long, env = "PEERUP_CHECK_NAMESPACE")]
    pub namespace: String,
    /// PeerNetwork that the pod asks for, `<name>` or `<namespace>/<name>`; the namespace's only one if none is given.
    #[arg(long, env = "PEERUP_CHECK_NETWORK")]
    pub network: Option<String>,
    /// Image of the pod's container, which is never pulled.
    #[arg(long, env = "PEERUP_CHECK_IMAGE", default_value = concat!("peerup-sidecar:", env!("CARGO_PKG_VERSION")))]
    pub image: String,
    /// How long it is tried, in seconds.
    #[arg(long, env = "PEERUP_CHECK_WITHIN_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub within_seconds: u64,
}

/// Settings of the operator; each is also an environment variable.
#[derive(Args, Debug, Clone)]
pub struct Config {
    /// Namespace that the operator runs in; network keys, certificate authority and lease lie there.
    #[arg(long, env = "POD_NAMESPACE", default_value = "peerup-system")]
    pub operator_namespace: String,
    /// Name of this pod.
    #[arg(long, env = "POD_NAME", default_value = "peerup-operator")]
    pub pod_name: String,
    /// Address of this pod, under which other replicas reach it.
    #[arg(long, env = "POD_IP", default_value = "127.0.0.1")]
    pub pod_ip: IpAddr,
    /// Name of this cluster in the subjects of pods.
    #[arg(long, env = "PEERUP_CLUSTER_NAME", default_value = "local", value_parser = cluster_name)]
    pub cluster_name: String,
    /// DNS domain of the cluster's Services.
    #[arg(long, env = "PEERUP_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Address of the operator API as sidecars and relays see it.
    #[arg(
        long,
        env = "PEERUP_OPERATOR_URL",
        default_value = "https://peerup-operator.peerup-system.svc:9444"
    )]
    pub operator_url: String,
    /// DNS names of the operator's Service, for its certificate.
    #[arg(
        long,
        env = "PEERUP_SERVICE_NAMES",
        value_delimiter = ',',
        default_value = "peerup-operator.peerup-system.svc"
    )]
    pub service_names: Vec<String>,
    /// Name of our MutatingWebhookConfiguration.
    #[arg(long, env = "PEERUP_WEBHOOK_CONFIG", default_value = "peerup-operator")]
    pub webhook_config: String,
    /// Secret of the certificate authority.
    #[arg(long, env = "PEERUP_CA_SECRET", default_value = "peerup-operator-ca")]
    pub ca_secret: String,
    /// Lease by which replicas agree on a leader.
    #[arg(long, env = "PEERUP_LEASE", default_value = "peerup-operator")]
    pub lease: String,
    /// Image of sidecars.
    #[arg(long, env = "PEERUP_SIDECAR_IMAGE", default_value = concat!("peerup-sidecar:", env!("CARGO_PKG_VERSION")))]
    pub sidecar_image: String,
    /// Image of relays.
    #[arg(long, env = "PEERUP_RELAY_IMAGE", default_value = concat!("peerup-relay:", env!("CARGO_PKG_VERSION")))]
    pub relay_image: String,
    /// When images of sidecars and relays are pulled.
    #[arg(long, env = "PEERUP_IMAGE_PULL_POLICY", value_enum, default_value_t = PullPolicy::IfNotPresent)]
    pub image_pull_policy: PullPolicy,
    /// Images that a PeerNetwork or pod may ask for instead of the sidecar's; `*` stands for any characters.
    #[arg(long, env = "PEERUP_ALLOWED_IMAGES", value_delimiter = ',')]
    pub allowed_images: Vec<String>,
    /// Whether injected pods that have no prometheus.io annotation get those of the sidecar's metrics.
    #[arg(long, env = "PEERUP_SCRAPE_ANNOTATIONS", action = ArgAction::Set, default_value_t = true)]
    pub scrape_annotations: bool,
    /// Namespaces to serve; all if none is given.
    #[arg(long, env = "PEERUP_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Namespaces that the webhook leaves out, beside those of Kubernetes and the operator's own.
    #[arg(long, env = "PEERUP_EXCLUDED_NAMESPACES", value_delimiter = ',')]
    pub excluded_namespaces: Vec<String>,
    /// Where the operator API listens (HTTPS).
    #[arg(long, env = "PEERUP_API_LISTEN", default_value = "0.0.0.0:9444")]
    pub api_listen: SocketAddr,
    /// Where the admission webhook listens (HTTPS).
    #[arg(long, env = "PEERUP_WEBHOOK_LISTEN", default_value = "0.0.0.0:10250")]
    pub webhook_listen: SocketAddr,
    /// Where metrics and health listen (HTTP).
    #[arg(long, env = "PEERUP_HTTP_LISTEN", default_value = "0.0.0.0:9465")]
    pub http_listen: SocketAddr,
    /// How long callers are still served after SIGTERM, in seconds: until nobody is sent here any more.
    #[arg(long, env = "PEERUP_DRAIN_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=15))]
    pub drain_seconds: u64,
    /// Most writes of grades a second, joins aside.
    #[arg(long, env = "PEERUP_STATUS_WRITE_QPS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub status_write_qps: u32,
    /// What to log: a level, or directives such as `info,peerup_operator=debug`.
    #[arg(long, env = "PEERUP_LOG", default_value = "info")]
    pub log: String,
    /// How to write the log.
    #[arg(long, env = "PEERUP_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// When an image is pulled.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// At every start.
    #[value(name = "Always")]
    Always,
    /// When the node does not have it.
    #[value(name = "IfNotPresent")]
    IfNotPresent,
    /// Never.
    #[value(name = "Never")]
    Never,
}

impl PullPolicy {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// How the log is written.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A cluster's name is a part of subjects: a DNS label of at most 32 bytes.
fn cluster_name(text: &str) -> Result<String, String> {
    match peerup_protocol::id::PeerName::parse(text) {
        Ok(_) if text.len() <= 32 => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err("must be a DNS label of at most 32 characters".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_default_and_cleanup_takes_the_same_settings() {
        let cli = Cli::try_parse_from(["peerup-operator", "--lease", "mine", "cleanup"]).unwrap();
        assert_eq!(
            (cli.command, cli.config.lease.as_str()),
            (Some(Command::Cleanup), "mine")
        );
    }

    #[test]
    fn a_check_needs_a_namespace() {
        assert!(Cli::try_parse_from(["peerup-operator", "check"]).is_err());
        let cli = Cli::try_parse_from(["peerup-operator", "check", "--namespace", "shop"]).unwrap();
        let Some(Command::Check(check)) = cli.command else {
            panic!("{cli:?}")
        };
        assert_eq!((check.network, check.within_seconds), (None, 60));
    }

    #[test]
    fn cluster_names_are_short_labels() {
        assert!(cluster_name("eu-west-1").is_ok());
        for bad in ["", "EU", "a/b", &"x".repeat(33)] {
            assert!(cluster_name(bad).is_err(), "{bad}");
        }
    }
}
