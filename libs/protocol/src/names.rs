//! Protocol names on libp2p streams.

use crate::id::{DhtNamespace, NetworkId};

/// The names of one network: under its tag for strangers, under its namespace for members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolNames {
    tag: String,
    namespace: DhtNamespace,
}

impl ProtocolNames {
    /// The names of the network `net` that is called `namespace` on the wire.
    #[must_use]
    pub fn new(net: &NetworkId, namespace: &DhtNamespace) -> Self {
        Self {
            tag: net.tag(),
            namespace: namespace.clone(),
        }
    }

    /// Exchange of records; for everyone.
    #[must_use]
    pub fn member(&self) -> String {
        protocol(&self.tag, "member")
    }

    /// The pairing handshake; for everyone.
    #[must_use]
    pub fn pair(&self) -> String {
        protocol(&self.tag, "pair")
    }

    /// The namespaced DHT; for members.
    #[must_use]
    pub fn kad(&self) -> String {
        protocol(self.namespace.as_str(), "kad")
    }

    /// Roster and renewals; for members.
    #[must_use]
    pub fn roster(&self) -> String {
        protocol(self.namespace.as_str(), "roster")
    }

    /// Reports of outside peers; for members.
    #[must_use]
    pub fn report(&self) -> String {
        protocol(self.namespace.as_str(), "report")
    }

    /// Requests for filtering probes; for members.
    #[must_use]
    pub fn probe(&self) -> String {
        protocol(self.namespace.as_str(), "probe")
    }
}

fn protocol(scope: &str, name: &str) -> String {
    format!("/peerup/{scope}/{name}/1.0.0")
}
