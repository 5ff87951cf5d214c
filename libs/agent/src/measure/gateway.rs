//! The router at home, asked for its own outside address: a carrier's means that somebody else translates behind it. Only
//! the router by which packets leave, and never one that is itself in the Internet.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use peerup_protocol::natpmp::{ANSWER, NatPmpError, PORT, QUESTION, outside_address};
use peerup_reachability::address::{is_global, is_usable};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::facts;

/// IPv4 routes, as the kernel tells them.
const ROUTES: &str = "/proc/net/route";
/// How long each question waits for its answer: RFC 6886, section 3.1, as far as a measurement has time.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// What the default gateway says of its outside address; nothing when there is none, or it does not say.
pub(super) async fn outside() -> Option<Ipv4Addr> {
    let gateway = default_gateway(&fs::read_to_string(ROUTES).ok()?)?;
    if is_global(gateway.into()) || !is_usable(gateway.into()) {
        return None;
    }
    let socket = connect((gateway, PORT).into()).await?;
    // With a VPN packets do not leave by this router, whatever the table's default is.
    if facts::route() != Some(socket.local_addr().ok()?.ip()) {
        return None;
    }
    let told = ask(&socket).await?;
    tracing::debug!(%gateway, %told, "the router tells its outside address");
    Some(told)
}

async fn connect(router: SocketAddr) -> Option<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.ok()?;
    socket.connect(router).await.ok()?;
    Some(socket)
}

/// Asks until there is an answer; only the router's own counts.
async fn ask(socket: &UdpSocket) -> Option<Ipv4Addr> {
    for pause in PAUSES {
        socket.send(&QUESTION).await.ok()?;
        if let Ok(told) = timeout(pause, answer(socket)).await {
            return told;
        }
    }
    None
}

/// The answer; nothing when nobody listens there or it is a refusal. What is no answer is waited out.
async fn answer(socket: &UdpSocket) -> Option<Ipv4Addr> {
    // one byte more: what is longer is no answer
    let mut buffer = [0; ANSWER + 1];
    loop {
        let length = socket.recv(&mut buffer).await.ok()?;
        match outside_address(buffer.get(..length)?) {
            Ok(told) => return Some(told),
            Err(NatPmpError::Malformed) => {}
            Err(error @ NatPmpError::Refused(_)) => {
                tracing::debug!(%error, "the router does not tell its address");
                return None;
            }
        }
    }
}

/// The gateway of the default route with the smallest metric, from the kernel's table: addresses are hexadecimal
/// numbers in this machine's order of bytes.
fn default_gateway(routes: &str) -> Option<Ipv4Addr> {
    /// Up, and by way of a gateway (`route.h`).
    const WANTED: u32 = 0x0003;
    let route = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, destination, gateway, flags, _, _, metric, mask, ..] = words.as_slice() else {
            return None;
        };
        let number = |text: &str| u32::from_str_radix(text, 16).ok();
        let is_default = number(destination)? == 0 && number(mask)? == 0;
        let is_wanted = is_default && number(flags)? & WANTED == WANTED;
        let gateway = Ipv4Addr::from(number(gateway)?.to_ne_bytes());
        is_wanted.then_some((metric.parse::<u32>().ok()?, gateway))
    };
    let best = routes.lines().filter_map(route).min();
    best.map(|(_, gateway)| gateway)
}

#[cfg(test)]
mod tests;
