//! Frames over an in-memory pipe.

use futures::{AsyncWriteExt, executor::block_on};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::*;

fn pipe() -> (
    impl AsyncRead + AsyncWrite + Unpin,
    impl AsyncRead + AsyncWrite + Unpin,
) {
    let (a, b) = tokio::io::duplex(1 << 17);
    (a.compat(), b.compat())
}

#[tokio::test]
async fn frames_arrive_whole() {
    let (mut a, mut b) = pipe();
    for body in [vec![1u8], vec![7; 4096], vec![9; 65_535]] {
        write_frame(&mut a, &body).await.unwrap();
        assert_eq!(read_frame(&mut b, 65_535).await.unwrap(), body);
    }
}

#[tokio::test]
async fn lengths_outside_the_limit_are_refused() {
    let (mut a, mut b) = pipe();
    a.write_all(&[0, 0]).await.unwrap();
    assert!(matches!(
        read_frame(&mut b, 10).await,
        Err(FrameError::Empty)
    ));
    a.write_all(&[0, 11]).await.unwrap();
    assert!(matches!(
        read_frame(&mut b, 10).await,
        Err(FrameError::TooLong {
            length: 11,
            max: 10
        })
    ));
    assert!(matches!(
        write_frame(&mut a, &[]).await,
        Err(FrameError::Empty)
    ));
    assert!(matches!(
        write_frame(&mut a, &vec![0; 65_536]).await,
        Err(FrameError::TooLong { length: 65_536, .. })
    ));
}

#[tokio::test]
async fn an_end_between_frames_is_told_from_one_within() {
    let (mut a, mut b) = pipe();
    a.close().await.unwrap();
    assert!(matches!(
        read_frame(&mut b, 10).await,
        Err(FrameError::Closed)
    ));
    let (mut a, mut b) = pipe();
    a.write_all(&[0, 4, 1]).await.unwrap();
    drop(a);
    assert!(matches!(
        read_frame(&mut b, 10).await,
        Err(FrameError::Io(_))
    ));
}

#[tokio::test]
async fn a_slow_frame_times_out() {
    let (mut a, mut b) = pipe();
    block_on(a.write_all(&[0, 4, 1])).unwrap();
    let started = tokio::time::Instant::now();
    assert!(matches!(
        read_frame(&mut b, 10).await,
        Err(FrameError::TimedOut)
    ));
    assert!(started.elapsed() >= FRAME_TIMEOUT);
}
