//! A router's NAT-PMP service, for tests: says that its outside address is this one. Routers that are bought say what
//! their outside interface has; Debian's `miniupnpd` refuses to, when that is a private address.
//!
//! `peerup-test-nat-pmp 10.0.0.1 100.64.0.2`

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result};
use peerup_protocol::natpmp::{PORT, QUESTION};

fn main() -> Result<()> {
    let addresses = std::env::args().skip(1);
    let addresses = addresses.map(|text| text.parse().with_context(|| text));
    let addresses: Vec<Ipv4Addr> = addresses.collect::<Result<_>>()?;
    let [inside, outside] = addresses
        .try_into()
        .ok()
        .context("expected two addresses, inside and outside")?;
    let socket = UdpSocket::bind((inside, PORT))?;
    let mut datagram = [0; 64];
    loop {
        let (length, source) = socket.recv_from(&mut datagram)?;
        if datagram.get(..length) == Some(QUESTION.as_slice()) {
            let [a, b, c, d] = outside.octets();
            socket.send_to(&[0, 128, 0, 0, 0, 0, 0, 1, a, b, c, d], source)?;
        }
    }
}
