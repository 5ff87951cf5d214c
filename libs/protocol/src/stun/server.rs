//! What a STUN server answers, and to whom how often.
//!
//! A source address can be forged, so no answer is worth forging one for: a
//! question shorter than the full answer gets the mapped address only, at most
//! one a second per source with a burst of four. A padded one gets everything.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::limiter::{Limiter, Rate};
use super::{
    BINDING_ERROR, BINDING_SUCCESS, ERROR_CODE, OTHER_ADDRESS, RESPONSE_ORIGIN, Request,
    UNKNOWN_ATTRIBUTES, XOR_MAPPED_ADDRESS, attribute, canonical, message, write_address, xor,
};
use crate::wire::Writer;

/// Padded questions of one source (an address, or an IPv6 /64): a whole cluster may stand behind it.
const PADDED: Rate = Rate {
    interval: Duration::from_millis(10),
    burst: 200,
};
/// Questions of one source that are too short for the full answer, or refused.
const SHORT: Rate = Rate {
    interval: Duration::from_secs(1),
    burst: 4,
};

/// Where a datagram came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// Address and port of the socket, as others see it.
    pub origin: SocketAddr,
    /// The same address with the other STUN port.
    pub other: SocketAddr,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The datagram for the source.
    pub bytes: Vec<u8>,
    /// Whether it holds all addresses and is not longer than the question.
    pub full: bool,
}

/// What a server does with a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handled {
    /// Send this back, from the same port.
    Answer(Vec<u8>),
    /// The source asks too often: send nothing.
    Limited,
    /// Not a Binding request: send nothing.
    Ignored,
}

/// The answer to a datagram, without limits. Nothing for what is not a request.
#[must_use]
pub fn answer(datagram: &[u8], source: SocketAddr, local: &Local) -> Option<Answer> {
    let request = Request::decode(datagram).ok()?;
    let id = &request.transaction;
    if !request.unknown.is_empty() {
        let bytes = message(BINDING_ERROR, id, &unknown_attributes(&request.unknown));
        return Some(Answer { bytes, full: false });
    }
    let mapped = attribute(
        XOR_MAPPED_ADDRESS,
        &write_address(xor(canonical(source), id)),
    );
    let origin = attribute(RESPONSE_ORIGIN, &write_address(local.origin));
    let other = attribute(OTHER_ADDRESS, &write_address(local.other));
    let bytes = message(
        BINDING_SUCCESS,
        id,
        &[mapped.as_slice(), &origin, &other].concat(),
    );
    if bytes.len() <= datagram.len() {
        return Some(Answer { bytes, full: true });
    }
    Some(Answer {
        bytes: message(BINDING_SUCCESS, id, &mapped),
        full: false,
    })
}

/// 420 with the attributes that are not understood, no phrase.
fn unknown_attributes(unknown: &[u16]) -> Vec<u8> {
    let code = Writer::new().u16(0).u8(4).u8(20).into_vec();
    let list = unknown
        .iter()
        .fold(Writer::new(), |w, kind| w.u16(*kind))
        .into_vec();
    [
        attribute(ERROR_CODE, &code),
        attribute(UNKNOWN_ATTRIBUTES, &list),
    ]
    .concat()
}

/// Answers within limits. Time is the duration since any fixed moment.
#[derive(Debug, Default)]
pub struct Server {
    padded: Limiter<IpAddr>,
    short: Limiter<IpAddr>,
}

impl Server {
    /// A server that has seen nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What to do with a datagram.
    pub fn handle(
        &mut self,
        now: Duration,
        datagram: &[u8],
        source: SocketAddr,
        local: &Local,
    ) -> Handled {
        let Some(answer) = answer(datagram, source, local) else {
            return Handled::Ignored;
        };
        let (limiter, rate) = if answer.full {
            (&mut self.padded, PADDED)
        } else {
            (&mut self.short, SHORT)
        };
        if limiter.allow(now, prefix(source.ip()), rate) {
            Handled::Answer(answer.bytes)
        } else {
            Handled::Limited
        }
    }
}

/// The address, or the /64 of an IPv6 address.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}
