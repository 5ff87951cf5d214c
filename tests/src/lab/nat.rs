//! What a router does with packets, one set of nftables rules for each class (RFC 4787).

use std::net::IpAddr;

use super::internet::Version;

/// What a router does with packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// No translation, everything passes.
    Open,
    /// No translation; only answers come in.
    Firewall,
    /// One mapping for all destinations; packets from address and port that were sent to come in.
    PortRestricted,
    /// One mapping for all destinations; packets from addresses that were sent to come in.
    AddressRestricted,
    /// One mapping for all destinations; everybody's packets come in.
    FullCone,
    /// A mapping per destination.
    Symmetric,
    /// As port-restricted, but what comes from a peer's usual port leaves from another port, always the same.
    PortMoved,
    /// As port-restricted, without UDP.
    UdpBlocked,
    /// Nothing passes.
    Offline,
}

/// What leaves for a peer's own port leaves from here where the port is moved.
pub const MOVED_PORT: u16 = 54_001;

/// Between which addresses a router stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Between {
    /// The router's outside address.
    pub(super) wan: IpAddr,
    /// The client's.
    pub(super) client: IpAddr,
}

/// Without it hole punching fails: a packet that comes early would be refused by the router itself.
const INPUT: &str = "chain input { type filter hook input priority filter; policy drop;
  iifname \"lan\" accept; ct state established,related accept; meta l4proto ipv6-icmp accept; }";

/// Lets the client out, and answers in.
const STATEFUL: &str = "iifname \"lan\" accept; ct state established,related accept;";

impl Nat {
    /// Whether the client has an address that only its own network knows.
    #[must_use]
    pub const fn translates(self) -> bool {
        match self {
            Self::Open | Self::Firewall => false,
            Self::PortRestricted
            | Self::AddressRestricted
            | Self::FullCone
            | Self::Symmetric
            | Self::PortMoved
            | Self::UdpBlocked
            | Self::Offline => true,
        }
    }

    /// The rules of a router.
    pub(super) fn rules(self, version: Version, between: Between) -> String {
        let Between { wan, client } = between;
        let (ip, private, address) = match version {
            Version::V4 => ("ip", "10.0.0.0/8", "ipv4_addr"),
            Version::V6 => ("ip6", "fc00::/7", "ipv6_addr"),
        };
        let chains = match self {
            Self::Open => String::new(),
            Self::Offline => forward(""),
            Self::Firewall => forward(STATEFUL),
            Self::PortRestricted => {
                forward(STATEFUL) + &post(&format!("{ip} saddr {private} masquerade"))
            }
            Self::Symmetric => {
                forward(STATEFUL) + &post(&format!("{ip} saddr {private} masquerade fully-random"))
            }
            Self::UdpBlocked => {
                forward(&format!("meta l4proto udp drop; {STATEFUL}"))
                    + &post(&format!("{ip} saddr {private} masquerade"))
            }
            Self::FullCone => {
                forward(&format!(
                    "{STATEFUL} iifname \"wan\" ct status dnat accept;"
                )) + &cone(ip, between)
            }
            Self::AddressRestricted => {
                format!(
                    "set seen {{ type {address} . inet_service . {address}; flags dynamic,timeout; timeout 2m; }}\n"
                ) + &forward(&format!(
                    "iifname \"lan\" meta l4proto {{ tcp, udp }} update @seen {{ {ip} saddr . th sport . {ip} daddr }} accept;
                     {STATEFUL}
                     iifname \"wan\" meta l4proto {{ tcp, udp }} {ip} daddr . th dport . {ip} saddr @seen accept;"
                )) + &cone(ip, between)
            }
            Self::PortMoved => {
                let to = std::net::SocketAddr::new(wan, MOVED_PORT);
                let moved = |protocol: &str| {
                    format!("{ip} saddr {client} meta l4proto {protocol} {protocol} sport 4001 snat {ip} to {to}")
                };
                let rest = format!("{ip} saddr {private} masquerade");
                forward(STATEFUL) + &post(&[moved("udp"), moved("tcp"), rest].join("; oifname \"wan\" "))
            }
        };
        format!("table inet lab {{\n{INPUT}\n{chains}}}\n")
    }
}

fn forward(rules: &str) -> String {
    format!("chain forward {{ type filter hook forward priority filter; policy drop; {rules} }}\n")
}

fn post(rule: &str) -> String {
    format!("chain post {{ type nat hook postrouting priority srcnat; oifname \"wan\" {rule}; }}\n")
}

/// The client's ports are the router's.
fn cone(ip: &str, between: Between) -> String {
    let Between { wan, client } = between;
    format!(
        "chain pre {{ type nat hook prerouting priority dstnat; iifname \"wan\" {ip} daddr {wan} \
         meta l4proto {{ tcp, udp }} th dport 1024-65535 dnat {ip} to {client}; }}\n"
    ) + &post(&format!("{ip} saddr {client} snat {ip} to {wan}"))
}
