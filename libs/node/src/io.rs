//! Frames on streams: u16 length ‖ body, 1 ≤ length, each within a deadline.

use std::{future::Future, io, time::Duration};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Time for a frame in either direction.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The remote ended the stream where a frame could have begun.
    #[error("the stream was closed")]
    Closed,
    /// A frame without a body.
    #[error("the frame was empty")]
    Empty,
    /// A frame over the protocol's limit.
    #[error("the frame has {length} bytes, more than the {max} allowed")]
    TooLong {
        /// Bytes of the body.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The remote did not read or write in time.
    #[error("the frame did not pass in time")]
    TimedOut,
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
}

/// Reads one frame of at most `max` bytes within [`FRAME_TIMEOUT`].
pub async fn read_frame<S>(stream: &mut S, max: usize) -> Result<Vec<u8>, FrameError>
where
    S: AsyncRead + Unpin,
{
    read_frame_within(stream, max, FRAME_TIMEOUT).await
}

/// Reads one frame of at most `max` bytes within `limit`.
pub async fn read_frame_within<S>(
    stream: &mut S,
    max: usize,
    limit: Duration,
) -> Result<Vec<u8>, FrameError>
where
    S: AsyncRead + Unpin,
{
    within(limit, async {
        let mut length = [0u8; 2];
        if stream.read(&mut length[..1]).await? == 0 {
            return Err(FrameError::Closed);
        }
        stream.read_exact(&mut length[1..]).await?;
        let length = usize::from(u16::from_be_bytes(length));
        if length == 0 {
            return Err(FrameError::Empty);
        }
        if length > max {
            return Err(FrameError::TooLong { length, max });
        }
        let mut body = vec![0u8; length];
        stream.read_exact(&mut body).await?;
        Ok(body)
    })
    .await
}

/// Writes one frame, in one piece, within [`FRAME_TIMEOUT`].
pub async fn write_frame<S>(stream: &mut S, body: &[u8]) -> Result<(), FrameError>
where
    S: AsyncWrite + Unpin,
{
    let max = usize::from(u16::MAX);
    let length = u16::try_from(body.len()).map_err(|_| FrameError::TooLong {
        length: body.len(),
        max,
    })?;
    if length == 0 {
        return Err(FrameError::Empty);
    }
    let mut frame = Vec::with_capacity(2 + body.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(body);
    within(FRAME_TIMEOUT, async {
        stream.write_all(&frame).await?;
        stream.flush().await?;
        Ok(())
    })
    .await
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, FrameError>>,
) -> Result<T, FrameError> {
    timeout(limit, work)
        .await
        .unwrap_or(Err(FrameError::TimedOut))
}

#[cfg(test)]
mod tests;
