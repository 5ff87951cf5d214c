//! `peerup-operator`: see the library of the same name.

use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use kube::Client;
use peerup_operator::{
    check, cleanup,
    config::{Cli, Command, Config, LogFormat},
    run,
};
use tracing_subscriber::EnvFilter;

/// Of the API server: it ends each watch after 295 s.
const LONGEST_SILENCE: Duration = Duration::from_secs(310);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    log(&cli.config)?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let client = client().await?;
    match cli.command {
        None => run::run(client, cli.config).await?,
        Some(Command::Cleanup) => {
            for network in cleanup::run(client, &cli.config).await? {
                println!(
                    "left: PeerNetwork {network} with its relays and key; delete it with kubectl delete pnet"
                );
            }
        }
        Some(Command::Check(settings)) => {
            let checked = check::run(client, &settings, &cli.config.webhook_config).await?;
            println!("ok: a pod would get its sidecar, {}", checked.image);
            println!("ok: the operator API answers at {}", checked.url);
        }
    }
    Ok(())
}

/// Who waits for an answer longer than any watch is silent waits for a server that is gone.
async fn client() -> anyhow::Result<Client> {
    let mut config = kube::Config::infer()
        .await
        .context("find the API server, by KUBECONFIG or as a pod")?;
    config.read_timeout = Some(LONGEST_SILENCE);
    config.reset_reader_on_write = true;
    Client::try_from(config).context("make a client of the API server")
}

fn log(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log)
        .with_context(|| format!("read the log filter {:?}", config.log))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
