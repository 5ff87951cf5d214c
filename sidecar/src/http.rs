//! The local HTTP server: probes, metrics, status.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use peerup_agent::{Board, Metrics};

use crate::args::Hold;

/// What the handlers look at.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) board: Board,
    pub(crate) metrics: Metrics,
    pub(crate) hold: Hold,
}

/// The routes of the server.
pub(crate) fn router(view: View) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/startupz", get(startupz))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .with_state(view)
}

async fn startupz(State(view): State<View>) -> Response {
    let status = view.board.status();
    match view.hold {
        Hold::Started => said(true, "started"),
        Hold::Joined => said(status.joined_time.is_some(), &format!("{:?}", status.phase)),
    }
}

async fn readyz(State(view): State<View>) -> Response {
    let status = view.board.status();
    said(status.is_joined(), &format!("{:?}", status.phase))
}

async fn status(State(view): State<View>) -> Response {
    axum::Json(view.board.status()).into_response()
}

async fn metrics(State(view): State<View>) -> Response {
    match view.metrics.text(&view.board.status()) {
        Ok(text) => ([(header::CONTENT_TYPE, peerup_agent::METRICS_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn said(yes: bool, why: &str) -> Response {
    let code = if yes {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, format!("{why}\n")).into_response()
}
