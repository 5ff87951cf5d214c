//! One sentence for people, from the decisive evidence.

use peerup_protocol::grade::{Evidence, IpVersion};

/// What the first evidence means; the second refines it where filtering is unknown.
pub(super) fn reason(evidence: &[Evidence], version: IpVersion) -> String {
    let Some(first) = evidence.first() else {
        return String::new();
    };
    let nat = if evidence.contains(&Evidence::NoNat) {
        "There is no NAT"
    } else {
        "The NAT keeps one outside address for all destinations"
    };
    match first {
        Evidence::NoAddress => "No network interface has a usable address.".to_owned(),
        Evidence::NothingAnswers => "Neither a relay nor a STUN server answers.".to_owned(),
        Evidence::UdpBlocked => "A relay is reachable over TCP, but UDP gets no answer.".to_owned(),
        Evidence::MappingDiffers => {
            "The NAT uses another outside address for another destination.".to_owned()
        }
        Evidence::MappingUnknown => {
            "Too few STUN servers answered to tell how the NAT behaves.".to_owned()
        }
        Evidence::CgnatLocalAddress => {
            "The default route starts at an address of a carrier-grade NAT.".to_owned()
        }
        Evidence::CgnatGatewayAddress => {
            "The router's outside address is one of a carrier-grade NAT, not the one that the Internet sees."
                .to_owned()
        }
        Evidence::NoOutsideVantage => "Nobody outside could be asked.".to_owned(),
        Evidence::Ipv6Unconfirmed => {
            "There is an IPv6 address that nobody outside has confirmed.".to_owned()
        }
        Evidence::Ipv6ProbeOk | Evidence::Ipv4ProbeOk => {
            format!("Packets of strangers arrive over IPv{version}.")
        }
        Evidence::FilteringAddress => {
            format!("{nat}; packets of addresses it has sent to come in.")
        }
        Evidence::FilteringPort => {
            format!("{nat}; only packets of addresses and ports it has sent to come in.")
        }
        Evidence::FilteringUntestable if evidence.contains(&Evidence::OriginDiffers) => {
            format!(
                "{nat}; something on the way to the relay rewrites addresses, so no test was possible."
            )
        }
        Evidence::FilteringUntestable => {
            format!("{nat}; which packets come in could not be tested.")
        }
        Evidence::MappingSame
        | Evidence::NoNat
        | Evidence::PortPreserved
        | Evidence::OneRelay
        | Evidence::OriginDiffers
        | Evidence::Hairpin
        | Evidence::Unstable => {
            format!("{nat}.")
        }
    }
}
