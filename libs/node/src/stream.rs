//! A stream that counts against its peer's cap while it is open.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};

/// A bidirectional stream of bytes to another node. Dropped without
/// `close`, it is reset.
#[derive(Debug)]
pub struct Stream {
    inner: libp2p::Stream,
    _slot: Option<Slot>,
}

impl Stream {
    pub(crate) fn inbound(inner: libp2p::Stream, slot: Slot) -> Self {
        Self {
            inner,
            _slot: Some(slot),
        }
    }

    pub(crate) fn outbound(inner: libp2p::Stream) -> Self {
        Self { inner, _slot: None }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
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
