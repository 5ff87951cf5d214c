//! The calls of the local API.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;

use super::problem::Refusal;
use super::{MAX_REQUEST, path};
use crate::status::{Board, Status};

/// The peer that the API speaks for.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What it knows.
    pub board: Board,
    /// Cancelled when it is to end, by a call or by its process.
    pub stop: CancellationToken,
}

pub(super) fn router(peer: Peer) -> Router {
    Router::new()
        .route(path::STATUS, get(status))
        .route(path::STOP, post(stop))
        .fallback(|| async { Refusal::NoSuchCall })
        .method_not_allowed_fallback(|| async { Refusal::NoSuchCall })
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(peer)
}

async fn status(State(peer): State<Peer>) -> axum::Json<Status> {
    axum::Json(peer.board.status())
}

async fn stop(State(peer): State<Peer>) -> StatusCode {
    peer.stop.cancel();
    StatusCode::NO_CONTENT
}
