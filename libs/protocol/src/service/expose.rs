//! Services that a peer offers, and where the programs behind them listen.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ServiceError;
use super::list::{first_twice, parse_list, parse_port};
use crate::id::{InvalidId, ServiceName};

const FORM: &str = "service=port or service=host:port, such as http=8080 or ssh=127.0.0.1:22";

/// Where the program behind a service listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IP address; an IPv6 one stands in brackets.
    Ip(IpAddr),
    /// A DNS name in lower case, at most 253 bytes; resolved at each connection.
    Name(String),
}

impl Host {
    /// This machine, or this pod: where nothing else is said.
    pub const LOOPBACK: Self = Self::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));

    /// Reads an address or a name.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let rule = "be an IP address (IPv6 in brackets) or a DNS name";
        let invalid = || InvalidId::new("a host", rule, text);
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(invalid)?;
            let address: Ipv6Addr = inner.parse().map_err(|_| invalid())?;
            return Ok(Self::Ip(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(IpAddr::V4(address)));
        }
        if is_dns_name(text) {
            Ok(Self::Name(text.to_ascii_lowercase()))
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(address)) => fmt::Display::fmt(address, f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Labels of 1 to 63 letters, digits, dashes and underscores with dots between
/// them; the last has a letter, so that a mistyped address is not looked up.
fn is_dns_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| {
        let dashed = label.starts_with('-') || label.ends_with('-');
        (1..=63).contains(&label.len()) && !dashed && label.bytes().all(plain)
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.split('.').all(label)
        && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// `http=8080`: this peer offers `http`, and the program listens there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expose {
    /// The service's name in the network.
    pub service: ServiceName,
    /// The program's host.
    pub host: Host,
    /// The program's TCP port, never 0.
    pub port: u16,
}

impl Expose {
    /// Exposed services in one text, separated by commas: at most [`super::MAX_ENTRIES`], each
    /// service once.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, ServiceError> {
        let entries: Vec<Self> = parse_list(text)?;
        match first_twice(&entries, |entry| entry.service.clone()) {
            Some(twice) => Err(ServiceError::ExposedTwice {
                service: twice.service.clone(),
            }),
            None => Ok(entries),
        }
    }
}

impl FromStr for Expose {
    type Err = ServiceError;
    fn from_str(text: &str) -> Result<Self, ServiceError> {
        let form = || ServiceError::form(FORM, text);
        let (service, place) = text.split_once('=').ok_or_else(form)?;
        let service = ServiceName::parse(service)?;
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (Host::parse(host)?, port),
            None => (Host::LOOPBACK, place),
        };
        let port = parse_port(port).ok_or_else(form)?;
        Ok(Self {
            service,
            host,
            port,
        })
    }
}

impl fmt::Display for Expose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host == Host::LOOPBACK {
            write!(f, "{}={}", self.service, self.port)
        } else {
            write!(f, "{}={}:{}", self.service, self.host, self.port)
        }
    }
}

impl TryFrom<String> for Expose {
    type Error = ServiceError;
    fn try_from(text: String) -> Result<Self, ServiceError> {
        text.parse()
    }
}

impl From<Expose> for String {
    fn from(expose: Expose) -> Self {
        expose.to_string()
    }
}
