//! Services that the owner asks for: applied to the running agent, kept for the next start.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use peerup_protocol::service::{Expose, Forward, ServiceName};
use tokio::sync::Mutex;

use super::problem::Refusal;
use super::wanted::Wanted;
use crate::handle::Handle;
use crate::state::Store;
use crate::status::Board;

/// Between two tries to have what can't be had.
const AGAIN: Duration = Duration::from_secs(5);

/// The wanted services, one change at a time.
#[derive(Debug)]
pub(super) struct Keeper {
    handle: Handle,
    store: Arc<Store>,
    board: Board,
    wanted: Mutex<Wanted>,
}

impl Keeper {
    pub(super) fn new(handle: Handle, store: Arc<Store>, board: Board, wanted: Wanted) -> Self {
        Self {
            handle,
            store,
            board,
            wanted: Mutex::new(wanted),
        }
    }

    /// Applies what was wanted before this start; what can't be had now is said in the status, and stays wanted.
    pub(super) async fn begin(&self) {
        let wanted = self.wanted.lock().await.clone();
        for expose in wanted.exposed {
            let shown = expose.to_string();
            if let Err(error) = self.handle.expose(expose).await {
                self.complain(&shown, &error);
            }
        }
        for forward in wanted.forwards {
            let shown = forward.to_string();
            if let Err(error) = self.handle.forward(forward).await {
                self.complain(&shown, &error);
            }
        }
    }

    /// Tries what can't be had again and again: a port that was taken may be free by now.
    pub(super) async fn insist(&self) -> Infallible {
        loop {
            tokio::time::sleep(AGAIN).await;
            let wanted = self.wanted.lock().await;
            for forward in &wanted.forwards {
                let shown = forward.to_string();
                if self.is_amiss(&shown) && self.handle.forward(forward.clone()).await.is_ok() {
                    tracing::info!(forward = shown, "a wanted service can be had now");
                    self.settled(&shown);
                }
            }
        }
    }

    fn is_amiss(&self, shown: &str) -> bool {
        let (prefix, services) = (prefix(shown), self.board.status().services);
        let mut problems = services.problems.iter();
        problems.any(|problem| problem.starts_with(&prefix))
    }

    pub(super) async fn expose(&self, expose: Expose) -> Result<(), Refusal> {
        let mut wanted = self.wanted.lock().await;
        let former = wanted.exposed(&expose.service).cloned();
        let next = wanted.with_exposed(&expose);
        self.handle.expose(expose.clone()).await?;
        if let Err(refusal) = self.save(&next).await {
            let back = match &former {
                Some(former) => self.handle.expose(former.clone()).await,
                None => self.handle.unexpose(&expose.service).await.map(drop),
            };
            if let Err(error) = back {
                tracing::warn!(%error, service = expose.service.as_str(), "service is not as it was");
            }
            return Err(refusal);
        }
        if let Some(former) = former {
            self.settled(&former.to_string());
        }
        self.settled(&expose.to_string());
        *wanted = next;
        Ok(())
    }

    pub(super) async fn unexpose(&self, service: &ServiceName) -> Result<(), Refusal> {
        let mut wanted = self.wanted.lock().await;
        let Some(former) = wanted.exposed(service).cloned() else {
            return Err(Refusal::NotExposed(service.to_string()));
        };
        let next = wanted.without_exposed(service);
        self.save(&next).await?;
        *wanted = next;
        self.settled(&former.to_string());
        self.handle.unexpose(service).await?;
        Ok(())
    }

    pub(super) async fn forward(&self, forward: Forward) -> Result<(), Refusal> {
        let mut wanted = self.wanted.lock().await;
        let is_new = !wanted.forwards.contains(&forward);
        let next = wanted.with_forward(&forward);
        self.handle.forward(forward.clone()).await?;
        if let Err(refusal) = self.save(&next).await {
            if is_new {
                let _was_there = self.handle.unforward(forward.port);
            }
            return Err(refusal);
        }
        self.settled(&forward.to_string());
        *wanted = next;
        Ok(())
    }

    pub(super) async fn unforward(&self, port: u16) -> Result<(), Refusal> {
        let mut wanted = self.wanted.lock().await;
        let Some(former) = wanted.forwards.iter().find(|known| known.port == port) else {
            return Err(Refusal::NotForwarded(port));
        };
        let former = former.to_string();
        let next = wanted.without_forward(port);
        self.save(&next).await?;
        *wanted = next;
        self.settled(&former);
        // It was never listened on if the port was taken.
        let _was_there = self.handle.unforward(port);
        Ok(())
    }

    async fn save(&self, wanted: &Wanted) -> Result<(), Refusal> {
        let (store, wanted) = (Arc::clone(&self.store), wanted.clone());
        let saved = tokio::task::spawn_blocking(move || store.save_services(&wanted)).await;
        match saved {
            Ok(saved) => saved.map_err(Refusal::NotKept),
            Err(error) => Err(Refusal::Busy(format!("the peer is ending: {error}"))),
        }
    }

    fn complain(&self, shown: &str, error: &impl std::fmt::Display) {
        let problem = format!("{}{error}", prefix(shown));
        tracing::warn!(problem, "a wanted service can't be had");
        self.board
            .update(|status| status.services.problems.push(problem));
    }

    /// What was said of it is no longer true.
    fn settled(&self, shown: &str) {
        let prefix = prefix(shown);
        self.board.update(|status| {
            let problems = &mut status.services.problems;
            problems.retain(|problem| !problem.starts_with(&prefix));
        });
    }
}

fn prefix(shown: &str) -> String {
    format!("{shown}: ")
}
