//! The relay's program: settings, log, signals.

use anyhow::Context;
use clap::Parser;
use peerup_relay::Relay;
use peerup_relay::config::{Config, LogFormat};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is the default already"))?;
    let config = Config::parse();
    log(&config)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let relay = Relay::start(config).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    relay.stop().await;
    Ok(())
}

fn log(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(quiet(&config.log))
        .with_context(|| format!("PEERUP_LOG must be a log filter, got {:?}", config.log))?;
    let log = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    tracing::info!(network = config.network, "starting");
    Ok(())
}

/// A DHT without other peers is nothing to warn of.
fn quiet(filter: &str) -> String {
    format!("libp2p_kad=error,{filter}")
}
