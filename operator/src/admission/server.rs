//! `POST /v1/inject`: AdmissionReview v1, for CREATE of pods.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use data_encoding::BASE64;
use prometheus::IntCounter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    inject::{self, Decision, Settings, Verdict},
    options::DEGRADED,
    select::{Home, Reason},
};
use crate::{
    config::Config,
    context::Context,
    metrics::InjectionMetrics,
    tls::{
        Certificates,
        listener::{self, Limits},
    },
};

/// The largest review: two objects as large as the API server takes, and their frame.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// How long a pod waits for a network that may just have been created.
const EARLY: Duration = Duration::from_millis(500);
/// Warnings, and characters of each, that are passed on.
const MAX_WARNINGS: usize = 10;
const MAX_WARNING: usize = 250;

const LIMITS: Limits = Limits {
    connections: 512,
    per_source: 256,
    handshake: Duration::from_secs(5),
    life: Duration::from_secs(3600),
    grace: Duration::from_secs(5),
};

/// The part of an AdmissionReview that counts; the pod stays raw.
#[derive(Deserialize)]
struct Review {
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    kind: Kind,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    namespace: String,
    operation: String,
    #[serde(default)]
    object: Value,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Admitted,
}

/// A pod is always admitted: a sidecar that cannot be given is a warning.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Admitted {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

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
    context: Context,
    settings: Settings,
}

/// Serves the webhook until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    context: Context,
    certificates: Certificates,
    shutdown: CancellationToken,
) {
    let settings = settings(&context.config);
    // a counter that begins with its first error shows no increase
    for failure in Failure::ALL {
        failure.counter(&context.metrics.injection);
    }
    let router = Router::new()
        .route("/v1/inject", post(review))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(Webhook { context, settings }));
    let config = move || {
        certificates
            .current()
            .map(|material| material.webhook.clone())
    };
    listener::serve(listener, config, router, LIMITS, shutdown).await;
}

/// What the configuration says about sidecars.
#[must_use]
pub fn settings(config: &Config) -> Settings {
    Settings {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        operator_namespace: config.operator_namespace.clone(),
        operator_url: config.operator_url.clone(),
        image: config.sidecar_image.clone(),
        image_pull_policy: config.image_pull_policy.as_str(),
        allowed_images: config.allowed_images.clone(),
        scrape_annotations: config.scrape_annotations,
    }
}

async fn review(State(webhook): State<Arc<Webhook>>, Json(review): Json<Review>) -> Response {
    let request = review.request;
    if request.operation != "CREATE"
        || request.kind.kind != "Pod"
        || !request.sub_resource.is_empty()
    {
        return answer(request.uid, Vec::new(), None);
    }
    let metrics = &webhook.context.metrics.injection;
    let Some(operator_ca) = webhook.context.ca.get() else {
        Failure::NotReady.counter(metrics).inc();
        return (StatusCode::SERVICE_UNAVAILABLE, "this replica is not ready").into_response();
    };
    let timer = metrics.duration.start_timer();
    let verdict = webhook.decide(&request, &operator_ca).await;
    timer.observe_duration();
    let (result, reason) = match &verdict.decision {
        Decision::Patch(_) if verdict.warnings.is_empty() => ("injected", ""),
        Decision::Patch(_) => ("injected", DEGRADED),
        Decision::Skip(reason) => ("skipped", reason.as_str()),
    };
    metrics.requests.with_label_values(&[result, reason]).inc();
    if !matches!(verdict.decision, Decision::Skip(Reason::NotOptedIn)) {
        tracing::debug!(
            namespace = request.namespace,
            result,
            reason,
            warnings = verdict.warnings.len(),
            "admission review"
        );
    }
    let Verdict { decision, warnings } = verdict;
    match decision {
        Decision::Skip(_) => answer(request.uid, warnings, None),
        Decision::Patch(operations) => match serde_json::to_vec(&operations) {
            Ok(patch) => answer(request.uid, warnings, Some(BASE64.encode(&patch))),
            Err(error) => {
                Failure::Unwritable.counter(metrics).inc();
                (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
            }
        },
    }
}

impl Webhook {
    /// Decides; when namespace or network are missing, again for a moment: they may come with the same
    /// `kubectl apply` and not be seen yet.
    async fn decide(&self, request: &Request, operator_ca: &str) -> Verdict {
        let stores = &self.context.stores;
        let (mut networks, mut namespaces) =
            (stores.networks.changes(), stores.namespaces.changes());
        let deadline = tokio::time::Instant::now() + EARLY;
        loop {
            let namespace = stores.namespaces.get_global(&request.namespace);
            let home = Home::of(namespace.as_deref(), &request.namespace);
            let verdict = inject::decide(
                &request.object,
                &home,
                &stores.networks.list(),
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

fn answer(uid: String, warnings: Vec<String>, patch: Option<String>) -> Response {
    let short = |warning: String| warning.chars().take(MAX_WARNING).collect();
    let response = Admitted {
        uid,
        allowed: true,
        patch_type: patch.as_ref().map(|_| "JSONPatch"),
        patch,
        warnings: warnings.into_iter().take(MAX_WARNINGS).map(short).collect(),
    };
    Json(Answer {
        api_version: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response,
    })
    .into_response()
}
