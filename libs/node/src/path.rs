//! Streams `ping` and `trace`: how long a frame takes to the other side and back,
//! and how the other side sees the connection.

use std::time::Duration;

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use peerup_protocol::{
    Multiaddr,
    frame::{MAX_FRAME, Ping, TraceAnswer},
    wire::{DecodeError, MAX_ADDRESS},
};
use tokio::time::Instant;

use crate::{
    event::Origin,
    io::{FrameError, read_frame, write_frame},
    stream::Stream,
};

/// Pings that one stream carries.
const MAX_PINGS: usize = 16;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// A frame did not pass.
    #[error("no answer: {0}")]
    Frame(#[from] FrameError),
    /// The answer is not understood.
    #[error("the answer is not understood: {0}")]
    Decode(#[from] DecodeError),
    /// Another number came back.
    #[error("the answer is to another question")]
    OtherNumber,
}

/// Sends `number` and waits for it to come back; the time that took.
///
/// # Errors
/// When it does not.
pub async fn ping<S>(stream: &mut S, number: u64) -> Result<Duration, PathError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let started = Instant::now();
    write_frame(stream, &Ping(number).encode()).await?;
    let answer = Ping::decode(&read_frame(stream, MAX_FRAME).await?)?;
    if answer == Ping(number) {
        Ok(started.elapsed())
    } else {
        Err(PathError::OtherNumber)
    }
}

/// How the other side sees the connection of this `trace` stream.
///
/// # Errors
/// When it does not say so.
pub async fn trace<S>(stream: &mut S) -> Result<TraceAnswer, PathError>
where
    S: AsyncRead + Unpin,
{
    Ok(TraceAnswer::decode(&read_frame(stream, MAX_FRAME).await?)?)
}

/// Answers pings until the asker ends the stream, [`MAX_PINGS`] at most.
///
/// # Errors
/// When a frame is none or does not pass in time.
pub async fn answer_pings<S>(stream: &mut S) -> Result<(), PathError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for _ in 0..MAX_PINGS {
        let ping = match read_frame(stream, MAX_FRAME).await {
            Ok(frame) => Ping::decode(&frame)?,
            Err(FrameError::Closed) => break,
            Err(error) => return Err(error.into()),
        };
        write_frame(stream, &ping.encode()).await?;
    }
    Ok(stream.close().await.map_err(FrameError::Io)?)
}

/// Answers a trace.
///
/// # Errors
/// When the frame does not pass in time.
pub async fn answer_trace(stream: &mut Stream) -> Result<(), PathError> {
    let answer = seen(stream.origin());
    write_frame(stream, &answer.encode()).await?;
    Ok(stream.close().await.map_err(FrameError::Io)?)
}

/// An address that is too long for the frame, a circuit's with a long name in it, is left out.
fn seen(origin: &Origin) -> TraceAnswer {
    let fits = origin.address.len() <= MAX_ADDRESS;
    TraceAnswer {
        relayed: origin.relayed,
        observed: if fits {
            origin.address.clone()
        } else {
            Multiaddr::empty()
        },
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;

    #[tokio::test]
    async fn a_ping_comes_back_as_often_as_allowed() {
        let (ours, theirs) = duplex(64);
        let (mut ours, mut theirs) = (ours.compat(), theirs.compat());
        let answering = tokio::spawn(async move { answer_pings(&mut theirs).await });
        for number in 0..MAX_PINGS {
            ping(&mut ours, number as u64).await.unwrap();
        }
        let over = ping(&mut ours, 99).await;
        assert!(matches!(over, Err(PathError::Frame(_))), "{over:?}");
        answering.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn another_number_is_no_answer() {
        let (ours, theirs) = duplex(64);
        let (mut ours, mut theirs) = (ours.compat(), theirs.compat());
        let asked = async { ping(&mut ours, 7).await };
        let answered = async {
            read_frame(&mut theirs, MAX_FRAME).await.unwrap();
            write_frame(&mut theirs, &Ping(8).encode()).await.unwrap();
        };
        let (asked, ()) = tokio::join!(asked, answered);
        assert!(matches!(asked, Err(PathError::OtherNumber)), "{asked:?}");
    }

    #[test]
    fn a_long_address_is_left_out() {
        let long: Multiaddr = format!("/dns4/{}/tcp/1", ["a"; 140].join("."))
            .parse()
            .unwrap();
        let origin = Origin {
            address: long,
            relayed: true,
        };
        let answer = seen(&origin);
        assert_eq!(TraceAnswer::decode(&answer.encode()).unwrap(), answer);
        assert_eq!((answer.relayed, answer.observed.len()), (true, 0));
    }
}
