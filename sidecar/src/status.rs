//! `peerup-sidecar status`: asks the sidecar of this pod over its HTTP port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use peerup_agent::status::{Status, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Failure;

/// A status with every member of a large network is far smaller.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Prints the status of the sidecar that serves HTTP at `listen`.
pub(crate) async fn show(listen: SocketAddr, json: bool) -> Result<(), Failure> {
    let at = local(listen);
    let failed = |reason: String| Failure::Status { at, reason };
    let answer = tokio::time::timeout(TIMEOUT, get(at))
        .await
        .map_err(|_| failed("no answer in time".to_owned()))?
        .map_err(|error| failed(error.to_string()))?;
    let body = body(&answer).map_err(failed)?;
    if json {
        println!("{body}");
    } else {
        let status: Status =
            serde_json::from_str(body).map_err(|error| failed(error.to_string()))?;
        print!("{}", text::render(&status, true, Timestamp::now()));
    }
    Ok(())
}

/// Where a server that listens on all addresses is reached from its own pod.
const fn local(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn get(at: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at).await?;
    stream
        .write_all(format!("GET /status HTTP/1.0\r\nHost: {at}\r\n\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The body of an HTTP/1 answer that says 200.
fn body(answer: &str) -> Result<&str, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer is cut")?;
    let line = head.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some("200") => Ok(body),
        Some(_) | None => Err(format!("the answer is {line:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_good_answer_is_taken() {
        assert_eq!(
            body("HTTP/1.0 200 OK\r\na: b\r\n\r\n{}\r\n\r\n"),
            Ok("{}\r\n\r\n")
        );
        assert!(body("HTTP/1.0 503 Service Unavailable\r\n\r\n{}").is_err());
        assert!(body("HTTP/1.0 200 OK\r\n").is_err());
        assert!(body("").is_err());
    }

    #[test]
    fn all_addresses_are_reached_at_home() {
        assert_eq!(
            local("0.0.0.0:9465".parse().unwrap()),
            "127.0.0.1:9465".parse().unwrap()
        );
        assert_eq!(
            local("[::]:9465".parse().unwrap()),
            "[::1]:9465".parse().unwrap()
        );
        assert_eq!(
            local("10.0.0.7:1".parse().unwrap()),
            "10.0.0.7:1".parse().unwrap()
        );
    }
}
