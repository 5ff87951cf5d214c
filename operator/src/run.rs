//! Puts the operator together and runs it until it is told to stop.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use kube::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    admission, api,
    config::Config,
    context::{CaBundle, Context, Documents, Presence, Reports},
    events::Events,
    health::Health,
    http, injection,
    keys::Keys,
    leader::{Campaign, Leadership},
    metrics::Metrics,
    network, pairing_code, peer, preflight,
    shutdown::Shutdown,
    tls::Certificates,
    watches,
};

/// Why the operator ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Permissions or kinds are missing.
    #[error(transparent)]
    Preflight(#[from] preflight::PreflightError),
    /// An address cannot be listened at.
    #[error("listen at {address} for {what}: {source}")]
    Listen {
        /// For what.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A metric is malformed.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Signals cannot be listened to.
    #[error("signals: {0}")]
    Signals(#[source] std::io::Error),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When something is missing without which the operator cannot begin.
pub async fn run(client: Client, config: Config) -> Result<(), RunError> {
    let shutdown = Shutdown::default();
    let health = Health::default();
    let metrics = Metrics::new()?;
    preflight::check(&client, &config).await?;
    let (http, api, webhook) = tokio::try_join!(
        listen("metrics and health", config.http_listen),
        listen("the operator API", config.api_listen),
        listen("the webhook", config.webhook_listen),
    )?;
    for part in ["certificates", "network keys", "stores"] {
        health.expect(part);
    }
    let context = context(client, config, &shutdown, health, metrics);
    shutdown.spawn(http::serve(
        http,
        context.metrics.clone(),
        context.health.clone(),
        shutdown.serving(),
    ));
    start_watching(&context, &shutdown);
    start_serving(&context, &shutdown, api, webhook);
    let campaigning = CancellationToken::new();
    let campaign = Campaign::new(
        context.client.clone(),
        &context.config,
        context.leadership.clone(),
    );
    shutdown.spawn(campaign.run(campaigning.clone(), shutdown.serving()));
    let drain = Duration::from_secs(context.config.drain_seconds);
    let deciding = shutdown.deciding();
    shutdown.spawn(async move {
        lead(context, deciding).await;
        campaigning.cancel();
    });
    tracing::info!("the operator runs");
    shutdown.finished(drain).await.map_err(RunError::Signals)
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen {
            what,
            address,
            source,
        })
}

fn context(
    client: Client,
    config: Config,
    shutdown: &Shutdown,
    health: Health,
    metrics: Metrics,
) -> Context {
    let events = Events::new(client.clone(), &config.pod_name);
    Context {
        stores: watches::start(&client, &config, shutdown, &events, &metrics),
        events,
        leadership: Leadership::default(),
        keys: Keys::default(),
        documents: Documents::default(),
        reports: Reports::default(),
        presence: Presence::default(),
        ca: CaBundle::default(),
        config: Arc::new(config),
        client,
        metrics,
        health,
    }
}

fn start_watching(context: &Context, shutdown: &Shutdown) {
    let (stores, keys, health) = (
        context.stores.clone(),
        context.keys.clone(),
        context.health.clone(),
    );
    shutdown.spawn_until(async move {
        stores.ready().await;
        health.set("stores", true);
        keys.ready().await;
        health.set("network keys", true);
    });
    let home = context.config.operator_namespace.clone();
    shutdown.spawn_until(context.keys.clone().watch(context.client.clone(), home));
    shutdown.spawn_until(network::forget(context.clone()));
}

fn start_serving(
    context: &Context,
    shutdown: &Shutdown,
    listener: TcpListener,
    webhook: TcpListener,
) {
    let certificates = Certificates::default();
    shutdown.spawn_until(certificates.clone().keep(context.clone()));
    shutdown.spawn(admission::serve(
        webhook,
        context.clone(),
        certificates.clone(),
        shutdown.serving(),
    ));
    shutdown.spawn(api::serve(
        listener,
        context.clone(),
        certificates,
        shutdown.serving(),
    ));
}

/// Runs the controllers whenever this replica leads.
async fn lead(context: Context, stop: CancellationToken) {
    let ready = async {
        context.stores.ready().await;
        context.keys.ready().await;
    };
    if stop.run_until_cancelled(ready).await.is_none() {
        return;
    }
    while let Some(term) = stop.run_until_cancelled(context.leadership.elected()).await {
        context.metrics.machinery.leader.set(1);
        let over = stop.child_token();
        let deposed = async {
            context.leadership.deposed(term.run).await;
            over.cancel();
        };
        tokio::join!(
            over.run_until_cancelled(deposed),
            network::run(context.clone(), over.clone()),
            pairing_code::run(context.clone(), over.clone()),
            peer::run(context.clone(), term, over.clone()),
            injection::run(context.clone(), over.clone()),
        );
        context.forget_term();
        if !stop.is_cancelled() {
            tracing::warn!("this replica does not lead any more");
        }
    }
}
