//! The frames of a comparison on its stream, both sides.

use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use peerup_node::io::{FrameError, read_frame, read_frame_within, write_frame};
use peerup_pairing::sas::{Answerer, Comparison, Dishonest, Ends, Opener, Sas};
use peerup_protocol::frame::{VerifyCommit, VerifyDecision, VerifyNonce};
use peerup_protocol::secret::Secret;
use peerup_protocol::wire::DecodeError;
use tokio::time::Instant;

/// The longest frame of this protocol, with room for what a later version may say.
const MAX: usize = 64;
/// Time for the other side to read a no before its connection is closed.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why no string was made.
#[derive(Debug, thiserror::Error)]
pub enum ComparisonError {
    /// A frame did not pass.
    #[error("the comparison broke off: {0}")]
    Frame(#[from] FrameError),
    /// A frame is not understood.
    #[error("the comparison is not understood: {0}")]
    Decode(#[from] DecodeError),
    /// The other side showed something else than it was bound to.
    #[error(transparent)]
    Dishonest(#[from] Dishonest),
}

/// A's side, which opened the stream.
pub(super) async fn open<S>(
    stream: &mut S,
    ends: Ends,
    nonce: Secret<32>,
) -> Result<Sas, ComparisonError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (opener, commit) = Opener::start(ends, nonce);
    write_frame(stream, &commit.encode()).await?;
    let theirs = VerifyNonce::decode(&read_frame(stream, MAX).await?)?;
    let (reveal, sas) = opener.on_nonce(theirs);
    write_frame(stream, &reveal.encode()).await?;
    Ok(sas)
}

/// B's side.
pub(super) async fn answer<S>(
    stream: &mut S,
    ends: Ends,
    nonce: &Secret<32>,
) -> Result<Sas, ComparisonError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let commit = VerifyCommit::decode(&read_frame(stream, MAX).await?)?;
    let (answerer, nonce) = Answerer::on_commit(ends, commit, nonce);
    write_frame(stream, &nonce.encode()).await?;
    let theirs = VerifyNonce::decode(&read_frame(stream, MAX).await?)?;
    Ok(answerer.on_reveal(theirs)?)
}

/// Tells what the person here said, and after a yes waits for the other one's word until `until`.
pub(super) async fn decide<S>(stream: &mut S, here: VerifyDecision, until: Instant) -> Comparison
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let told = write_frame(stream, &here.encode()).await;
    let there = match here {
        VerifyDecision::Differs => {
            farewell(stream).await;
            None
        }
        VerifyDecision::Matches => match told {
            Ok(()) => hear(stream, until).await,
            // It may have said no and gone.
            Err(_) => hear(stream, Instant::now() + FAREWELL).await,
        },
    };
    Comparison::of(here, there)
}

/// What does not come, or is not understood, is no yes.
async fn hear<S>(stream: &mut S, until: Instant) -> Option<VerifyDecision>
where
    S: AsyncRead + Unpin,
{
    let left = until.saturating_duration_since(Instant::now());
    let frame = read_frame_within(stream, MAX, left).await.ok()?;
    VerifyDecision::decode(&frame).ok()
}

/// Waits until the other side has read what was said last.
async fn farewell<S>(stream: &mut S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let gone = async {
        stream.close().await?;
        let mut rest = [0; MAX];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(FAREWELL, gone).await;
}

#[cfg(test)]
mod tests {
    use peerup_protocol::PeerId;
    use peerup_protocol::id::DhtNamespace;
    use tokio::io::{DuplexStream, duplex};
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

    use super::*;

    fn ends() -> Ends {
        Ends {
            namespace: DhtNamespace::parse("crew").unwrap(),
            opener: PeerId::random(),
            answerer: PeerId::random(),
        }
    }

    fn pair() -> (Compat<DuplexStream>, Compat<DuplexStream>) {
        let (a, b) = duplex(1024);
        (a.compat(), b.compat())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn both_see_the_same_and_say_yes() {
        let (mut a, mut b) = pair();
        let ends = ends();
        let at_a = async {
            let sas = open(&mut a, ends.clone(), Secret::new([1; 32]))
                .await
                .unwrap();
            (sas, decide(&mut a, VerifyDecision::Matches, soon()).await)
        };
        let at_b = async {
            let sas = answer(&mut b, ends.clone(), &Secret::new([2; 32]))
                .await
                .unwrap();
            (sas, decide(&mut b, VerifyDecision::Matches, soon()).await)
        };
        let (at_a, at_b) = tokio::join!(at_a, at_b);
        assert_eq!(at_a, at_b);
        assert_eq!(at_a.1, Comparison::Same);
    }

    #[tokio::test]
    async fn a_reveal_before_the_answer_is_refused() {
        let (mut a, mut b) = pair();
        let ends = ends();
        // It looks at B's nonce before it commits: B gets no commitment, or one to something else.
        let at_a = async {
            write_frame(&mut a, &VerifyNonce([1; 32]).encode())
                .await
                .unwrap();
            let theirs = read_frame(&mut a, MAX).await.unwrap();
            let theirs = VerifyNonce::decode(&theirs).unwrap();
            write_frame(&mut a, &theirs.encode()).await.unwrap();
        };
        let (answered, ()) = tokio::join!(
            async { answer(&mut b, ends, &Secret::new([2; 32])).await },
            at_a
        );
        assert!(
            matches!(answered, Err(ComparisonError::Dishonest(_))),
            "{answered:?}"
        );
    }

    #[tokio::test]
    async fn a_no_is_heard_on_the_other_side() {
        let (mut a, mut b) = pair();
        let (here, there) = tokio::join!(decide(&mut a, VerifyDecision::Differs, soon()), async {
            let heard = decide(&mut b, VerifyDecision::Matches, soon()).await;
            drop(b);
            heard
        });
        assert_eq!(
            (here, there),
            (Comparison::RefusedHere, Comparison::RefusedThere)
        );
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_for_the_other_person() {
        let (mut a, b) = pair();
        let until = Instant::now() + Duration::from_millis(100);
        let heard = decide(&mut a, VerifyDecision::Matches, until);
        let heard = tokio::time::timeout(Duration::from_secs(60), heard).await;
        assert_eq!(heard, Ok(Comparison::Unanswered));
        assert!(Instant::now() >= until);
        drop(b);
        let heard = decide(&mut a, VerifyDecision::Matches, soon()).await;
        assert_eq!(
            heard,
            Comparison::Unanswered,
            "and not for one that is gone"
        );
    }
}
