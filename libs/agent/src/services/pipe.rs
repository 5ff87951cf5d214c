//! Bytes both ways between a local program and a stream. Each direction ends by itself, a slow reader slows its
//! writer, and what breaks on one side breaks on the other too.
//!
//! Reading tells no difference between a stream that the other side has ended and one that it has dropped; writing
//! does. So an end of the stream counts as one only while this side could still write.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use peerup_node::Stream;
use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::compat::FuturesAsyncReadCompatExt;
use tokio_util::sync::CancellationToken;

/// Bytes on their way in each direction; as many as yamux sends at once.
const BUFFER: usize = 16 * 1024;

/// What is counted of one service.
#[derive(Debug, Clone)]
pub(super) struct Bytes {
    /// From here to the other peer.
    pub(super) sent: IntCounter,
    /// From the other peer to here.
    pub(super) received: IntCounter,
}

/// Carries bytes until both directions have ended. After a failure, after `idle` without a byte, when it is told to stop
/// and when it is dropped, both sides are reset.
pub(super) async fn carry(
    local: TcpStream,
    remote: Stream,
    bytes: Bytes,
    idle: Option<Duration>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let active = Activity::new();
    let mut local = Counted {
        inner: local,
        bytes,
        active: active.clone(),
        at_drop: reset,
    };
    let mut remote = Remote {
        inner: remote.compat(),
        ended: false,
    };
    let ended = tokio::select! {
        ended = tokio::io::copy_bidirectional_with_sizes(&mut local, &mut remote, BUFFER, BUFFER) => ended.map(drop),
        () = active.idle(idle) => Err(io::ErrorKind::TimedOut.into()),
        () = stop.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    if ended.is_ok() {
        local.at_drop = |_| ();
    }
    ended
}

/// The local program sees a broken connection, not an end, as soon as it is dropped.
pub(super) fn reset(local: &TcpStream) {
    if let Err(error) = local.set_zero_linger() {
        tracing::debug!(%error, "connection is closed, not reset");
    }
}

/// When a byte last passed.
#[derive(Debug, Clone)]
struct Activity {
    started: Instant,
    /// Milliseconds after that.
    last: Arc<AtomicU64>,
}

impl Activity {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            last: Arc::default(),
        }
    }

    fn note(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    /// Returns after `limit` without a byte; never without a limit.
    async fn idle(&self, limit: Option<Duration>) {
        let Some(limit) = limit else {
            return std::future::pending().await;
        };
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let end = self.started + last + limit;
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// The local side, with its bytes counted.
struct Counted<S> {
    inner: S,
    bytes: Bytes,
    active: Activity,
    at_drop: fn(&S),
}

impl<S> Drop for Counted<S> {
    fn drop(&mut self) {
        (self.at_drop)(&self.inner);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        let count = buf.filled().len().saturating_sub(before);
        if count > 0 {
            self.bytes.sent.inc_by(count as u64);
            self.active.note();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = written {
            self.bytes.received.inc_by(count as u64);
            self.active.note();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The other peer's side, which breaks where a bare stream would seem to end.
struct Remote<S> {
    inner: S,
    /// This side has ended its direction: it can't tell any more.
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Remote<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining());
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        let at_end =
            matches!(read, Poll::Ready(Ok(()))) && room > 0 && buf.filled().len() == before;
        if at_end
            && !self.ended
            && let Poll::Ready(Err(error)) = Pin::new(&mut self.inner).poll_write(cx, &[])
        {
            let kind = io::ErrorKind::ConnectionReset;
            return Poll::Ready(Err(io::Error::new(kind, error)));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Remote<S> {
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

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended = true;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn counters() -> Bytes {
        let counter = |name: &str| IntCounter::new(name, "x").unwrap();
        Bytes {
            sent: counter("sent"),
            received: counter("received"),
        }
    }

    #[tokio::test]
    async fn each_direction_is_counted() {
        let (mut ours, theirs) = duplex(64);
        let bytes = counters();
        let mut counted = Counted {
            inner: theirs,
            bytes: bytes.clone(),
            active: Activity::new(),
            at_drop: |_| (),
        };
        ours.write_all(b"hello").await.unwrap();
        let mut read = [0; 5];
        counted.read_exact(&mut read).await.unwrap();
        counted.write_all(b"hi").await.unwrap();
        assert_eq!((bytes.sent.get(), bytes.received.get()), (5, 2));
    }

    #[tokio::test]
    async fn idle_counts_from_the_last_byte() {
        let active = Activity::new();
        let (limit, busy) = (Duration::from_millis(80), Duration::from_millis(50));
        let began = Instant::now();
        let noted = async {
            tokio::time::sleep(busy).await;
            active.note();
        };
        tokio::join!(active.idle(Some(limit)), noted);
        assert!(began.elapsed() >= limit + busy, "{:?}", began.elapsed());
        let never = tokio::time::timeout(limit * 2, active.idle(None));
        assert!(never.await.is_err());
    }
}
