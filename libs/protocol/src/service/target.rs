//! Whom a connection goes to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ServiceError;
use crate::id::{InvalidId, KubeNamespace, PeerName};

const FORM: &str = "a peer (web) or a workload's namespace/service account (shop/web)";

/// A Kubernetes service account's name: a DNS name of at most 253 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(String);

impl AccountName {
    /// Most bytes.
    pub const MAX: usize = 253;

    /// The text, if it keeps the rule.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let labels = || text.split('.').all(|label| PeerName::parse(label).is_ok());
        if text.len() <= Self::MAX && labels() {
            Ok(Self(text.to_owned()))
        } else {
            let rule = "be lower-case DNS labels with dots between them, at most 253 bytes";
            Err(InvalidId::new("a service account", rule, text))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whom a connection goes to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// The peer of this name.
    Peer(PeerName),
    /// Any live peer of the network's own cluster with this service account.
    Workload {
        /// The pod's namespace.
        namespace: KubeNamespace,
        /// The pod's service account.
        service_account: AccountName,
    },
}

impl FromStr for Target {
    type Err = ServiceError;
    fn from_str(text: &str) -> Result<Self, ServiceError> {
        match text.split_once('/') {
            None if text.is_empty() => Err(ServiceError::form(FORM, text)),
            None => Ok(Self::Peer(PeerName::parse(text)?)),
            Some((_, account)) if account.contains('/') => Err(ServiceError::form(FORM, text)),
            Some((namespace, account)) => Ok(Self::Workload {
                namespace: KubeNamespace::parse(namespace)?,
                service_account: AccountName::parse(account)?,
            }),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(name) => fmt::Display::fmt(name, f),
            Self::Workload {
                namespace,
                service_account,
            } => write!(f, "{namespace}/{service_account}"),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = ServiceError;
    fn try_from(text: String) -> Result<Self, ServiceError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}
