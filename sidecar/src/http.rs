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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use peerup_agent::Status;
    use peerup_agent::status::Phase;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn serve(hold: Hold) -> (Board, std::net::SocketAddr) {
        let board = Board::new(Status::starting(Timestamp::UNIX_EPOCH));
        let view = View {
            board: board.clone(),
            metrics: Metrics::new().unwrap(),
            hold,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router(view)).await });
        (board, at)
    }

    async fn get(at: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn startup_waits_for_joining_only_when_held() {
        let (_, at) = serve(Hold::Started).await;
        assert!(get(at, "/startupz").await.starts_with("HTTP/1.0 200"));
        let (board, at) = serve(Hold::Joined).await;
        assert!(get(at, "/livez").await.starts_with("HTTP/1.0 200"));
        let held = get(at, "/startupz").await;
        assert!(
            held.starts_with("HTTP/1.0 503") && held.ends_with("Starting\n"),
            "{held}"
        );
        assert!(get(at, "/readyz").await.starts_with("HTTP/1.0 503"));
        board.update(|status| {
            status.phase = Phase::Joined;
            status.joined_time = Some(Timestamp::UNIX_EPOCH);
        });
        assert!(get(at, "/startupz").await.starts_with("HTTP/1.0 200"));
        assert!(get(at, "/readyz").await.starts_with("HTTP/1.0 200"));
        board.update(|status| status.phase = Phase::Lapsed);
        assert!(get(at, "/startupz").await.starts_with("HTTP/1.0 200"));
        assert!(get(at, "/readyz").await.starts_with("HTTP/1.0 503"));
    }

    #[tokio::test]
    async fn metrics_and_status_tell_the_same() {
        let (board, at) = serve(Hold::Started).await;
        board.update(|status| status.phase = Phase::Joined);
        let metrics = get(at, "/metrics").await;
        assert!(metrics.contains("\npeerup_joined 1\n"), "{metrics}");
        assert!(
            metrics.contains("\npeerup_probe_total{result=\"measured\"} 0\n"),
            "{metrics}"
        );
        let status = get(at, "/status").await;
        assert!(status.contains("\"phase\":\"Joined\""), "{status}");
    }
}
