//! Programs behind services and in front of forwarded ports.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::wait::in_time;

/// Sends everything back as it comes, and ends when the other side has.
pub(crate) async fn echo() -> u16 {
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    port
}

/// Reads to the end, then says how many bytes there were.
pub(crate) async fn count() -> u16 {
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.unwrap();
                let answer = format!("{} bytes", all.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    port
}

/// Takes one connection, reads all that comes, and says how that ended.
pub(crate) async fn reader() -> (u16, oneshot::Receiver<std::io::Result<usize>>) {
    let (listener, port) = listen().await;
    let (told, ended) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = told.send(stream.read_to_end(&mut Vec::new()).await);
    });
    (port, ended)
}

/// A port where nobody listens.
pub(crate) async fn nobody() -> u16 {
    let (listener, port) = listen().await;
    drop(listener);
    port
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Sends `bytes` while it reads, ends its own direction, reads the other one to its end.
pub(crate) async fn talk(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address).await;
    let (mut read, mut write) = stream.split();
    let mut answer = Vec::new();
    let both = async {
        tokio::join!(
            async {
                write.write_all(bytes).await.unwrap();
                write.shutdown().await.unwrap();
            },
            async {
                read.read_to_end(&mut answer).await.unwrap();
            }
        )
    };
    in_time("the answer", both).await;
    answer
}

/// Whether an echo answers there.
pub(crate) async fn carried(address: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"x").await?;
        stream.read_exact(&mut [0]).await
    };
    in_time("an answer or an end", asked).await.is_ok()
}

/// Connects and waits until the connection is broken; it may be before this side is done connecting.
pub(crate) async fn refused(address: SocketAddr) {
    match TcpStream::connect(address).await {
        Ok(mut stream) => broken(&mut stream).await,
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
}

/// Waits until the connection is broken, which is not the same as ended.
pub(crate) async fn broken(stream: &mut TcpStream) {
    let mut byte = [0];
    let read = in_time("a broken connection", stream.read(&mut byte)).await;
    let error = read.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}
