//! The peer in this process: the agent, its local API, its last status on disk, and the end by a signal or a call.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use peerup_agent::local::{self, Server};
use peerup_agent::{Agent, Board, Config, Metrics, ServiceLimits, Status, Store, listen_on};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::prepare::Prepared;
use crate::signals::Signals;

/// Pause between two writes of the status file: it is for those who look when the process is gone.
const STATUS_PAUSE: Duration = Duration::from_secs(10);
/// Longest time to say goodbye to relays and peers.
const GRACE: Duration = Duration::from_secs(3);
/// Pause between two looks whether the state directory is free.
const RELEASE_LOOK: Duration = Duration::from_millis(10);
/// How long relays that do not answer are asked.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running peer.
#[derive(Debug)]
pub(crate) struct Running {
    agent: Agent,
    pub(crate) board: Board,
    store: Arc<Store>,
    /// Cancelled when somebody wants the peer to end.
    stop: CancellationToken,
    api: JoinHandle<()>,
    beside: [JoinHandle<()>; 2],
}

impl Running {
    /// Starts on the current tokio runtime.
    pub(crate) fn start(prepared: Prepared) -> Result<Self, Failure> {
        let board = Board::new(Status::starting(Timestamp::now()));
        let metrics = Metrics::new().map_err(|error| Failure::Unexpected(error.to_string()))?;
        let stop = CancellationToken::new();
        let (mut signals, stopped) = (Signals::listen()?, stop.clone());
        let signals = tokio::spawn(async move {
            signals.received().await;
            stopped.cancel();
        });
        let store = Arc::new(prepared.store);
        let server = Server::bind(Arc::clone(&store))?;
        let writer = write_status(Arc::clone(&store), board.watch(), stop.clone());
        let writer = tokio::spawn(writer);
        let agent = Agent::start(Config {
            seed: prepared.seed,
            stored: prepared.stored,
            source: prepared.source,
            listen: listen_on(0),
            patience: PATIENCE,
            board: board.clone(),
            metrics,
            store: Arc::clone(&store),
            limits: ServiceLimits::default(),
        });
        let peer = local::Peer {
            board: board.clone(),
            handle: agent.handle(),
            stop: stop.clone(),
        };
        Ok(Self {
            agent,
            board,
            store,
            stop,
            api: tokio::spawn(server.run(peer)),
            beside: [signals, writer],
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.store.dir()
    }

    /// Waits until a relay has accepted the membership.
    pub(crate) async fn joined(&self) -> Result<(), Failure> {
        self.unless_stopped(async { Ok(self.agent.joined().await?) })
            .await
    }

    /// What `work` answers, unless somebody wants the peer to end before.
    pub(crate) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match self.stop.run_until_cancelled(work).await {
            Some(result) => result,
            None => Err(Failure::Interrupted),
        }
    }

    /// Waits until somebody wants the peer to end; fails when it ends by itself.
    pub(crate) async fn ended(&self) -> Result<(), Failure> {
        tokio::select! {
            () = self.stop.cancelled() => Ok(()),
            error = self.agent.ended() => Err(error.into()),
        }
    }

    /// Ends in good order; afterwards another process may hold the state directory.
    pub(crate) async fn shutdown(self) {
        self.stop.cancel();
        let [signals, writer] = self.beside;
        signals.abort();
        let closed = async { tokio::join!(self.agent.shutdown(), self.api, writer) };
        if tokio::time::timeout(GRACE, closed).await.is_err() {
            tracing::warn!("stopped before all was closed");
        }
        if let Err(error) = self.store.save_status(&self.board.status()) {
            tracing::warn!(%error, "status can't be written");
        }
        released(&self.store).await;
    }
}

/// Waits until nobody else holds the state directory: a write that was begun goes on after its task has ended.
async fn released(store: &Arc<Store>) {
    let free = async {
        while Arc::strong_count(store) > 1 {
            tokio::time::sleep(RELEASE_LOOK).await;
        }
    };
    if tokio::time::timeout(GRACE, free).await.is_err() {
        tracing::warn!("the state directory is still held");
    }
}

/// Writes the status file when the status changes, not too often, until the peer is to end.
async fn write_status(
    store: Arc<Store>,
    mut watch: watch::Receiver<Status>,
    stop: CancellationToken,
) {
    let mut failing = false;
    loop {
        let status = watch.borrow_and_update().clone();
        let store = Arc::clone(&store);
        let written = tokio::task::spawn_blocking(move || store.save_status(&status)).await;
        if let Ok(written) = written {
            if let Err(error) = &written
                && !failing
            {
                tracing::warn!(%error, "status can't be written");
            }
            failing = written.is_err();
        }
        let next = async {
            tokio::time::sleep(STATUS_PAUSE).await;
            watch.changed().await
        };
        match stop.run_until_cancelled(next).await {
            Some(Ok(())) => (),
            Some(Err(_)) | None => return,
        }
    }
}
