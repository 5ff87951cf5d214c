//! The operator API: what sidecars and relays ask of the operator, over HTTPS.
//!
//! Every replica checks who calls (`tokens`, `callers`); the lease holder decides, the others pass the call
//! on to it (`forward`). What must be durable is written, by create or compare-and-swap, before it is
//! answered; so two leaders that overlap for a moment do no harm.

mod attest;
mod callers;
mod codes;
mod failure;
mod forward;
mod lookup;
mod members;
mod presence;
mod problem;
pub(crate) mod records;
mod redeem;
mod renew;
mod report;
mod roster;
mod settings;
pub mod tokens;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::{Method, Request, Response, request::Parts},
    response::IntoResponse,
};
use peerup_protocol::api::{HOP_HEADER, MAX_BODY, path};
use peerup_serve::Limits;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::{
    callers::{Caller, PodCaller, RelayCaller},
    forward::Forwarder,
    problem::Refusal,
    tokens::Tokens,
};
use crate::{
    context::Context,
    leader::Holder,
    tls::{
        Certificates,
        listener::{self, BodyError},
    },
};

const LIMITS: Limits = Limits {
    connections: 8192,
    per_source: 256,
    handshake: Duration::from_secs(10),
    // sidecars and relays keep a connection for 5 s
    idle: Duration::from_secs(10),
    life: Duration::from_secs(600),
    grace: Duration::from_secs(8),
};
/// How long any call but the long poll may take.
const CALL: Duration = Duration::from_secs(10);
/// How long a body may take to come.
const BODY: Duration = Duration::from_secs(5);

struct Api {
    context: Context,
    tokens: Tokens,
    forwarder: Forwarder,
    rekeys: attest::Rekeys,
    groups: codes::Groups,
    rosters: roster::Rosters,
    outside: report::LastTimes,
}

/// Serves the operator API until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    context: Context,
    certificates: Certificates,
    shutdown: CancellationToken,
) {
    let api = Api {
        tokens: Tokens::new(context.client.clone()),
        forwarder: Forwarder::new(&context.config, certificates.clone()),
        rekeys: attest::Rekeys::default(),
        groups: codes::Groups::default(),
        rosters: roster::Rosters::default(),
        outside: report::LastTimes::default(),
        context,
    };
    let router = Router::new().fallback(answer).with_state(Arc::new(api));
    let config = move || certificates.current().map(|material| material.api.clone());
    listener::serve(listener, config, router, LIMITS, shutdown).await;
}

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Attest,
    Report,
    Lookup,
    Redeem,
    Failure,
    Renew,
    Presence,
    Roster,
}

impl Call {
    fn of(method: &Method, path: &str) -> Option<Self> {
        let (expected, call) = match path {
            path::ATTEST => (Method::POST, Self::Attest),
            path::REPORT => (Method::POST, Self::Report),
            path::LOOKUP => (Method::POST, Self::Lookup),
            path::REDEEM => (Method::POST, Self::Redeem),
            path::FAILURE => (Method::POST, Self::Failure),
            path::RENEW => (Method::POST, Self::Renew),
            path::PRESENCE => (Method::POST, Self::Presence),
            path::ROSTER => (Method::GET, Self::Roster),
            _ => return None,
        };
        (*method == expected).then_some(call)
    }

    fn deadline(self) -> Duration {
        match self {
            Self::Roster => roster::HOLD + CALL,
            Self::Attest
            | Self::Report
            | Self::Lookup
            | Self::Redeem
            | Self::Failure
            | Self::Renew
            | Self::Presence => CALL,
        }
    }
}

async fn answer(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<listener::Caller>,
    request: Request<Body>,
) -> Response<Body> {
    let Some(call) = Call::of(request.method(), request.uri().path()) else {
        return Refusal::NoSuchCall.into_response();
    };
    let answered = tokio::time::timeout(call.deadline(), api.answer(call, caller, request)).await;
    let refusal = match answered {
        Ok(Ok(response)) => return response,
        Ok(Err(refusal)) => refusal,
        Err(_) => Refusal::Unavailable("it took too long".to_owned()),
    };
    tracing::debug!(?call, source = %caller.address, %refusal, "call refused");
    refusal.into_response()
}

impl Api {
    async fn answer(
        &self,
        call: Call,
        from: listener::Caller,
        request: Request<Body>,
    ) -> Result<Response<Body>, Refusal> {
        let (parts, body) = request.into_parts();
        let body = read(body).await?;
        let hop = from.is_replica && parts.headers.contains_key(HOP_HEADER);
        let source = (!hop).then(|| from.address.ip());
        self.known_enough()?;
        let caller =
            callers::authenticate(&self.context, &self.tokens, &parts, &body, source).await?;
        if !self.context.leadership.is_leader() {
            let holder = self.leader(hop)?;
            return self
                .forwarder
                .pass_on(holder, &parts, body, call.deadline())
                .await;
        }
        match caller {
            Caller::Pod(pod) => self.answer_pod(call, &pod, &body).await,
            Caller::Relay(relay) => self.answer_relay(call, &relay, &parts, &body).await,
        }
    }

    /// Before everything was listed once, what is not known would be taken for gone.
    fn known_enough(&self) -> Result<(), Refusal> {
        let missing = self.context.health.missing();
        if missing.iter().all(|part| *part == "certificates") {
            return Ok(());
        }
        Err(Refusal::Unavailable(format!(
            "this replica still waits for: {}",
            missing.join(", ")
        )))
    }

    /// The replica to pass a call on to: a call that was passed on already goes nowhere.
    fn leader(&self, hop: bool) -> Result<Holder, Refusal> {
        let me = &self.context.config;
        let other = self
            .context
            .leadership
            .holder()
            .filter(|holder| !(holder.pod == me.pod_name && holder.ip == me.pod_ip));
        other.filter(|_| !hop).ok_or_else(|| {
            Refusal::Unavailable("no replica of the operator leads at the moment".to_owned())
        })
    }

    async fn answer_pod(
        &self,
        call: Call,
        pod: &PodCaller,
        body: &[u8],
    ) -> Result<Response<Body>, Refusal> {
        match call {
            Call::Attest => json(self.attest(pod, &parse(body)?).await?),
            Call::Report => json(self.report_of_pod(pod, parse(body)?)?),
            Call::Lookup
            | Call::Redeem
            | Call::Failure
            | Call::Renew
            | Call::Presence
            | Call::Roster => Err(Refusal::forbidden("NotARelay", "this call is for relays")),
        }
    }

    async fn answer_relay(
        &self,
        call: Call,
        relay: &RelayCaller,
        parts: &Parts,
        body: &[u8],
    ) -> Result<Response<Body>, Refusal> {
        match call {
            Call::Attest => Err(Refusal::forbidden(
                "NotASidecar",
                "this call is for sidecars",
            )),
            Call::Report => json(self.report_of_outside(relay, &parse(body)?)?),
            Call::Lookup => json(self.lookup(relay, &parse(body)?)?),
            Call::Redeem => json(self.redeem(relay, &parse(body)?).await?),
            Call::Failure => json(self.failure(relay, &parse(body)?).await?),
            Call::Renew => json(self.renew(relay, &parse(body)?)?),
            Call::Presence => json(self.presence(relay, parse(body)?)?),
            Call::Roster => json(
                self.roster(relay, parts.uri.query().unwrap_or_default())
                    .await?,
            ),
        }
    }
}

async fn read(body: Body) -> Result<Bytes, Refusal> {
    let body = listener::whole(body, MAX_BODY, BODY).await;
    body.map_err(|error| match error {
        BodyError::TooLarge(_) => Refusal::TooLarge,
        BodyError::Late => Refusal::Malformed(error.to_string()),
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::Malformed(format!("the body must be JSON of this call: {error}")))
}

fn json(body: impl Serialize) -> Result<Response<Body>, Refusal> {
    Ok(Json(body).into_response())
}
