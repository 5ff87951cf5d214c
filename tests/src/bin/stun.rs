//! A STUN server that is no relay, for tests: answers at each address that it is given, without limits.
//!
//! `peerup-test-stun 11.0.0.1:3478 11.0.0.2:3478`

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, Result, ensure};
use peerup_protocol::stun::MAX_MESSAGE;
use peerup_protocol::stun::server::{Local, answer};

fn main() -> Result<()> {
    let addresses: Vec<String> = std::env::args().skip(1).collect();
    ensure!(
        !addresses.is_empty(),
        "expected addresses, as 11.0.0.1:3478"
    );
    let servers = addresses.into_iter().map(|address| {
        let address: SocketAddr = address.parse().with_context(|| address.clone())?;
        let socket = UdpSocket::bind(address).with_context(|| address.to_string())?;
        Ok(std::thread::spawn(move || serve(&socket, address)))
    });
    let servers: Vec<_> = servers.collect::<Result<_>>()?;
    for server in servers {
        server.join().ok().context("a server panicked")??;
    }
    Ok(())
}

fn serve(socket: &UdpSocket, address: SocketAddr) -> Result<()> {
    let local = Local {
        origin: address,
        other: address,
    };
    let mut datagram = [0; MAX_MESSAGE];
    loop {
        let (length, source) = socket.recv_from(&mut datagram)?;
        let question = datagram.get(..length).unwrap_or_default();
        if let Some(answer) = answer(question, source, &local) {
            socket.send_to(&answer.bytes, source)?;
        }
    }
}
