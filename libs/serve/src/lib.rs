//! HTTP servers that strangers cannot fill: so many connections in all and from one address, a time for everything
//! that a caller has to say.

mod connection;
mod sources;

#[cfg(test)]
mod tests;

use std::{
    future::{Future, Ready, ready},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use sources::Sources;

/// What one server allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all; more wait to be accepted.
    pub connections: usize,
    /// Connections of one address; more are closed.
    pub per_source: usize,
    /// Time for what is said before HTTP, as a TLS handshake, and then for the first request's head.
    pub handshake: Duration,
    /// Time for each further request's head, over HTTP/1. Longer than clients keep a connection that they do not use:
    /// a request that meets the end of its connection is lost, as clients do not send it again.
    pub idle: Duration,
    /// How long a connection may stay; then it ends after the request it is in or the next one.
    pub life: Duration,
    /// Time for open requests at shutdown.
    pub grace: Duration,
}

/// Those of [`pages`]: a kubelet, a Prometheus or two, and somebody who looks.
const PAGES: Limits = Limits {
    connections: 256,
    per_source: 16,
    handshake: Duration::from_secs(5),
    // what is lost here is asked for again
    idle: Duration::from_secs(30),
    life: Duration::from_secs(3600),
    grace: Duration::from_secs(2),
};

/// A stream on which HTTP begins now.
#[derive(Debug)]
pub struct Greeted<S, W> {
    /// The stream.
    pub stream: S,
    /// HTTP/2 was agreed on, else it is HTTP/1.
    pub http2: bool,
    /// Who is at the other end; an extension of each request.
    pub who: W,
}

/// Serves plain HTTP/1 until `shutdown`: health and metrics.
pub async fn pages(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    serve(listener, plain, router, PAGES, shutdown).await;
}

/// Nothing comes before HTTP/1.
fn plain(
    stream: TcpStream,
    address: SocketAddr,
) -> Option<Ready<io::Result<Greeted<TcpStream, SocketAddr>>>> {
    let greeted = Greeted {
        stream,
        http2: false,
        who: address,
    };
    Some(ready(Ok(greeted)))
}

/// Serves `router` until `shutdown`. `greet` says what comes before HTTP on a connection; where it answers nothing the
/// connection is closed at once.
pub async fn serve<S, W, F>(
    listener: TcpListener,
    greet: impl Fn(TcpStream, SocketAddr) -> Option<F> + Send,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    W: Clone + Send + Sync + 'static,
    F: Future<Output = io::Result<Greeted<S, W>>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(limits.connections));
    let sources = Arc::new(Sources::default());
    let tasks = TaskTracker::new();
    loop {
        let next = async {
            let permit = room.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = shutdown.cancelled() => break,
            next = next => next,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: they come back when connections end.
                debug!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(place) = Sources::enter(&sources, address.ip(), limits.per_source) else {
            continue;
        };
        let Some(greeting) = greet(stream, address) else {
            continue;
        };
        let (router, shutdown) = (router.clone(), shutdown.clone());
        tasks.spawn(async move {
            match timeout(limits.handshake, greeting).await {
                Ok(Ok(greeted)) => connection::speak(greeted, router, limits, shutdown).await,
                Ok(Err(error)) => debug!(%address, %error, "the greeting failed"),
                Err(_) => debug!(%address, "the greeting took too long"),
            }
            drop((permit, place));
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}
