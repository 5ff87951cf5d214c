//! A stream that ends with its connection and counts against its peer's cap while
//! it is open.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::swarm::ConnectionId;
use peerup_protocol::PeerId;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::event::Origin;

/// The connection that carries a stream.
#[derive(Debug)]
pub(crate) struct Via {
    pub(crate) peer: PeerId,
    pub(crate) connection: ConnectionId,
    pub(crate) origin: Origin,
}

/// A bidirectional stream of bytes to another node. `close` ends the direction away from here; the
/// other one stays open until the remote closes it too. Dropped without `close`, the remote reads an
/// end all the same, but it can't write any more.
#[derive(Debug)]
pub struct Stream {
    inner: libp2p::Stream,
    via: Arc<Via>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    _slot: Option<Slot>,
}

impl Stream {
    /// `ended` is cancelled when the connection ends: yamux does not wake the readers of a
    /// connection that this side closes, so they would wait for ever.
    pub(crate) fn new(
        inner: libp2p::Stream,
        via: &Arc<Via>,
        ended: &CancellationToken,
        slot: Option<Slot>,
    ) -> Self {
        Self {
            inner,
            via: Arc::clone(via),
            ended: Box::pin(ended.clone().cancelled_owned()),
            _slot: slot,
        }
    }

    /// The remote.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.via.peer
    }

    /// The connection that carries it, to its end.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.via.connection
    }

    /// Where that connection leads.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.via.origin
    }

    /// What the inner stream says; when it says nothing and the connection has ended, an error.
    fn unless_ended<T>(
        &mut self,
        cx: &mut Context<'_>,
        said: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if said.is_pending() && self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        said
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.unless_ended(cx, said)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.unless_ended(cx, said)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let said = Pin::new(&mut self.inner).poll_flush(cx);
        self.unless_ended(cx, said)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let said = Pin::new(&mut self.inner).poll_close(cx);
        self.unless_ended(cx, said)
    }
}

/// Inbound streams that one peer may have open.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    open: Arc<AtomicUsize>,
    max: usize,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Slot(Arc<AtomicUsize>);

impl Slots {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            open: Arc::default(),
            max,
        }
    }

    /// A slot, unless all are taken.
    pub(crate) fn take(&self) -> Option<Slot> {
        let max = self.max;
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
                (open < max).then_some(open + 1)
            })
            .ok()
            .map(|_| Slot(Arc::clone(&self.open)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
