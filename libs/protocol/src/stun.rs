//! STUN Binding (RFC 8489) with the address attributes of RFC 5780: codec, and
//! what a server answers. Long-term credentials, TCP and CHANGE-REQUEST are not
//! served. Limits are in [`server`].

pub mod limiter;
pub mod server;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use crate::wire::{DecodeError, Reader, Writer};

/// Identifies a request; 96 random bits.
pub type TransactionId = [u8; 12];

/// Largest datagram that is looked at.
pub const MAX_MESSAGE: usize = 1280;

const MAGIC_COOKIE: u32 = 0x2112_A442;
const HEADER_LENGTH: usize = 20;
/// Our requests are as long as the longest full answer (IPv6: 92), rounded up.
const REQUEST_LENGTH: usize = 96;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const MAPPED_ADDRESS: u16 = 0x0001;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const SOFTWARE: u16 = 0x8022;
const RESPONSE_ORIGIN: u16 = 0x802B;
const OTHER_ADDRESS: u16 = 0x802C;
/// From here on an attribute that is not understood may be skipped.
const OPTIONAL: u16 = 0x8000;

/// The address without IPv6's clothes: a socket for both versions shows IPv4 as `::ffff:…`.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A Binding request as it reaches a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// To be repeated in the answer.
    pub transaction: TransactionId,
    /// Attributes that must be understood and are not, among them CHANGE-REQUEST.
    pub unknown: Vec<u16>,
}

/// What a client learns from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// Which request it answers.
    pub transaction: TransactionId,
    /// The client's address as the server saw it, or the error's code.
    pub result: Result<SocketAddr, u16>,
    /// Where the server says it answered from.
    pub origin: Option<SocketAddr>,
    /// The server's other address.
    pub other: Option<SocketAddr>,
}

/// A Binding request of 96 bytes, padded with SOFTWARE so that the full answer
/// is not longer than the question.
#[must_use]
pub fn request(transaction: &TransactionId) -> Vec<u8> {
    let mut software = b"peerup".to_vec();
    software.resize(REQUEST_LENGTH - HEADER_LENGTH - 4, b' ');
    message(
        BINDING_REQUEST,
        transaction,
        &attribute(SOFTWARE, &software),
    )
}

impl Request {
    /// Reads a request; whatever is not one is an error and gets no answer.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let (kind, transaction, attributes) = split(datagram)?;
        if kind != BINDING_REQUEST {
            return Err(DecodeError::unknown("STUN message", kind));
        }
        let mut unknown = Vec::new();
        for attribute in Attributes(attributes) {
            let (kind, _) = attribute?;
            if kind < OPTIONAL && !unknown.contains(&kind) {
                unknown.push(kind);
            }
        }
        Ok(Self {
            transaction,
            unknown,
        })
    }
}

impl Response {
    /// Reads an answer, of our server or of another's.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let (kind, transaction, attributes) = split(datagram)?;
        let (mut xored, mut mapped, mut origin, mut other, mut error) =
            (None, None, None, None, None);
        for attribute in Attributes(attributes) {
            let (kind, value) = attribute?;
            match kind {
                XOR_MAPPED_ADDRESS => xored = Some(xor(read_address(value)?, &transaction)),
                MAPPED_ADDRESS => mapped = Some(read_address(value)?),
                RESPONSE_ORIGIN => origin = Some(read_address(value)?),
                OTHER_ADDRESS => other = Some(read_address(value)?),
                ERROR_CODE => error = Some(read_error(value)?),
                _ => {}
            }
        }
        let result = match kind {
            BINDING_SUCCESS => xored.or(mapped).map(Ok),
            BINDING_ERROR => error.map(Err),
            other => return Err(DecodeError::unknown("STUN message", other)),
        };
        let result = result.ok_or(DecodeError::invalid(
            "a STUN answer",
            "have an address or an error",
        ))?;
        Ok(Self {
            transaction,
            result,
            origin,
            other,
        })
    }
}

/// Header and attributes of a datagram.
fn split(datagram: &[u8]) -> Result<(u16, TransactionId, &[u8]), DecodeError> {
    if datagram.len() > MAX_MESSAGE {
        return Err(DecodeError::TooLong {
            max: MAX_MESSAGE,
            got: datagram.len(),
        });
    }
    let mut r = Reader::new(datagram);
    let (kind, length, cookie) = (r.u16()?, usize::from(r.u16()?), r.u32()?);
    if cookie != MAGIC_COOKIE || length % 4 != 0 {
        return Err(DecodeError::Label { expected: "STUN" });
    }
    let transaction = r.array()?;
    let attributes = r.bytes(length)?;
    r.finish()?;
    Ok((kind, transaction, attributes))
}

/// Attributes one after the other; ends after an error.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let mut r = Reader::new(std::mem::take(&mut self.0));
        let attribute = next_attribute(&mut r);
        if attribute.is_ok() {
            self.0 = r.rest();
        }
        Some(attribute)
    }
}

fn next_attribute<'a>(r: &mut Reader<'a>) -> Result<(u16, &'a [u8]), DecodeError> {
    let (kind, length) = (r.u16()?, usize::from(r.u16()?));
    let value = r.bytes(length)?;
    r.bytes(padding(length))?;
    Ok((kind, value))
}

fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

fn message(kind: u16, transaction: &TransactionId, attributes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(attributes.len()).unwrap_or(u16::MAX);
    let w = Writer::new().u16(kind).u16(length).u32(MAGIC_COOKIE);
    w.bytes(transaction).bytes(attributes).into_vec()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    let w = Writer::new().u16(kind).u16(length).bytes(value);
    w.bytes(&[0; 3][..padding(value.len())]).into_vec()
}

fn write_address(address: SocketAddr) -> Vec<u8> {
    let w = Writer::new().u8(0);
    match address.ip() {
        IpAddr::V4(ip) => w.u8(1).u16(address.port()).bytes(ip.octets()),
        IpAddr::V6(ip) => w.u8(2).u16(address.port()).bytes(ip.octets()),
    }
    .into_vec()
}

fn read_address(value: &[u8]) -> Result<SocketAddr, DecodeError> {
    let mut r = Reader::new(value);
    r.u8()?;
    let (family, port) = (r.u8()?, r.u16()?);
    let ip = match family {
        1 => IpAddr::from(r.array::<4>()?),
        2 => IpAddr::from(r.array::<16>()?),
        other => return Err(DecodeError::unknown("address family", other)),
    };
    r.finish()?;
    Ok(SocketAddr::new(ip, port))
}

/// Hides an address from NATs that rewrite what looks like one; its own inverse.
fn xor(address: SocketAddr, transaction: &TransactionId) -> SocketAddr {
    let cookie = MAGIC_COOKIE.to_be_bytes();
    let mask: Vec<u8> = cookie.iter().chain(transaction).copied().collect();
    let port = address.port() ^ u16::from_be_bytes([cookie[0], cookie[1]]);
    let ip = match address.ip() {
        IpAddr::V4(ip) => IpAddr::from(masked(ip.octets(), &mask)),
        IpAddr::V6(ip) => IpAddr::from(masked(ip.octets(), &mask)),
    };
    SocketAddr::new(ip, port)
}

fn masked<const N: usize>(mut bytes: [u8; N], mask: &[u8]) -> [u8; N] {
    bytes
        .iter_mut()
        .zip(mask)
        .for_each(|(byte, mask)| *byte ^= mask);
    bytes
}

/// Class and number of an ERROR-CODE, as in 420.
fn read_error(value: &[u8]) -> Result<u16, DecodeError> {
    let mut r = Reader::new(value);
    r.u16()?;
    let (class, number) = (u16::from(r.u8()? & 7), u16::from(r.u8()?));
    Ok(class * 100 + number)
}
