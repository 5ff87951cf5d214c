//! The socket's accept loop: who may call, how many at once, for how long.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::caller::may_call;
use super::comparisons::Comparisons;
use super::routes::{self, Desk, Peer};
use super::services::Keeper;
use super::socket::Place;
use super::wanted::Wanted;
use crate::state::{StateError, Store};

/// What the server allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Calls at once; more wait to be accepted.
    pub(super) calls: usize,
    /// Time for a request's head.
    pub(super) head: Duration,
    /// Time for a whole call.
    pub(super) call: Duration,
    /// Time for open calls at the end.
    pub(super) grace: Duration,
}

impl Limits {
    pub(super) const DEFAULT: Self = Self {
        calls: 16,
        head: Duration::from_secs(5),
        // Two people have five minutes to compare.
        call: Duration::from_secs(360),
        grace: Duration::from_secs(1),
    };
}

/// The local API of a peer, ready to be served.
#[derive(Debug)]
pub struct Server {
    pub(super) owner: u32,
    pub(super) limits: Limits,
    place: Place,
    listener: UnixListener,
    store: Arc<Store>,
    wanted: Wanted,
}

impl Server {
    /// Makes the socket in a state directory that this process holds. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StateError::Permissions`] when others have access to the socket's directory or may write the file of wanted
    /// services, [`StateError::Damaged`] when that is none, else [`StateError::Io`].
    pub fn bind(store: Arc<Store>) -> Result<Self, StateError> {
        let wanted = store.services()?.unwrap_or_default();
        let place = Place::make(&store)?;
        Ok(Self {
            owner: rustix::process::geteuid().as_raw(),
            limits: Limits::DEFAULT,
            listener: place.bind()?,
            place,
            store,
            wanted,
        })
    }

    /// Brings back the services that the owner wanted, then answers calls about `peer` until it is told to stop, and
    /// removes the socket.
    pub async fn run(self, peer: Peer) {
        let stop = peer.stop.clone();
        let store = Arc::clone(&self.store);
        let (handle, board) = (peer.handle.clone(), peer.board.clone());
        let keeper = Keeper::new(handle, store, board, self.wanted.clone());
        keeper.begin().await;
        let desk = Arc::new(Desk {
            peer,
            keeper,
            comparisons: Comparisons::default(),
        });
        let router = routes::router(Arc::clone(&desk));
        let room = Arc::new(Semaphore::new(self.limits.calls));
        let tasks = TaskTracker::new();
        let insist = stop.clone();
        tasks.spawn(async move {
            let insisted = insist.run_until_cancelled(desk.keeper.insist());
            let None = insisted.await;
        });
        loop {
            let next = async {
                let permit = Arc::clone(&room).acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                () = stop.cancelled() => break,
                next = next => next,
            };
            match accepted {
                Ok((stream, _)) if self.admits(&stream) => {
                    let call = connection(stream, router.clone(), self.limits, stop.clone());
                    tasks.spawn(async move {
                        call.await;
                        drop(permit);
                    });
                }
                Ok(_) => (),
                Err(error) => {
                    // Out of file descriptors, most likely: they come back when connections end.
                    tracing::debug!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.listener);
        tasks.close();
        tasks.wait().await;
        if let Err(error) = self.place.remove() {
            tracing::debug!(%error, "socket is left behind");
        }
    }

    /// Whether the process at the other end may call; the kernel says whose it is.
    fn admits(&self, stream: &UnixStream) -> bool {
        match stream.peer_cred() {
            Ok(caller) if may_call(self.owner, caller.uid()) => true,
            Ok(caller) => {
                tracing::warn!(uid = caller.uid(), pid = ?caller.pid(), "another user's call is refused");
                false
            }
            Err(error) => {
                tracing::warn!(%error, "a caller can't be told");
                false
            }
        }
    }
}

/// One call, then the connection ends.
async fn connection(stream: UnixStream, router: Router, limits: Limits, stop: CancellationToken) {
    let service = tower::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let request: Request = request.map(Body::new);
        router.clone().oneshot(request)
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(64 * 1024)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => Ok(ended),
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            timeout(limits.grace, served).await
        }
        () = tokio::time::sleep(limits.call) => return tracing::debug!("a call took too long"),
    };
    if let Ok(Err(error)) = ended {
        tracing::debug!(%error, "call failed");
    }
}
