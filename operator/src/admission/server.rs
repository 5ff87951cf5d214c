//! `POST /v1/inject`: AdmissionReview v1, for CREATE of pods.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request as Call, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use k8s_openapi::api::core::v1::Namespace;
use peerup_crds::PeerNetwork;
use peerup_serve::Limits;
use prometheus::IntCounter;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    inject::{self, Decision, Settings, Verdict},
    options::DEGRADED,
    review::{Answer, Request},
    select::{Home, Places, Reason},
};
use crate::{
    config::Config,
    context::{CaBundle, Context, Watched},
    metrics::{InjectionMetrics, Metrics},
    tls::{Certificates, listener},
};

/// The largest review: two objects as large as the API server takes, and their frame.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// How long a pod waits for a network that may just have been created.
const EARLY: Duration = Duration::from_millis(500);
/// How long a review may take to come: the API server has it at hand.
const BODY: Duration = Duration::from_secs(5);

const LIMITS: Limits = Limits {
    connections: 512,
    per_source: 256,
    handshake: Duration::from_secs(5),
    // an API server keeps a connection for 90 s
    idle: Duration::from_secs(100),
    life: Duration::from_secs(3600),
    grace: Duration::from_secs(5),
};

/// Why a review gets no answer that the API server can use. Only what is the operator's own fault
/// counts: anyone in the cluster can send nonsense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// There is no certificate authority yet, so sidecars could not be told whom to believe.
    NotReady,
    /// The patch cannot be written as JSON.
    Unwritable,
}

impl Failure {
    const ALL: [Self; 2] = [Self::NotReady, Self::Unwritable];

    const fn as_str(self) -> &'static str {
        match self {
            Self::NotReady => "NotReady",
            Self::Unwritable => "Unwritable",
        }
    }

    fn counter(self, metrics: &InjectionMetrics) -> IntCounter {
        metrics
            .requests
            .with_label_values(&["error", self.as_str()])
    }
}

struct Webhook {
    networks: Watched<PeerNetwork>,
    namespaces: Watched<Namespace>,
    ca: CaBundle,
    metrics: Metrics,
    settings: Settings,
    /// How long a body may take.
    patience: Duration,
}

/// Serves the webhook until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    context: Context,
    certificates: Certificates,
    shutdown: CancellationToken,
) {
    let webhook = Webhook {
        networks: context.stores.networks.clone(),
        namespaces: context.stores.namespaces.clone(),
        ca: context.ca.clone(),
        metrics: context.metrics.clone(),
        settings: settings(&context.config),
        patience: BODY,
    };
    // a counter that begins with its first error shows no increase
    for failure in Failure::ALL {
        failure.counter(&webhook.metrics.injection);
    }
    let config = move || {
        certificates
            .current()
            .map(|material| material.webhook.clone())
    };
    listener::serve(listener, config, webhook.router(), LIMITS, shutdown).await;
}

/// What the configuration says about sidecars.
#[must_use]
pub fn settings(config: &Config) -> Settings {
    Settings {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        places: Places::of(config),
        operator_url: config.operator_url.clone(),
        image: config.sidecar_image.clone(),
        image_pull_policy: config.image_pull_policy.as_str(),
        allowed_images: config.allowed_images.clone(),
        scrape_annotations: config.scrape_annotations,
    }
}

async fn review(State(webhook): State<Arc<Webhook>>, call: Call) -> Response {
    let body = match listener::whole(call.into_body(), MAX_BODY, webhook.patience).await {
        Ok(body) => body,
        Err(error) => return (error.status(), error.to_string()).into_response(),
    };
    match Request::read(&body) {
        Ok(request) => webhook.answer(request).await,
        Err(error) => {
            let text = format!("expected an AdmissionReview v1: {error}");
            (StatusCode::BAD_REQUEST, text).into_response()
        }
    }
}

impl Webhook {
    fn router(self) -> Router {
        Router::new()
            .route("/v1/inject", post(review))
            .with_state(Arc::new(self))
    }

    async fn answer(&self, request: Request) -> Response {
        if !request.makes_a_pod() {
            return Json(Answer::unchanged(request.uid, Vec::new())).into_response();
        }
        let metrics = &self.metrics.injection;
        let Some(operator_ca) = self.ca.get() else {
            Failure::NotReady.counter(metrics).inc();
            return (StatusCode::SERVICE_UNAVAILABLE, "this replica is not ready").into_response();
        };
        let timer = metrics.duration.start_timer();
        let verdict = self.decide(&request, &operator_ca).await;
        timer.observe_duration();
        self.count(&request, &verdict);
        let Verdict { decision, warnings } = verdict;
        let answer = match decision {
            Decision::Skip(_) => Ok(Answer::unchanged(request.uid, warnings)),
            Decision::Patch(operations) => Answer::patched(request.uid, warnings, &operations),
        };
        match answer {
            Ok(answer) => Json(answer).into_response(),
            Err(error) => {
                Failure::Unwritable.counter(metrics).inc();
                (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
            }
        }
    }

    fn count(&self, request: &Request, verdict: &Verdict) {
        let (result, reason) = match &verdict.decision {
            Decision::Patch(_) if verdict.warnings.is_empty() => ("injected", ""),
            Decision::Patch(_) => ("injected", DEGRADED),
            Decision::Skip(reason) => ("skipped", reason.as_str()),
        };
        let counter = &self.metrics.injection.requests;
        counter.with_label_values(&[result, reason]).inc();
        if !matches!(verdict.decision, Decision::Skip(Reason::NotOptedIn)) {
            tracing::debug!(
                namespace = request.namespace,
                result,
                reason,
                warnings = verdict.warnings.len(),
                "admission review"
            );
        }
    }

    /// Decides; when namespace or network are missing, again for a moment: they may come with the same
    /// `kubectl apply` and not be seen yet.
    async fn decide(&self, request: &Request, operator_ca: &str) -> Verdict {
        let (mut networks, mut namespaces) = (self.networks.changes(), self.namespaces.changes());
        let deadline = tokio::time::Instant::now() + EARLY;
        loop {
            let namespace = self.namespaces.get_global(&request.namespace);
            let home = Home::of(namespace.as_deref(), &request.namespace);
            let verdict = inject::decide(
                &request.object,
                &home,
                &self.networks.list(),
                &self.settings,
                operator_ca,
            );
            let Decision::Skip(reason) = &verdict.decision else {
                return verdict;
            };
            if namespace.is_some() && !reason.may_be_early() {
                return verdict;
            }
            tokio::select! {
                _ = networks.recv() => {}
                _ = namespaces.recv() => {}
                () = tokio::time::sleep_until(deadline) => return verdict,
            }
        }
    }
}

#[cfg(test)]
mod tests;
