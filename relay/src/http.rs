//! Plain HTTP for the kubelet and Prometheus: /livez, /readyz, /metrics. Nothing here is secret.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use peerup_node::Node;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::network::Network;

/// What the three pages show.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    pub(crate) metrics: Metrics,
    pub(crate) node: Node,
    pub(crate) network: Arc<Network>,
}

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, pages: Pages, stop: CancellationToken) {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(pages);
    peerup_serve::pages(listener, router, stop).await;
}

/// Ready once members can be told from strangers and be answered: the lists are known.
async fn ready(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    if pages.network.roster().lists().is_some() {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: no lists from the operator yet\n",
        )
    }
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    if let Ok(snapshot) = pages.node.snapshot().await {
        pages.metrics.observe(&snapshot);
    }
    match pages.metrics.text() {
        Ok(text) => (
            StatusCode::OK,
            [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
            text,
        ),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain")],
            format!("{error}\n"),
        ),
    }
}
