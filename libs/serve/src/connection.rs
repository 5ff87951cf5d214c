//! HTTP on one connection, from its first request to its last.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, header},
    response::Response,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::debug;

use crate::{Greeted, Limits};

/// Answers requests until the connection ends.
pub(crate) async fn speak<S, W>(
    greeted: Greeted<S, W>,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    W: Clone + Send + Sync + 'static,
{
    let Greeted { stream, http2, who } = greeted;
    let (heard, end) = (CancellationToken::new(), Instant::now() + limits.life);
    let service = tower::service_fn({
        let heard = heard.clone();
        move |request: hyper::Request<hyper::body::Incoming>| {
            heard.cancel();
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(who.clone());
            let answer = router.clone().oneshot(request);
            async move { answer.await.map(|answer| last(answer, http2, end)) }
        }
    });
    let builder = builder(limits, http2);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(served);
    let silent = async {
        if timeout(limits.handshake, heard.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = served.as_mut() => Some(ended),
        () = silent => return debug!("no request came"),
        () = shutdown.cancelled() => None,
        () = tokio::time::sleep(limits.life), if http2 => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            served.as_mut().graceful_shutdown();
            timeout(limits.grace, served).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection failed");
    }
}

/// Over HTTP/1 an answer says that it is the last one; HTTP/2 has its GOAWAY.
fn last(mut answer: Response, http2: bool, end: Instant) -> Response {
    if !http2 && Instant::now() >= end {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
    answer
}

/// The version is known: nobody is waited for to show it by its first bytes, for which there is no deadline.
fn builder(limits: Limits, http2: bool) -> Builder<TokioExecutor> {
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = if http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_concurrent_streams(64)
        .max_header_list_size(16 * 1024);
    builder
}
