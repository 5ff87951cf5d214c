//! One run: HTTP server up at once, then state, agent, and the end by signal. Nothing but wrong settings ends it
//! earlier: what fails is said in the log and in the status, and tried again.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use peerup_agent::local::{self, Server};
use peerup_agent::membership::{Membership, Stored};
use peerup_agent::{
    Access, Agent, Backoff, Board, Config, Metrics, ServiceLimits, Source, StateError, Status,
    Store, fresh_seed, listen_on, own_id,
};
use peerup_operator_client::OperatorClient;
use peerup_protocol::UnixTime;
use peerup_protocol::secret::Secret;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::args::RunArgs;
use crate::http::{self, View};
use crate::services;

/// Longest time to say goodbye; the kubelet gives 30 s to the whole pod.
const GRACE: Duration = Duration::from_secs(3);

/// A code of the operator lives two minutes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(settings: RunArgs, listen: SocketAddr) -> Result<(), Failure> {
    let board = Board::new(Status::starting(Timestamp::now()));
    let metrics = Metrics::new()?;
    let stop = CancellationToken::new();
    let view = View {
        board: board.clone(),
        metrics: metrics.clone(),
        hold: settings.hold,
    };
    let server = serve(listen, view, stop.clone()).await?;
    tracing::info!(network = settings.network, %listen, "sidecar started");
    let peer = tokio::spawn(peer(settings, board, metrics, stop.clone()));
    let why = tokio::select! {
        signal = ended() => signal?,
        () = stop.cancelled() => "a call of the local API",
    };
    tracing::info!(why, "stopping");
    stop.cancel();
    if tokio::time::timeout(GRACE, async { tokio::join!(peer, server) })
        .await
        .is_err()
    {
        tracing::warn!("stopped before all was closed");
    }
    Ok(())
}

/// The peer, from an open state directory until the end.
async fn peer(settings: RunArgs, board: Board, metrics: Metrics, stop: CancellationToken) {
    let opened = stop
        .run_until_cancelled(open(&settings.state_dir, &board))
        .await;
    let Some((store, seed)) = opened else { return };
    let operator = OperatorClient::new(peerup_operator_client::Config {
        url: settings.operator_url,
        ca_file: settings.operator_ca_file,
        ca_pem: settings.operator_ca,
        token_file: settings.token_file,
        connect_timeout: peerup_operator_client::Config::CONNECT,
        attempt_timeout: peerup_operator_client::Config::ATTEMPT,
    });
    let stored = stored(&store, &seed);
    let store = Arc::new(store);
    let server = Server::bind(Arc::clone(&store))
        .inspect_err(|error| tracing::error!(%error, "there is no local API"))
        .ok();
    let agent = Agent::start(Config {
        seed,
        stored,
        source: Source::Attested(operator),
        listen: listen_on(settings.listen_port),
        patience: PATIENCE,
        board: board.clone(),
        metrics,
        store,
        limits: ServiceLimits::default(),
    });
    services::begin(&agent.handle(), &board, &settings.expose, &settings.forward).await;
    let peer = local::Peer {
        board,
        handle: agent.handle(),
        stop: stop.clone(),
    };
    match server {
        Some(server) => server.run(peer).await,
        None => stop.cancelled().await,
    }
    agent.shutdown().await;
}

/// The membership of an earlier container of this pod, if it is of any use.
fn stored(store: &Store, seed: &Secret<32>) -> Option<Membership> {
    let now = UnixTime::try_from(Timestamp::now().as_second()).unwrap_or_default();
    let stored = store
        .membership::<Stored>()
        .map_err(|error| error.to_string());
    let restored = stored.and_then(|stored| {
        let membership = stored.map(|stored| stored.restore(own_id(seed), now));
        membership.transpose().map_err(|error| error.to_string())
    });
    restored.unwrap_or_else(|error| {
        tracing::warn!(error, "stored membership is left aside");
        None
    })
}

/// State directory and key; tried until they are there, since a full disk may be emptied.
async fn open(dir: &Path, board: &Board) -> (Store, Secret<32>) {
    let mut backoff = Backoff::default();
    loop {
        match opened(dir) {
            Ok(opened) => {
                board.update(|status| status.problem = None);
                return opened;
            }
            Err(error) => {
                tracing::error!(%error, "state directory can't be used");
                board.update(|status| status.problem = Some(error.to_string()));
                tokio::time::sleep(backoff.after_failure(rand::random())).await;
            }
        }
    }
}

fn opened(dir: &Path) -> Result<(Store, Secret<32>), StateError> {
    let store = Store::open(dir, Access::Tighten)?;
    let seed = store.identity(fresh_seed())?;
    Ok((store, seed))
}

async fn ended() -> Result<&'static str, Failure> {
    let failed = |source| Failure::Io {
        what: "signals".to_owned(),
        source,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

async fn serve(
    listen: SocketAddr,
    view: View,
    stop: CancellationToken,
) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|source| Failure::Io {
            what: format!("--http-listen {listen}"),
            source,
        })?;
    let router = http::router(view);
    Ok(tokio::spawn(peerup_serve::pages(listener, router, stop)))
}
