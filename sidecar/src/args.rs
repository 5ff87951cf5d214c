//! Settings of the sidecar: what the webhook writes into its environment; also flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The peer in a pod: joins the pod's network, measures how it can be reached, reports.
#[derive(Debug, Parser)]
#[command(
    name = "peerup-sidecar",
    version,
    about,
    subcommand_negates_reqs = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Option<RunArgs>,
    /// Where /metrics, /livez, /startupz, /readyz and /status are served
    #[arg(
        long,
        global = true,
        env = "PEERUP_HTTP_LISTEN",
        default_value = "0.0.0.0:9465"
    )]
    pub(crate) http_listen: SocketAddr,
    /// What to log, such as `info` or `peerup_agent=debug`
    #[arg(
        long,
        global = true,
        env = "PEERUP_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    pub(crate) log: String,
    /// How to log
    #[arg(long, global = true, env = "PEERUP_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// When the process counts as started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hold {
    /// As soon as it runs.
    Started,
    /// When it has joined: containers after it wait for the network.
    Joined,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the status of the sidecar that runs in this pod
    Status(StatusArgs),
    /// Have the sidecar that runs in this pod measure how it can be reached, and show what the grade rests on
    Netcheck(NetcheckArgs),
    /// Carry one call of the local API over standard input and output; `kubectl peerup` speaks with it
    #[command(hide = true)]
    Local(LocalArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NetcheckArgs {
    #[command(flatten)]
    pub(crate) local: LocalArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LocalArgs {
    /// Where the running sidecar keeps key and membership
    #[arg(long = "of", env = "PEERUP_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print the JSON that /status serves
    #[arg(long)]
    pub(crate) json: bool,
}

/// Settings of a running sidecar.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// The network, `<namespace>/<name>` of its PeerNetwork
    #[arg(long, env = "PEERUP_NETWORK")]
    pub(crate) network: String,
    /// The operator's API
    #[arg(long, env = "PEERUP_OPERATOR_URL", value_name = "URL")]
    pub(crate) operator_url: String,
    /// Certificates (PEM) that the operator's must come from
    #[arg(long, env = "PEERUP_OPERATOR_CA", value_name = "PEM")]
    pub(crate) operator_ca: Option<String>,
    /// A file with newer ones, read again at each use; both are trusted
    #[arg(long, env = "PEERUP_OPERATOR_CA_FILE", value_name = "FILE")]
    pub(crate) operator_ca_file: Option<PathBuf>,
    /// The projected service account token, read again at each use
    #[arg(long, env = "PEERUP_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: PathBuf,
    /// Where key and membership are kept
    #[arg(long, env = "PEERUP_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: PathBuf,
    /// TCP and UDP port for other peers; another one is taken when it is not free
    #[arg(long, env = "PEERUP_LISTEN_PORT", default_value_t = 4001)]
    pub(crate) listen_port: u16,
    /// Services for other members, `service=port` or `service=host:port`, separated by commas
    #[arg(long, env = "PEERUP_EXPOSE", value_name = "LIST", default_value = "")]
    pub(crate) expose: String,
    /// Local ports that lead to services of others, `port=service@peer`, separated by commas
    #[arg(long, env = "PEERUP_FORWARD", value_name = "LIST", default_value = "")]
    pub(crate) forward: String,
    /// When /startupz says yes
    #[arg(long, env = "PEERUP_HOLD", default_value = "started")]
    pub(crate) hold: Hold,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn status_needs_no_settings() {
        let cli = Cli::try_parse_from(["peerup-sidecar", "status", "--json"]).unwrap();
        assert!(matches!(
            cli.command,
            Some(Command::Status(StatusArgs { json: true }))
        ));
    }

    #[test]
    fn running_needs_its_settings() {
        let some = [
            "peerup-sidecar",
            "--network",
            "shop/crew",
            "--operator-url",
            "https://o:9444",
        ];
        assert!(Cli::try_parse_from(some).is_err());
        let all = some.into_iter().chain([
            "--token-file",
            "/t",
            "--state-dir",
            "/s",
            "--hold",
            "joined",
        ]);
        let run = Cli::try_parse_from(all).unwrap().run.unwrap();
        assert_eq!((run.listen_port, run.hold), (4001, Hold::Joined));
    }
}
