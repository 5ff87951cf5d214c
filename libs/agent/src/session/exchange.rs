//! A question and its answer, one frame each, on a stream.

use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use peerup_node::OpenError;
use peerup_node::io::{FRAME_TIMEOUT, FrameError, read_frame_within, write_frame};
use peerup_protocol::frame::{MAX_FRAME, MAX_LONG_FRAME};
use peerup_protocol::wire::DecodeError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("no stream: {0}")]
    Open(#[from] OpenError),
    #[error("the exchange broke off: {0}")]
    Frame(#[from] FrameError),
    #[error("what came is not understood: {0}")]
    Decode(#[from] DecodeError),
}

/// What an answer may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Its most bytes.
    pub(crate) bytes: usize,
    /// How long it may take, from the question on.
    pub(crate) time: Duration,
}

/// Limits of most protocols.
pub(crate) const SHORT: Limits = Limits {
    bytes: MAX_FRAME,
    time: FRAME_TIMEOUT,
};
/// Limits where records are answered.
pub(crate) const LONG: Limits = Limits {
    bytes: MAX_LONG_FRAME,
    time: FRAME_TIMEOUT,
};

/// Asks on a stream as it was opened, or not; the stream may be lent, to go on with it afterwards.
pub(crate) async fn ask<S, T>(
    opened: Result<S, OpenError>,
    question: &[u8],
    limits: Limits,
    decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
) -> Result<T, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = opened?;
    write_frame(&mut stream, question).await?;
    let answer = read_frame_within(&mut stream, limits.bytes, limits.time).await?;
    Ok(decode(&answer)?)
}

#[cfg(test)]
mod tests {
    use peerup_node::io::read_frame;
    use peerup_protocol::frame::{InviteAnswer, Ping};
    use tokio::io::{DuplexStream, duplex};
    use tokio::time::Instant;
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

    use super::*;

    const QUICK: Limits = Limits {
        bytes: 8,
        time: Duration::from_millis(100),
    };

    fn pair() -> (Compat<DuplexStream>, Compat<DuplexStream>) {
        let (near, far) = duplex(64);
        (near.compat(), far.compat())
    }

    /// What comes of a question to a side that answers so.
    async fn answered(answer: &[u8]) -> Result<InviteAnswer, ExchangeError> {
        let (near, mut far) = pair();
        let question = Ping(7).encode();
        let there = async {
            assert_eq!(read_frame(&mut far, 64).await.unwrap(), question);
            write_frame(&mut far, answer).await.unwrap();
        };
        let here = ask(Ok(near), &question, QUICK, InviteAnswer::decode);
        tokio::join!(here, there).0
    }

    #[tokio::test]
    async fn the_question_arrives_and_its_answer_is_read() {
        let answer = answered(&InviteAnswer::Full.encode()).await;
        assert_eq!(answer.unwrap(), InviteAnswer::Full);
    }

    #[tokio::test]
    async fn each_failure_says_at_which_step() {
        let text = |failed: Result<InviteAnswer, ExchangeError>| failed.unwrap_err().to_string();
        assert_eq!(
            text(answered(&[9]).await),
            "what came is not understood: unknown invite answer 9"
        );
        assert_eq!(
            text(answered(&[0; 9]).await),
            "the exchange broke off: the frame has 9 bytes, more than the 8 allowed"
        );
        let closed: Result<Compat<DuplexStream>, _> = Err(OpenError::NotConnected);
        let failed = ask(closed, &[1], QUICK, InviteAnswer::decode).await;
        assert_eq!(text(failed), "no stream: not connected");
    }

    #[tokio::test]
    async fn an_answer_is_waited_for_so_long_and_the_stream_is_lent() {
        let (mut near, mut far) = pair();
        let begun = Instant::now();
        let failed = ask(Ok(&mut near), &[1], QUICK, InviteAnswer::decode).await;
        assert!(
            matches!(failed, Err(ExchangeError::Frame(FrameError::TimedOut))),
            "{failed:?}"
        );
        let took = begun.elapsed();
        assert!(QUICK.time <= took && took < FRAME_TIMEOUT, "{took:?}");
        write_frame(&mut near, &[2]).await.unwrap();
        for sent in [[1], [2]] {
            assert_eq!(read_frame(&mut far, 8).await.unwrap(), sent);
        }
    }
}
