//! One call: fresh token, one HTTP exchange, and again with growing pauses while the operator is not available
//! and the caller's deadline allows.

use std::time::Duration;

use peerup_protocol::api::Problem;
use peerup_protocol::secret::SecretText;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use crate::error::{CallError, LocalError};
use crate::{OperatorClient, backoff, token};

/// Largest answer of any call but the roster.
const MAX_ANSWER: usize = 256 * 1024;
/// Largest problem document looked at.
const MAX_PROBLEM: usize = 16 * 1024;

/// What is called and within which bounds.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path_and_query: String,
    /// Longest time for one attempt.
    pub(crate) attempt: Duration,
    /// Largest answer read, in bytes.
    pub(crate) max_answer: usize,
}

impl Call {
    /// A `POST` with the ordinary bounds.
    pub(crate) fn post(client: &OperatorClient, path: &str) -> Self {
        Self {
            method: Method::POST,
            path_and_query: path.to_owned(),
            attempt: client.inner.attempt_timeout,
            max_answer: MAX_ANSWER,
        }
    }
}

/// What depends on the token of this attempt.
pub(crate) struct Parts {
    pub(crate) body: Vec<u8>,
    pub(crate) header: Option<(&'static str, String)>,
}

/// Runs `call` until it is answered, refused, or the deadline does not allow another attempt.
pub(crate) async fn run<A: DeserializeOwned>(
    client: &OperatorClient,
    call: &Call,
    deadline: Instant,
    parts: impl Fn(&SecretText) -> Result<Parts, CallError>,
) -> Result<A, CallError> {
    let mut number = 0;
    loop {
        let error = match attempt(client, call, deadline, &parts).await {
            Ok(answer) => return decode(&answer),
            Err(error) => error,
        };
        let retry_after = match &error {
            CallError::Unavailable { retry_after, .. } => *retry_after,
            CallError::Timeout => None,
            CallError::Unauthorized { .. }
            | CallError::NotFound { .. }
            | CallError::Refused { .. }
            | CallError::Protocol(_)
            | CallError::Local(_) => return Err(error),
        };
        let again = Instant::now() + backoff::pause(number, retry_after, rand::random());
        if again >= deadline {
            return Err(error);
        }
        tracing::debug!(path = call.path_and_query, attempt = number, %error, "operator call again");
        tokio::time::sleep_until(again).await;
        number += 1;
    }
}

async fn attempt(
    client: &OperatorClient,
    call: &Call,
    deadline: Instant,
    parts: impl Fn(&SecretText) -> Result<Parts, CallError>,
) -> Result<Vec<u8>, CallError> {
    let until = deadline.min(Instant::now() + call.attempt);
    timeout_at(until, exchange(client, call, parts))
        .await
        .unwrap_or(Err(CallError::Timeout))
}

async fn exchange(
    client: &OperatorClient,
    call: &Call,
    parts: impl Fn(&SecretText) -> Result<Parts, CallError>,
) -> Result<Vec<u8>, CallError> {
    let token = token::read(&client.inner.token_file).await?;
    let http = client.inner.trust.client().await?;
    let parts = parts(&token)?;
    let mut request = http
        .request(
            call.method.clone(),
            format!("{}{}", client.inner.url, call.path_and_query),
        )
        .header(AUTHORIZATION, bearer(&token)?);
    if let Some((name, value)) = parts.header {
        request = request.header(name, value);
    }
    if !parts.body.is_empty() {
        request = request
            .header(CONTENT_TYPE, "application/json")
            .body(parts.body);
    }
    let mut response = request.send().await.map_err(|error| transport(&error))?;
    if response.status().is_success() {
        return read(&mut response, call.max_answer).await;
    }
    Err(refusal(response).await)
}

fn bearer(token: &SecretText) -> Result<HeaderValue, CallError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
        .map_err(|error| CallError::Local(LocalError::Client(error.to_string())))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads a whole body that must not be longer than `max`.
async fn read(response: &mut Response, max: usize) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
        if body.len() + chunk.len() > max {
            return Err(CallError::Protocol(format!("more than {max} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn decode<A: DeserializeOwned>(body: &[u8]) -> Result<A, CallError> {
    serde_json::from_slice(body).map_err(|error| CallError::Protocol(error.to_string()))
}

async fn refusal(mut response: Response) -> CallError {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let body = read(&mut response, MAX_PROBLEM).await.unwrap_or_default();
    let detail = serde_json::from_slice::<Problem>(&body)
        .ok()
        .and_then(|problem| problem.detail)
        .unwrap_or_else(|| status.to_string());
    match status.as_u16() {
        401 | 403 => CallError::Unauthorized { detail },
        404 => CallError::NotFound { detail },
        429 | 500..=599 => CallError::Unavailable {
            retry_after,
            detail,
        },
        status @ 400..=499 => CallError::Refused { status, detail },
        status => CallError::Protocol(format!("status {status}")),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The innermost cause says most ("connection refused", "invalid peer certificate: …").
fn transport(error: &reqwest::Error) -> CallError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    CallError::Unavailable {
        retry_after: None,
        detail: cause.to_string(),
    }
}
