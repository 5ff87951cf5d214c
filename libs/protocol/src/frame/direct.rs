//! Where a peer can be dialled without a relay, and what became of it.
//!
//! ```text
//! A→B offer    B→A offer    A dials B, A→B outcome    after a failure B dials A, B→A outcome
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use multiaddr::{Multiaddr, Protocol};

use crate::grade::{Filtering, Grade, Mapping};
use crate::wire::{DecodeError, Reader, Writer};

/// Most addresses of one offer.
pub const MAX_DIRECT_ADDRESSES: usize = 8;
/// Ports below belong to well-known services, which nobody shall be made to dial.
pub const MIN_DIRECT_PORT: u16 = 1024;

/// What a connection runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DirectTransport {
    /// QUIC over UDP.
    Quic,
    /// TCP.
    Tcp,
}

/// An address that may be dialled: never a name, a group of machines, or a port of a well-known service. Whether
/// one of this machine or link makes sense depends on the way to whom it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectAddress {
    ip: IpAddr,
    port: u16,
    transport: DirectTransport,
}

impl DirectAddress {
    /// The address; `None` when nobody shall dial it.
    #[must_use]
    pub fn new(ip: IpAddr, port: u16, transport: DirectTransport) -> Option<Self> {
        let is_one_machine = match ip {
            IpAddr::V4(ip) => is_one_v4(ip),
            IpAddr::V6(ip) => is_one_v6(ip),
        };
        (is_one_machine && port >= MIN_DIRECT_PORT).then_some(Self {
            ip,
            port,
            transport,
        })
    }

    /// Its IP address.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its transport.
    #[must_use]
    pub const fn transport(&self) -> DirectTransport {
        self.transport
    }

    /// As it is dialled.
    #[must_use]
    pub fn multiaddr(&self) -> Multiaddr {
        let host = Multiaddr::from(self.ip);
        match self.transport {
            DirectTransport::Tcp => host.with(Protocol::Tcp(self.port)),
            DirectTransport::Quic => host.with(Protocol::Udp(self.port)).with(Protocol::QuicV1),
        }
    }

    /// The address of exactly `/ip4|ip6/…/tcp/…` or `/ip4|ip6/…/udp/…/quic-v1`.
    #[must_use]
    pub fn from_multiaddr(address: &Multiaddr) -> Option<Self> {
        let parts: Vec<_> = address.iter().take(4).collect();
        let (host, port, transport) = match parts.as_slice() {
            [host, Protocol::Tcp(port)] => (host, *port, DirectTransport::Tcp),
            [host, Protocol::Udp(port), Protocol::QuicV1] => (host, *port, DirectTransport::Quic),
            _ => return None,
        };
        let ip = if let Protocol::Ip4(ip) = host {
            IpAddr::V4(*ip)
        } else if let Protocol::Ip6(ip) = host {
            IpAddr::V6(*ip)
        } else {
            return None;
        };
        Self::new(ip, port, transport)
    }
}

/// Not "this network", groups, or what is reserved (RFC 6890).
fn is_one_v4(ip: Ipv4Addr) -> bool {
    !matches!(ip.octets()[0], 0 | 224..)
}

/// An IPv4 address in IPv6 clothes would pass by what is held against it.
fn is_one_v6(ip: Ipv6Addr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && ip.to_ipv4_mapped().is_none()
}

/// How a peer says that it is reached, as it has measured last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectSide {
    /// Its grade.
    pub grade: Grade,
    /// Which outside address its sockets get.
    pub mapping: Mapping,
    /// Whose packets come in.
    pub filtering: Filtering,
}

/// First frame of both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectOffer {
    /// Where it can perhaps be dialled, at most [`MAX_DIRECT_ADDRESSES`]; more are left out.
    pub addresses: Vec<DirectAddress>,
    /// How it is reached; `None` before it was measured.
    pub side: Option<DirectSide>,
}

impl DirectOffer {
    /// The frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let told = self.addresses.iter().take(MAX_DIRECT_ADDRESSES);
        // The limit is far below 256.
        let count = u8::try_from(told.len()).unwrap_or(u8::MAX);
        let w = told.fold(Writer::new().u8(count), write_address);
        match self.side {
            None => w.u8(0),
            Some(side) => w
                .u8(side.grade.score() + 1)
                .u8(position(Mapping::ALL, side.mapping))
                .u8(position(Filtering::ALL, side.filtering)),
        }
        .into_vec()
    }

    /// Reads a body. An address that nobody shall dial is an error.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let got = usize::from(r.u8()?);
        if got > MAX_DIRECT_ADDRESSES {
            let max = MAX_DIRECT_ADDRESSES;
            return Err(DecodeError::TooLong { max, got });
        }
        let addresses = (0..got)
            .map(|_| read_address(&mut r))
            .collect::<Result<_, _>>()?;
        let side = match r.u8()? {
            0 => None,
            score => Some(DirectSide {
                grade: grade(score)?,
                mapping: at(Mapping::ALL, "mapping", r.u8()?)?,
                filtering: at(Filtering::ALL, "filtering", r.u8()?)?,
            }),
        };
        r.finish()?;
        Ok(Self { addresses, side })
    }
}

/// `kind u8 ‖ IP address ‖ port u16`
fn write_address(w: Writer, address: &DirectAddress) -> Writer {
    let w = match (address.ip, address.transport) {
        (IpAddr::V4(ip), DirectTransport::Tcp) => w.u8(1).bytes(ip.octets()),
        (IpAddr::V4(ip), DirectTransport::Quic) => w.u8(2).bytes(ip.octets()),
        (IpAddr::V6(ip), DirectTransport::Tcp) => w.u8(3).bytes(ip.octets()),
        (IpAddr::V6(ip), DirectTransport::Quic) => w.u8(4).bytes(ip.octets()),
    };
    w.u16(address.port)
}

fn read_address(r: &mut Reader<'_>) -> Result<DirectAddress, DecodeError> {
    let kind = r.u8()?;
    let transport = match kind {
        1 | 3 => DirectTransport::Tcp,
        2 | 4 => DirectTransport::Quic,
        other => return Err(DecodeError::unknown("kind of address", other)),
    };
    let ip = match kind {
        1 | 2 => IpAddr::from(r.array::<4>()?),
        _ => IpAddr::from(r.array::<16>()?),
    };
    DirectAddress::new(ip, r.u16()?, transport).ok_or(DecodeError::invalid(
        "an address",
        "be one machine's, with a port from 1024 on",
    ))
}

fn grade(score: u8) -> Result<Grade, DecodeError> {
    let mut all = Grade::ALL.into_iter();
    let found = all.find(|grade| grade.score() + 1 == score);
    found.ok_or(DecodeError::unknown("grade", score))
}

/// The position of a value among all.
fn position<T: PartialEq>(all: &[T], value: T) -> u8 {
    let found = all.iter().position(|known| *known == value);
    found
        .and_then(|position| u8::try_from(position).ok())
        .unwrap_or(u8::MAX)
}

fn at<T: Copy>(all: &[T], what: &'static str, position: u8) -> Result<T, DecodeError> {
    let found = all.get(usize::from(position)).copied();
    found.ok_or(DecodeError::unknown(what, position))
}

one_byte! {
    "outcome",
    /// What became of the addresses of the other side.
    DirectOutcome {
        /// There is a connection.
        Connected = 0,
        /// None of them led there in time.
        NotReached = 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = DirectAddress> {
        let transport = prop_oneof![Just(DirectTransport::Tcp), Just(DirectTransport::Quic)];
        (any::<IpAddr>(), any::<u16>(), transport)
            .prop_filter_map("nobody's", |(ip, port, t)| DirectAddress::new(ip, port, t))
    }

    fn parse(text: &str) -> Option<DirectAddress> {
        DirectAddress::from_multiaddr(&text.parse().unwrap())
    }

    proptest! {
        #[test]
        fn offers_come_back(addresses in vec(address(), 0..=MAX_DIRECT_ADDRESSES), measured: bool) {
            let side = measured.then_some(DirectSide {
                grade: Grade::D,
                mapping: Mapping::AddressDependent,
                filtering: Filtering::Unknown,
            });
            for address in &addresses {
                prop_assert_eq!(DirectAddress::from_multiaddr(&address.multiaddr()), Some(*address));
            }
            let offer = DirectOffer { addresses, side };
            prop_assert_eq!(DirectOffer::decode(&offer.encode()), Ok(offer));
        }
    }

    #[test]
    fn nobody_is_made_to_dial_groups_names_or_well_known_ports() {
        for bad in [
            "/ip4/0.0.0.0/tcp/4001",
            "/ip4/0.1.2.3/tcp/4001",
            "/ip4/224.0.0.1/udp/4001/quic-v1",
            "/ip4/255.255.255.255/udp/4001/quic-v1",
            "/ip4/192.0.2.1/tcp/22",
            "/ip4/192.0.2.1/tcp/1023",
            "/ip4/192.0.2.1/udp/4001",
            "/ip4/192.0.2.1/tcp/4001/ws",
            "/dns4/example.org/tcp/4001",
            "/ip6/::/tcp/4001",
            "/ip6/ff02::1/udp/4001/quic-v1",
            "/ip6/::ffff:192.0.2.1/tcp/4001",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        for good in [
            "/ip4/192.0.2.1/tcp/1024",
            "/ip4/10.0.0.1/udp/4001/quic-v1",
            "/ip6/2001:db8::1/tcp/4001",
        ] {
            assert_eq!(parse(good).unwrap().multiaddr().to_string(), good);
        }
    }

    #[test]
    fn what_may_not_be_dialled_is_no_offer() {
        let good = [1, 1, 192, 0, 2, 1, 0x0f, 0xa1, 0];
        assert!(DirectOffer::decode(&good).is_ok());
        for (at, byte) in [(1, 0), (1, 5), (2, 0), (2, 224), (6, 3), (8, 9)] {
            let mut bad = good;
            bad[at] = byte;
            assert!(DirectOffer::decode(&bad).is_err(), "{at} {byte}");
        }
        let many = DirectOffer {
            addresses: vec![parse("/ip4/192.0.2.1/tcp/4001").unwrap(); 9],
            side: None,
        };
        let mut bytes = many.encode();
        assert_eq!(DirectOffer::decode(&bytes).unwrap().addresses.len(), 8);
        bytes[0] = 9;
        let too_long = DecodeError::TooLong { max: 8, got: 9 };
        assert_eq!(DirectOffer::decode(&bytes), Err(too_long));
    }

    #[test]
    fn every_side_comes_back_and_no_other_byte_is_one() {
        for grade in Grade::ALL {
            for mapping in Mapping::ALL {
                for filtering in Filtering::ALL {
                    let side = Some(DirectSide {
                        grade,
                        mapping: *mapping,
                        filtering: *filtering,
                    });
                    let addresses = Vec::new();
                    let offer = DirectOffer { addresses, side };
                    assert_eq!(DirectOffer::decode(&offer.encode()), Ok(offer));
                }
            }
        }
        for bad in [[0, 6, 0, 0], [0, 1, 5, 0], [0, 1, 0, 4]] {
            assert!(DirectOffer::decode(&bad).is_err(), "{bad:?}");
        }
        for outcome in [DirectOutcome::Connected, DirectOutcome::NotReached] {
            assert_eq!(DirectOutcome::decode(&outcome.encode()), Ok(outcome));
        }
        assert!(DirectOutcome::decode(&[2]).is_err() && DirectOutcome::decode(&[0, 0]).is_err());
    }
}
