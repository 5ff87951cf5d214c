//! Client of the operator's HTTPS API (kubernetes.md, "Operator API"), for sidecars ([`OperatorClient`]) and
//! relays ([`RelayClient`]): TLS 1.3 that trusts the operator's CA bundle only, a token read again at each use,
//! typed errors, and retries while the operator is not available, always within the caller's deadline.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")
)]

mod backoff;
mod call;
mod error;
mod relay;
#[cfg(test)]
mod tests;
mod token;
mod trust;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use peerup_protocol::api::{AttestAnswer, AttestRequest, ReportAnswer, ReportRequest, path};
use peerup_protocol::{SigningKey, id, message};
use tokio::time::Instant;

use call::{Call, Parts};
pub use error::{CallError, LocalError};
pub use relay::RelayClient;
use trust::Trust;

/// How to reach the operator and what to trust.
#[derive(Debug, Clone)]
pub struct Config {
    /// `https://host:port`, without a path.
    pub url: String,
    /// CA bundle in PEM, read again at each use; it may be missing or empty when `ca_pem` is given.
    pub ca_file: Option<PathBuf>,
    /// CA bundle in PEM, trusted besides the file.
    pub ca_pem: Option<String>,
    /// Projected service account token, read again at each use.
    pub token_file: PathBuf,
    /// Longest time to connect; [`Config::CONNECT`] is a good choice.
    pub connect_timeout: Duration,
    /// Longest time of one attempt of a call; [`Config::ATTEMPT`] is a good choice.
    pub attempt_timeout: Duration,
}

impl Config {
    /// Usual time to connect.
    pub const CONNECT: Duration = Duration::from_secs(2);
    /// Usual time for one attempt; shorter than the 12 s of a pairing, so that another one fits.
    pub const ATTEMPT: Duration = Duration::from_secs(5);
}

/// Calls for sidecars. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct OperatorClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    url: String,
    token_file: PathBuf,
    attempt_timeout: Duration,
    trust: Trust,
}

impl OperatorClient {
    /// Takes the settings; files are looked at when a call is made, since they may appear later.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            inner: Arc::new(Inner {
                url: config.url.trim_end_matches('/').to_owned(),
                token_file: config.token_file,
                attempt_timeout: config.attempt_timeout,
                trust: Trust::new(config.ca_file, config.ca_pem, config.connect_timeout),
            }),
        }
    }

    /// Proves our service account and our key, and asks for a code of our own (`POST /v1/attest`).
    /// `key` is the peer's identity; the signature covers the token of each attempt.
    ///
    /// # Errors
    /// Any [`CallError`]; temporary ones only when the deadline left no time for another attempt.
    pub async fn attest(
        &self,
        key: &SigningKey,
        deadline: Instant,
    ) -> Result<AttestAnswer, CallError> {
        let peer = id::peer_id(&key.verifying_key());
        call::run(self, &Call::post(self, path::ATTEST), deadline, |token| {
            let signature = message::sign(key, &message::attest(token.expose().as_bytes(), &peer));
            body(&AttestRequest {
                peer_id: peer,
                signature,
            })
        })
        .await
    }

    /// Sends a report (`POST /v1/report`); the answer carries the network's settings.
    ///
    /// # Errors
    /// Any [`CallError`]; temporary ones only when the deadline left no time for another attempt.
    pub async fn report(
        &self,
        report: &ReportRequest,
        deadline: Instant,
    ) -> Result<ReportAnswer, CallError> {
        let call = Call::post(self, path::REPORT);
        call::run(self, &call, deadline, |_| body(report)).await
    }
}

fn body(value: &impl serde::Serialize) -> Result<Parts, CallError> {
    Ok(Parts {
        body: serde_json::to_vec(value).map_err(|error| CallError::Protocol(error.to_string()))?,
        header: None,
    })
}
