//! Local ports that lead to services of other peers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::list::{first_twice, parse_list, parse_port};
use super::{ServiceError, Target};
use crate::id::ServiceName;

const FORM: &str = "local port=service@peer, such as 9000=http@web or 9000=http@shop/web";

/// `9000=http@web`: what connects to the local port reaches the service of the target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Forward {
    /// The port on this side's loopback address, never 0.
    pub port: u16,
    /// The service on the other side.
    pub service: ServiceName,
    /// Whose service.
    pub target: Target,
}

impl Forward {
    /// Forwards in one text, separated by commas: at most [`super::MAX_ENTRIES`], each local
    /// port once.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, ServiceError> {
        let entries: Vec<Self> = parse_list(text)?;
        match first_twice(&entries, |entry| entry.port) {
            Some(twice) => Err(ServiceError::ForwardedTwice { port: twice.port }),
            None => Ok(entries),
        }
    }
}

impl FromStr for Forward {
    type Err = ServiceError;
    fn from_str(text: &str) -> Result<Self, ServiceError> {
        let form = || ServiceError::form(FORM, text);
        let (port, rest) = text.split_once('=').ok_or_else(form)?;
        let (service, target) = rest.split_once('@').ok_or_else(form)?;
        Ok(Self {
            port: parse_port(port).ok_or_else(form)?,
            service: ServiceName::parse(service)?,
            target: target.parse()?,
        })
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}@{}", self.port, self.service, self.target)
    }
}

impl TryFrom<String> for Forward {
    type Error = ServiceError;
    fn try_from(text: String) -> Result<Self, ServiceError> {
        text.parse()
    }
}

impl From<Forward> for String {
    fn from(forward: Forward) -> Self {
        forward.to_string()
    }
}
