//! HTTPS servers whose certificates may change while they run, and which strangers cannot fill.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{self, Body, Bytes},
    extract::Request,
    http::StatusCode,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::debug;

/// What HTTP/2 is called in TLS (RFC 9113, 3.2).
pub(super) const HTTP2: &[u8] = b"h2";

/// What one server allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all; more wait to be accepted.
    pub connections: usize,
    /// Connections of one address; more are closed.
    pub per_source: usize,
    /// Time for the TLS handshake, and for each request's head.
    pub handshake: Duration,
    /// How long a connection may stay; then it ends after the request it is in.
    pub life: Duration,
    /// Time for open requests at shutdown.
    pub grace: Duration,
}

/// Why the body of a request is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the call takes.
    #[error("a body must have at most {0} bytes")]
    TooLarge(usize),
    /// It came too slowly.
    #[error("the body did not come in time")]
    Late,
}

impl BodyError {
    /// What the caller is answered.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// Reads a body of at most `most` bytes that comes within `patience`.
///
/// # Errors
/// [`BodyError`]
pub async fn whole(body: Body, most: usize, patience: Duration) -> Result<Bytes, BodyError> {
    match timeout(patience, body::to_bytes(body, most)).await {
        Ok(Ok(body)) => Ok(body),
        // one that has broken off has nobody to be told so
        Ok(Err(_)) => Err(BodyError::TooLarge(most)),
        Err(_) => Err(BodyError::Late),
    }
}

/// Who is at the other end of a connection; an extension of each request.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Its address.
    pub address: SocketAddr,
    /// It showed a certificate of our own authority: another replica.
    pub is_replica: bool,
}

/// Serves `router` until `shutdown`; without certificates a connection is closed at once.
pub async fn serve(
    listener: TcpListener,
    certificates: impl Fn() -> Option<Arc<ServerConfig>> + Send,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
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
        let Some(config) = certificates() else {
            continue;
        };
        let Some(place) = Sources::enter(&sources, address.ip(), limits.per_source) else {
            continue;
        };
        let (router, shutdown) = (router.clone(), shutdown.clone());
        tasks.spawn(async move {
            connection(stream, address, config, router, limits, shutdown).await;
            drop((permit, place));
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    config: Arc<ServerConfig>,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let accept = TlsAcceptor::from(config).accept(stream);
    let stream = match timeout(limits.handshake, accept).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%address, %error, "TLS handshake failed"),
        Err(_) => return debug!(%address, "TLS handshake took too long"),
    };
    let tls = stream.get_ref().1;
    let is_replica = tls.peer_certificates().is_some();
    let builder = builder(limits, tls.alpn_protocol() == Some(HTTP2));
    let caller = Caller {
        address,
        is_replica,
    };
    let service = tower::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(caller);
        router.clone().oneshot(request)
    });
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => Some(ended),
        () = shutdown.cancelled() => None,
        () = tokio::time::sleep(limits.life) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            served.as_mut().graceful_shutdown();
            timeout(limits.grace, served).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%address, %error, "connection failed");
    }
}

/// The version was agreed on in TLS: nobody is waited for to show it by its first bytes, for which there is no
/// deadline.
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
        .header_read_timeout(limits.handshake)
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

/// Connections of each address.
#[derive(Default)]
struct Sources(Mutex<HashMap<IpAddr, usize>>);

impl Sources {
    fn enter(sources: &Arc<Self>, address: IpAddr, most: usize) -> Option<Place> {
        let mut counts = sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place {
            sources: sources.clone(),
            address,
        })
    }
}

/// One connection's place; given back when dropped.
struct Place {
    sources: Arc<Sources>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self
            .sources
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
