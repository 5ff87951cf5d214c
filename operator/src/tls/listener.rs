//! HTTPS servers whose certificates may change while they run, and which strangers cannot fill.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{self, Body, Bytes},
    http::StatusCode,
};
use peerup_serve::{Greeted, Limits};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// What HTTP/2 is called in TLS (RFC 9113, 3.2).
pub(super) const HTTP2: &[u8] = b"h2";

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
    let greet = move |stream: TcpStream, address| {
        let acceptor = TlsAcceptor::from(certificates()?);
        Some(async move {
            let stream = acceptor.accept(stream).await?;
            let tls = stream.get_ref().1;
            let who = Caller {
                address,
                is_replica: tls.peer_certificates().is_some(),
            };
            Ok(Greeted {
                // The version was agreed on in TLS.
                http2: tls.alpn_protocol() == Some(HTTP2),
                stream,
                who,
            })
        })
    };
    peerup_serve::serve(listener, greet, router, limits, shutdown).await;
}
