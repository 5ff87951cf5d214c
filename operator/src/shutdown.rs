//! Orderly end: first nothing new is decided, then nobody is served any more; a tracker knows who is still busy, for a
//! bounded grace.

use std::{future::Future, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long tasks may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// Stops everything, once, in two steps.
#[derive(Clone, Default)]
pub struct Shutdown {
    deciding: CancellationToken,
    serving: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Cancelled as soon as the end begins: who decides and writes stops, another replica takes over.
    #[must_use]
    pub fn deciding(&self) -> CancellationToken {
        self.deciding.clone()
    }

    /// Cancelled at the end: until then callers come that have not heard yet that this replica goes.
    #[must_use]
    pub fn serving(&self) -> CancellationToken {
        self.serving.clone()
    }

    /// Runs a task that heeds one of the tokens, and waits for it at the end.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Runs a task that may be dropped at any point.
    pub fn spawn_until(&self, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.serving();
        self.tasks
            .spawn(async move { token.run_until_cancelled_owned(task).await });
    }

    /// Waits for SIGTERM or SIGINT; nothing is decided from then on. Callers are served for `drain` more, as
    /// EndpointSlices and API servers take that long to learn of it, or until the next signal. Then waits for all tasks.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub async fn finished(self, drain: Duration) -> std::io::Result<()> {
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let mut told = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        told().await;
        self.deciding.cancel();
        drop(tokio::time::timeout(drain, told()).await);
        self.serving.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(tasks = self.tasks.len(), "some tasks did not end in time");
        }
        Ok(())
    }
}
