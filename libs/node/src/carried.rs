//! Counts what a relay carries, which libp2p does not, and ends connections that do not end by themselves.
//!
//! A circuit is a stream that its source opens for the relay's `hop` protocol, and libp2p copies that stream's bytes
//! itself. They are seen where they pass the multiplexer: the first lines that the side that was opened to writes
//! say what was agreed on, and if that is `hop`, all bytes that follow count, in both directions.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, ready};
use libp2p::{
    core::muxing::{StreamMuxer, StreamMuxerEvent},
    relay::HOP_PROTOCOL_NAME,
};
use tokio::time::{Sleep, sleep};

/// A negotiation that takes more than this is not followed.
const MAX_NEGOTIATION: usize = 4096;
const HEADER: &[u8] = b"/multistream/1.0.0";

/// Bytes of circuits since the start, from their sources and to them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Carried(Arc<AtomicU64>);

impl Carried {
    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// How long a connection may take to say that it ends. One that is dead, with its send buffer full, would say it for a
/// quarter of an hour, and be taken for a way to its peer as long.
const FAREWELL: Duration = Duration::from_secs(5);

/// A connection whose inbound streams are looked at.
pub(crate) struct Counting<M> {
    inner: M,
    carried: Carried,
    farewell: Option<Pin<Box<Sleep>>>,
}

impl<M> Counting<M> {
    pub(crate) fn new(inner: M, carried: Carried) -> Self {
        Self {
            inner,
            carried,
            farewell: None,
        }
    }
}

impl<M> StreamMuxer for Counting<M>
where
    M: StreamMuxer + Unpin,
    M::Substream: Unpin,
{
    type Substream = Counted<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let inner = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        Poll::Ready(Ok(Counted {
            inner,
            phase: Phase::Negotiating(Vec::new()),
            carried: self.carried.clone(),
        }))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let inner = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(Counted {
            inner,
            phase: Phase::Other,
            carried: self.carried.clone(),
        }))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Poll::Ready(closed) = Pin::new(&mut self.inner).poll_close(cx) {
            return Poll::Ready(closed);
        }
        let farewell = self
            .farewell
            .get_or_insert_with(|| Box::pin(sleep(FAREWELL)));
        farewell.as_mut().poll(cx).map(Ok)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// A stream, counted if it carries a circuit.
pub(crate) struct Counted<S> {
    inner: S,
    phase: Phase,
    carried: Carried,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// What was written so far.
    Negotiating(Vec<u8>),
    Circuit,
    Other,
}

impl Phase {
    /// Takes what this side wrote; gives how much of it belongs to a circuit.
    fn wrote(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Circuit => return bytes.len(),
            Self::Other => return 0,
            Self::Negotiating(written) => written.extend_from_slice(bytes),
        }
        let Self::Negotiating(written) = self else {
            return 0;
        };
        let (next, rest) = match agreed(written) {
            Some((name, rest)) if name == HOP_PROTOCOL_NAME.as_ref().as_bytes() => {
                (Self::Circuit, rest.len())
            }
            Some(_) => (Self::Other, 0),
            None if written.len() > MAX_NEGOTIATION => (Self::Other, 0),
            None => return 0,
        };
        *self = next;
        rest
    }
}

/// The protocol that the listener has agreed to, and what follows; `None` before that. Each line is its length, as a
/// variable-length number, then text, then a line feed.
fn agreed(mut written: &[u8]) -> Option<(&[u8], &[u8])> {
    loop {
        let (line, rest) = line(written)?;
        // No agreement are a refusal, and a list of protocols, which begins with the length of a name.
        if line.starts_with(b"/") && line != HEADER {
            return Some((line, rest));
        }
        written = rest;
    }
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, start) = match bytes {
        [short, ..] if *short < 0x80 => (usize::from(*short), 1),
        [low, high, ..] if *high < 0x80 => (usize::from(*low & 0x7f) | usize::from(*high) << 7, 2),
        _ => return None,
    };
    let body = bytes.get(start..)?;
    let line = body.get(..length)?;
    Some((line.strip_suffix(b"\n").unwrap_or(line), &body[length..]))
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if self.phase == Phase::Circuit {
            self.carried.add(read);
        }
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        let carried = self.phase.wrote(&buf[..written]);
        self.carried.add(carried);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line with its length before it.
    fn said(text: &str) -> Vec<u8> {
        let length = text.len() + 1;
        let mut bytes = if length < 0x80 {
            vec![length as u8]
        } else {
            vec![(length & 0x7f | 0x80) as u8, (length >> 7) as u8]
        };
        bytes.extend(text.as_bytes());
        bytes.push(b'\n');
        bytes
    }

    /// Bytes that count when a listener writes `lines`, in pieces of `size`, then data.
    fn counted(lines: &[&str], size: usize) -> (Phase, usize) {
        let mut all: Vec<u8> = lines.iter().flat_map(|line| said(line)).collect();
        all.extend(b"data");
        let mut phase = Phase::Negotiating(Vec::new());
        let counted = all.chunks(size).map(|piece| phase.wrote(piece)).sum();
        (phase, counted)
    }

    #[test]
    fn what_follows_the_agreement_on_hop_counts() {
        let (header, hop) = ("/multistream/1.0.0", HOP_PROTOCOL_NAME.as_ref().to_owned());
        let list = format!("\x20{}", "/name ".repeat(40));
        for size in [1, 3, 1000] {
            let counted = |lines: &[&str]| counted(lines, size);
            assert_eq!(counted(&[header, &hop]), (Phase::Circuit, 4));
            let long = [header, "na", &list, "na", &hop];
            assert_eq!(counted(&long), (Phase::Circuit, 4));
            assert_eq!(counted(&[header, "/ipfs/id/1.0.0"]), (Phase::Other, 0));
            let other = [header, "/ipfs/id/1.0.0", &hop];
            assert_eq!(counted(&other), (Phase::Other, 0));
        }
    }

    #[test]
    fn a_negotiation_without_end_is_given_up() {
        let mut phase = Phase::Negotiating(Vec::new());
        for _ in 0..2000 {
            assert_eq!(phase.wrote(&said("na")), 0);
        }
        assert_eq!(phase, Phase::Other);
    }

    /// As one whose other side has gone without a word, with bytes under way.
    struct Dead;

    impl StreamMuxer for Dead {
        type Substream = futures::io::Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_outbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_dead_connection_is_ended_without_its_word() {
        let mut dead = Counting::new(Dead, Carried::default());
        let closed = std::future::poll_fn(|cx| Pin::new(&mut dead).poll_close(cx));
        tokio::time::timeout(4 * FAREWELL, closed)
            .await
            .unwrap()
            .unwrap();
    }
}
