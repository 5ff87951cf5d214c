//! Protocol names on libp2p streams.

use crate::id::{DhtNamespace, NetworkId, ServiceName};

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

    /// The pairing handshake with an inviter; for everyone while an invite is open.
    #[must_use]
    pub fn invite(&self) -> String {
        protocol(&self.tag, "invite")
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

    /// Verification by emoji; for members.
    #[must_use]
    pub fn verify(&self) -> String {
        protocol(self.namespace.as_str(), "verify")
    }

    /// Echo of a number; for members.
    #[must_use]
    pub fn ping(&self) -> String {
        protocol(self.namespace.as_str(), "ping")
    }

    /// How the other side sees the connection; for members.
    #[must_use]
    pub fn trace(&self) -> String {
        protocol(self.namespace.as_str(), "trace")
    }

    /// Addresses without a relay; for members.
    #[must_use]
    pub fn direct(&self) -> String {
        protocol(self.namespace.as_str(), "direct")
    }

    /// A service's byte stream; for members.
    #[must_use]
    pub fn svc(&self, service: &ServiceName) -> String {
        format!("/peerup/{}/svc/{service}/1.0.0", self.namespace)
    }
}

fn protocol(scope: &str, name: &str) -> String {
    format!("/peerup/{scope}/{name}/1.0.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_do_not_learn_the_namespace() {
        let names = ProtocolNames::new(&NetworkId([1; 16]), &DhtNamespace::parse("crew").unwrap());
        let tag = NetworkId([1; 16]).tag();
        assert_eq!(tag.len(), 16);
        assert_eq!(names.member(), format!("/peerup/{tag}/member/1.0.0"));
        assert_eq!(names.pair(), format!("/peerup/{tag}/pair/1.0.0"));
        assert_eq!(names.invite(), format!("/peerup/{tag}/invite/1.0.0"));
        let admitted = [names.kad(), names.roster(), names.report(), names.probe()];
        let expected =
            ["kad", "roster", "report", "probe"].map(|name| format!("/peerup/crew/{name}/1.0.0"));
        assert_eq!(admitted, expected);
        let between_peers = [names.verify(), names.ping(), names.trace(), names.direct()];
        let expected =
            ["verify", "ping", "trace", "direct"].map(|name| format!("/peerup/crew/{name}/1.0.0"));
        assert_eq!(between_peers, expected);
        let http = ServiceName::parse("http").unwrap();
        assert_eq!(names.svc(&http), "/peerup/crew/svc/http/1.0.0");
    }
}
