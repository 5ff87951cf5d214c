//! Orderly end: one token that says stop, one tracker that knows who is still busy, a bounded grace.

use std::{future::Future, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long tasks may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// Stops everything, once.
#[derive(Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// A token that is cancelled at the end.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Runs a task that heeds the token, and waits for it at the end.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Runs a task that may be dropped at any point.
    pub fn spawn_until(&self, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.token();
        self.tasks
            .spawn(async move { token.run_until_cancelled_owned(task).await });
    }

    /// Begins the end.
    pub fn begin(&self) {
        self.token.cancel();
    }

    /// Waits for SIGTERM or SIGINT, or until somebody begins the end, then for all tasks.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub async fn finished(self) -> std::io::Result<()> {
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = self.token.cancelled() => {}
        }
        self.begin();
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
