//! The peer in a pod: settings from its environment, a local HTTP server, and [`peerup_agent::Agent`], which does
//! the work. It holds no Kubernetes credentials beyond the token that proves to the operator which pod this is.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")
)]

mod args;
mod http;
mod local;
mod run;
mod services;
mod status;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command, LogFormat};

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peerup-sidecar: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Why the program ends without success.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("--log: {0}")]
    Log(#[from] tracing_subscriber::filter::ParseError),
    #[error(
        "expected --network, --operator-url, --token-file and --state-dir (or their PEERUP_ variables)"
    )]
    NoSettings,
    #[error("another TLS provider is installed")]
    Tls,
    #[error("{what}: {source}")]
    Io {
        what: String,
        source: std::io::Error,
    },
    #[error(transparent)]
    Local(#[from] peerup_agent::local::ClientError),
    #[error("metrics: {0}")]
    Metrics(#[from] peerup_agent::MetricsError),
    #[error("expected a status from the sidecar at {at}: {reason}")]
    Status {
        at: std::net::SocketAddr,
        reason: String,
    },
}

fn start(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| Failure::Io {
            what: "threads".to_owned(),
            source,
        })?;
    match cli.command {
        Some(Command::Status(args)) => runtime.block_on(status::show(cli.http_listen, args.json)),
        Some(Command::Netcheck(args)) => runtime.block_on(local::netcheck(&args)),
        Some(Command::Local(args)) => runtime.block_on(local::carry(&args.state_dir)),
        None => {
            log(&cli.log, cli.log_format)?;
            let settings = cli.run.ok_or(Failure::NoSettings)?;
            rustls::crypto::aws_lc_rs::default_provider()
                .install_default()
                .map_err(|_| Failure::Tls)?;
            runtime.block_on(run::run(settings, cli.http_listen))
        }
    }
}

fn log(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(quiet(filter))?);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// A DHT without other peers is nothing to warn of, an own PeerId without words nothing to tell.
fn quiet(filter: &str) -> String {
    format!("libp2p_kad=error,libp2p_swarm=warn,{filter}")
}
