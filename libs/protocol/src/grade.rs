//! Words of reachability: grades, NAT behaviour (RFC 4787), evidence.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How well a peer can be reached. Ordered: the better is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grade {
    /// Offline.
    F,
    /// Symmetric NAT or carrier-grade NAT.
    D,
    /// Port-restricted NAT.
    C,
    /// Public IPv4, or a NAT through which holes can be punched.
    B,
    /// Public IPv6.
    A,
}

impl Grade {
    /// From best to worst.
    pub const ALL: [Self; 5] = [Self::A, Self::B, Self::C, Self::D, Self::F];

    /// 4 for A … 0 for F.
    #[must_use]
    pub fn score(self) -> u8 {
        match self {
            Self::A => 4,
            Self::B => 3,
            Self::C => 2,
            Self::D => 1,
            Self::F => 0,
        }
    }

    /// The letter.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::F => "F",
        }
    }
}

/// An enum whose values are words in JSON, metrics and texts.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            /// The value of a word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use words;

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

words! {
    /// Which outside address a NAT gives to a socket (RFC 4787, 4.1).
    Mapping {
        /// No translation: the outside sees the local address.
        None = "None",
        /// The same for every destination.
        EndpointIndependent = "EndpointIndependent",
        /// Another one for another address.
        AddressDependent = "AddressDependent",
        /// Another one for another address or port.
        AddressAndPortDependent = "AddressAndPortDependent",
        /// Not measured.
        Unknown = "Unknown",
    }
}
words! {
    /// Whose packets a NAT or firewall lets in (RFC 4787, 5).
    Filtering {
        /// Everybody's.
        EndpointIndependent = "EndpointIndependent",
        /// Those from addresses that the socket has sent to.
        AddressDependent = "AddressDependent",
        /// Those from address and port that the socket has sent to.
        AddressAndPortDependent = "AddressAndPortDependent",
        /// Not measured.
        Unknown = "Unknown",
    }
}
words! {
    /// What stands between a peer and its relays, in one word.
    NatType {
        /// No translation.
        None = "None",
        /// One mapping, filtering not measured.
        EndpointIndependent = "EndpointIndependent",
        /// One mapping, everybody's packets come in.
        FullCone = "FullCone",
        /// One mapping, packets of known addresses come in.
        AddressRestricted = "AddressRestricted",
        /// One mapping, packets of known addresses and ports come in.
        PortRestricted = "PortRestricted",
        /// A mapping per destination.
        Symmetric = "Symmetric",
        /// UDP does not pass.
        UdpBlocked = "UdpBlocked",
        /// Not measured.
        Unknown = "Unknown",
    }
}
words! {
    /// Which addresses count as public.
    Scope {
        /// The organisation's network is the world that matters.
        Internal = "Internal",
        /// Only globally routable addresses.
        Internet = "Internet",
    }
}
words! {
    /// How much stands behind a grade.
    Confidence {
        /// Unsolicited packets were seen to arrive.
        Verified = "Verified",
        /// Measured from outside.
        Measured = "Measured",
        /// Only what the peer itself sees.
        Claimed = "Claimed",
    }
}
words! {
    /// Version of the Internet Protocol.
    IpVersion {
        /// IPv4.
        V4 = "4",
        /// IPv6.
        V6 = "6",
    }
}
words! {
    /// Whether a peer's streams to others need a relay.
    Path {
        /// A direct connection exists.
        Direct = "Direct",
        /// Only over a relay.
        Relayed = "Relayed",
        /// No connection.
        None = "None",
    }
}
words! {
    /// Why a grade is what it is: short codes, the decisive one first.
    Evidence {
        /// No interface has a usable address.
        NoAddress = "no-address",
        /// Neither relay nor STUN answers.
        NothingAnswers = "nothing-answers",
        /// A relay is reachable over TCP, UDP gets no answer.
        UdpBlocked = "udp-blocked",
        /// Two destinations saw different addresses of one socket.
        MappingDiffers = "mapping-differs",
        /// All destinations saw the same address of one socket.
        MappingSame = "mapping-same",
        /// One destination answered: whether others see the same is not known.
        MappingUnknown = "mapping-unknown",
        /// Two rounds of one measurement did not agree; the worse one counts.
        Unstable = "unstable",
        /// The outside sees the local address.
        NoNat = "no-nat",
        /// The outside kept the port number.
        PortPreserved = "port-preserved",
        /// One relay: two of its ports can only tell port-dependent or not.
        OneRelay = "one-relay",
        /// A relay was asked at another address than it says: something in the way rewrites addresses.
        OriginDiffers = "origin-differs",
        /// The NAT brings packets to its own outside address back in.
        Hairpin = "hairpin",
        /// Nobody could test which packets come in.
        FilteringUntestable = "filtering-untestable",
        /// Packets of strangers come in over IPv6.
        Ipv6ProbeOk = "ipv6-probe-ok",
        /// Packets of strangers come in over IPv4.
        Ipv4ProbeOk = "ipv4-probe-ok",
        /// Packets of known addresses come in.
        FilteringAddress = "filtering-address-dependent",
        /// Only packets of known addresses and ports come in.
        FilteringPort = "filtering-port-dependent",
        /// The default route starts at an address of 100.64.0.0/10.
        CgnatLocalAddress = "cgnat-local-address",
        /// The router's outside address is of 100.64.0.0/10, and not what the outside sees.
        CgnatGatewayAddress = "cgnat-gateway-address",
        /// Nobody outside could be asked.
        NoOutsideVantage = "no-outside-vantage",
        /// An IPv6 address in scope that nobody outside has confirmed.
        Ipv6Unconfirmed = "ipv6-unconfirmed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_grade_is_the_greater() {
        let scores: Vec<_> = Grade::ALL.iter().map(|grade| grade.score()).collect();
        assert_eq!(scores, [4, 3, 2, 1, 0]);
        assert!(Grade::ALL.windows(2).all(|pair| pair[0] > pair[1]));
    }

    #[test]
    fn words_are_one_in_json_and_text() {
        for evidence in Evidence::ALL {
            assert_eq!(serde_json::to_value(evidence).unwrap(), evidence.as_str());
            assert_eq!(Evidence::from_word(evidence.as_str()), Some(*evidence));
        }
        for grade in Grade::ALL {
            assert_eq!(serde_json::to_value(grade).unwrap(), grade.as_str());
        }
        assert_eq!(Evidence::from_word("nonsense"), None);
    }
}
