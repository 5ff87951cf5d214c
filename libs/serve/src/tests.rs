//! Strangers who take up connections, and callers who come back.
#![allow(clippy::unwrap_used, reason = "tests")]

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::DropGuard;

use super::*;

const LIMITS: Limits = Limits {
    connections: 8,
    per_source: 4,
    handshake: Duration::from_secs(2),
    idle: Duration::from_secs(30),
    life: Duration::from_secs(60),
    grace: Duration::from_secs(1),
};
const QUESTION: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of a page, where it listens, and how it is stopped.
async fn server(limits: Limits) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(|| async { "here" }));
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, plain, router, limits, stop.clone()));
    (address, stop.drop_guard())
}

/// One question, and all up to the end of its answer.
async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(QUESTION).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"here") {
        answer.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

/// Says one byte after the other and never comes to an end; returns when it is closed.
async fn drips(address: SocketAddr, words: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut heard = [0; 64];
    for word in words.iter().cycle() {
        tokio::select! {
            read = stream.read(&mut heard) => match read {
                Ok(0) | Err(_) => return,
                // what is said to somebody who is closed
                Ok(_) => {}
            },
            _ = ticks.tick() => if stream.write_all(&[*word]).await.is_err() {
                return;
            },
        }
    }
    // without words only the other side ends it
    while stream.read(&mut heard).await.is_ok_and(|read| read > 0) {}
}

#[tokio::test]
async fn whoever_is_slow_at_a_page_is_closed() {
    let (address, _stop) = server(LIMITS).await;
    let all = async {
        tokio::join!(
            drips(address, b""),
            drips(address, b"GET / HTTP/1.1\r\nx: y"),
            drips(address, b"\x16\x03\x01\x40\x00"),
        )
    };
    timeout(PATIENCE, all).await.unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    ask(&mut stream).await;
}

#[tokio::test]
async fn one_address_gets_its_share_of_a_page() {
    let (address, _stop) = server(LIMITS).await;
    let mut open = Vec::new();
    for _ in 0..LIMITS.per_source {
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream).await;
        open.push(stream);
    }
    let mut over = TcpStream::connect(address).await.unwrap();
    let read = timeout(PATIENCE, over.read(&mut [0; 1])).await.unwrap();
    assert_eq!(read.unwrap_or(0), 0, "closed at once");
}

/// A client would lose the request that it sends while its connection is closed.
#[tokio::test]
async fn a_connection_in_use_may_rest() {
    let (address, _stop) = server(LIMITS).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    ask(&mut stream).await;
    timeout(LIMITS.handshake * 2, stream.read_u8())
        .await
        .unwrap_err();
    ask(&mut stream).await;
}

#[tokio::test]
async fn a_connection_ends_with_an_answer() {
    let limits = Limits {
        life: Duration::ZERO,
        ..LIMITS
    };
    let (address, _stop) = server(limits).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let answer = ask(&mut stream).await;
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn at_the_end_nobody_is_served_any_more() {
    let (address, stop) = server(LIMITS).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    ask(&mut stream).await;
    drop(stop);
    let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
    assert_eq!(read.unwrap_or(0), 0);
}
