//! Short texts: ids as people see them, ranges, the header of relay calls.

use peerup_pairing::names::pod_name;
use peerup_pairing::sas::Fingerprint;
use peerup_protocol::api::RelaySignature;
use peerup_protocol::id::{DhtNamespace, GroupId, NetworkId, PeerName, Serial};
use peerup_reachability::Cidr;

use crate::property::{bounded, text};

/// Each kind of id, and a range of addresses.
pub(crate) fn ids(data: &[u8]) -> bool {
    let name = PeerName::from_bytes(data);
    let Ok(given) = std::str::from_utf8(data) else {
        assert!(name.is_err(), "a name that is not UTF-8");
        return false;
    };
    if let Ok(name) = pod_name(given) {
        assert!(name.check_request().is_ok(), "{name} cannot be asked for");
    }
    let accepted = [
        text::<NetworkId, _>(given).is_some(),
        text::<GroupId, _>(given).is_some(),
        text::<Serial, _>(given).is_some(),
        text::<DhtNamespace, _>(given).is_some(),
        text::<PeerName, _>(given).is_some(),
        text::<Fingerprint, _>(given).is_some(),
        bounded(data.len(), 8, || given.parse::<Cidr>()).is_ok(),
    ];
    assert_eq!(accepted[4], name.is_ok());
    accepted.contains(&true)
}

/// The header by which a relay signs its calls.
pub(crate) fn relay_signature(data: &[u8]) -> bool {
    let Ok(given) = std::str::from_utf8(data) else {
        return false;
    };
    let Ok(signature) = bounded(data.len(), 8, || given.parse::<RelaySignature>()) else {
        return false;
    };
    assert_eq!(signature.to_string().parse(), Ok(signature));
    true
}
