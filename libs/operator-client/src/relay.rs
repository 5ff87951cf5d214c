//! The calls that only a relay may make: each carries, beside the token, a signature by the relay's own key
//! over method, path, time, token and body, because any pod's author can choose a token's audience.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use peerup_protocol::api::{
    Empty, FailureRequest, LookupAnswer, LookupRequest, PresenceAnswer, PresenceRequest,
    RELAY_SIGNATURE_HEADER, RedeemAnswer, RedeemRequest, RelaySignature, RenewAnswer, RenewRequest,
    ReportAnswer, ReportRequest, RosterAnswer, path,
};
use peerup_protocol::secret::SecretText;
use peerup_protocol::{SigningKey, message};
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::call::{self, Call, Parts};
use crate::error::{CallError, LocalError};
use crate::{OperatorClient, body};

/// The operator holds a roster call open for at most 30 s (kubernetes.md); after this it is taken for dead.
const LONG_POLL: Duration = Duration::from_secs(45);
/// Largest roster: 10,000 records of about 800 bytes in JSON, four times over.
const MAX_ROSTER: usize = 32 * 1024 * 1024;

/// Calls for relays. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct RelayClient {
    client: OperatorClient,
    key: SigningKey,
}

impl RelayClient {
    /// `key` is the relay's identity, from which its PeerId comes.
    #[must_use]
    pub const fn new(client: OperatorClient, key: SigningKey) -> Self {
        Self { client, key }
    }

    /// Asks for the salt of a handshake (`POST /v1/relay/lookup`).
    ///
    /// # Errors
    /// [`CallError::NotFound`] for a group or slot that admits nobody; else any [`CallError`].
    pub async fn lookup(
        &self,
        request: &LookupRequest,
        deadline: Instant,
    ) -> Result<LookupAnswer, CallError> {
        self.post(path::LOOKUP, request, deadline).await
    }

    /// Asks to admit a joiner whose MAC was right (`POST /v1/relay/redeem`); durable when answered.
    ///
    /// # Errors
    /// Any [`CallError`]; a refusal by the group's book is an answer, not an error.
    pub async fn redeem(
        &self,
        request: &RedeemRequest,
        deadline: Instant,
    ) -> Result<RedeemAnswer, CallError> {
        self.post(path::REDEEM, request, deadline).await
    }

    /// Has a failure counted (`POST /v1/relay/failure`); durable when answered.
    ///
    /// # Errors
    /// Any [`CallError`]; after [`CallError::Timeout`] it may have been counted.
    pub async fn failure(
        &self,
        request: &FailureRequest,
        deadline: Instant,
    ) -> Result<Empty, CallError> {
        self.post(path::FAILURE, request, deadline).await
    }

    /// Asks for a newer record of a member (`POST /v1/relay/renew`).
    ///
    /// # Errors
    /// [`CallError::NotFound`], or [`CallError::Refused`] with status 410, when the operator will never give one; else any
    /// [`CallError`].
    pub async fn renew(
        &self,
        request: &RenewRequest,
        deadline: Instant,
    ) -> Result<RenewAnswer, CallError> {
        self.post(path::RENEW, request, deadline).await
    }

    /// Says who is online here (`POST /v1/relay/presence`) and learns our outside addresses and limits.
    ///
    /// # Errors
    /// Any [`CallError`].
    pub async fn presence(
        &self,
        request: &PresenceRequest,
        deadline: Instant,
    ) -> Result<PresenceAnswer, CallError> {
        self.post(path::PRESENCE, request, deadline).await
    }

    /// Hands on the signed report of a peer outside the cluster (`POST /v1/report`).
    ///
    /// # Errors
    /// Any [`CallError`].
    pub async fn report(
        &self,
        request: &ReportRequest,
        deadline: Instant,
    ) -> Result<ReportAnswer, CallError> {
        self.post(path::REPORT, request, deadline).await
    }

    /// Waits until the roster differs from what `run` and `seq` name, or the operator's long poll ends
    /// (`GET /v1/relay/roster`); 0 and 0 ask for all of it at once.
    ///
    /// # Errors
    /// Any [`CallError`].
    pub async fn roster(
        &self,
        run: u64,
        seq: u64,
        deadline: Instant,
    ) -> Result<RosterAnswer, CallError> {
        let call = Call {
            method: Method::GET,
            path_and_query: format!("{}?run={run}&seq={seq}", path::ROSTER),
            attempt: LONG_POLL,
            max_answer: MAX_ROSTER,
        };
        self.signed(&call, deadline, Vec::new()).await
    }

    async fn post<A: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
        deadline: Instant,
    ) -> Result<A, CallError> {
        let Parts { body, .. } = body(request)?;
        self.signed(&Call::post(&self.client, path), deadline, body)
            .await
    }

    async fn signed<A: DeserializeOwned>(
        &self,
        call: &Call,
        deadline: Instant,
        body: Vec<u8>,
    ) -> Result<A, CallError> {
        call::run(&self.client, call, deadline, |token| {
            let signature = self.sign(call, token, &body)?;
            Ok(Parts {
                body: body.clone(),
                header: Some((RELAY_SIGNATURE_HEADER, signature.to_string())),
            })
        })
        .await
    }

    fn sign(
        &self,
        call: &Call,
        token: &SecretText,
        body: &[u8],
    ) -> Result<RelaySignature, CallError> {
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|_| LocalError::Clock)?
            .as_secs();
        let message = message::relay_call(
            call.method.as_str(),
            &call.path_and_query,
            time,
            token.expose().as_bytes(),
            body,
        );
        Ok(RelaySignature {
            time,
            signature: message::sign(&self.key, &message),
        })
    }
}
