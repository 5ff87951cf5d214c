//! `peerup-operator check`, run by `helm test`: holds that the cluster gives pods their sidecar and that the operator
//! API can be called as a sidecar calls it.
//!
//! It needs one permission, to create pods in one namespace, and creates none: the API server only tells what a pod
//! would look like (dry run). Where the operator is and whom to believe stands in the sidecar that comes back, so
//! nothing else has to be read.

use std::time::Duration;

use kube::Client;

mod api;
mod pod;

use crate::{config::CheckConfig, errors};

/// Between two tries: a network that was just made is not seen by all replicas yet.
const AGAIN: Duration = Duration::from_secs(1);

/// What is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The API server does not say what the pod would look like.
    #[error(
        "create a pod in namespace {namespace}, as a dry run: {}",
        errors::explain(source)
    )]
    Create {
        /// Where.
        namespace: String,
        /// Why not.
        source: kube::Error,
    },
    /// The answer cannot be read.
    #[error("the API server's answer must be a pod: {0}")]
    Malformed(String),
    /// No sidecar, and nobody says why.
    #[error(
        "expected a pod with container peerup from the API server, got one without: it did not ask the operator's webhook, or got no answer; see the API server's log and MutatingWebhookConfiguration {0}"
    )]
    NotAsked(String),
    /// No sidecar; the webhook says why.
    #[error("the webhook gives no sidecar: {}", .0.join("; "))]
    NotGiven(Vec<String>),
    /// The sidecar lacks what it needs.
    #[error("container peerup must have {0}; got none")]
    Incomplete(&'static str),
    /// The operator API does not answer over TLS.
    #[error("the operator API at {url}, with the certificates that sidecars are given: {reason}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The operator API answers something else than that a token is missing.
    #[error(
        "expected 401 Unauthenticated from the operator API at {url} for a call without token, got {got}"
    )]
    Unexpected {
        /// Where.
        url: String,
        /// What it answers.
        got: String,
    },
    /// It took too long.
    #[error("no answer within {0} seconds")]
    Late(u64),
}

/// What was found to be in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Image of the sidecar that the pod would have.
    pub image: String,
    /// Address of the operator API, which answered.
    pub url: String,
}

/// Tries until both is as it should be, at most as long as the settings say.
///
/// # Errors
/// What was wrong at the last try.
pub async fn run(
    client: Client,
    check: &CheckConfig,
    webhook: &str,
) -> Result<Checked, CheckError> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(check.within_seconds);
    let mut last = CheckError::Late(check.within_seconds);
    loop {
        match tokio::time::timeout_at(deadline, once(&client, check, webhook)).await {
            Ok(Ok(checked)) => return Ok(checked),
            Ok(Err(error)) => last = error,
            Err(_) => return Err(last),
        }
        if tokio::time::Instant::now() + AGAIN >= deadline {
            return Err(last);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn once(client: &Client, check: &CheckConfig, webhook: &str) -> Result<Checked, CheckError> {
    let answer = pod::dry_run(client, check).await?;
    let sidecar = answer.sidecar(webhook)?;
    api::answers(&sidecar).await?;
    Ok(Checked {
        image: sidecar.image,
        url: sidecar.url,
    })
}
