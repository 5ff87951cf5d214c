//! `peerup-operator`: see the library of the same name.

use anyhow::Context as _;
use clap::Parser as _;
use kube::Client;
use peerup_operator::{
    check, cleanup,
    config::{Cli, Command, Config, LogFormat},
    run,
};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    log(&cli.config)?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let client = Client::try_default()
        .await
        .context("find the API server, by KUBECONFIG or as a pod")?;
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
