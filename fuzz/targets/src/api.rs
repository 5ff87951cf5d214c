//! JSON bodies of the operator API.

use peerup_protocol::api;

use crate::property::json;

/// Every request, as the operator reads it from sidecars and relays.
pub(crate) fn requests(data: &[u8]) -> bool {
    let accepted = [
        json::<api::AttestRequest>(data).is_some(),
        json::<api::ReportRequest>(data).is_some(),
        json::<api::LookupRequest>(data).is_some(),
        json::<api::RedeemRequest>(data).is_some(),
        json::<api::FailureRequest>(data).is_some(),
        json::<api::RenewRequest>(data).is_some(),
        json::<api::PresenceRequest>(data).is_some(),
    ];
    accepted.contains(&true)
}

/// Every answer, as sidecars and relays read it.
pub(crate) fn answers(data: &[u8]) -> bool {
    let accepted = [
        json::<api::AttestAnswer>(data).is_some(),
        json::<api::ReportAnswer>(data).is_some(),
        json::<api::LookupAnswer>(data).is_some(),
        json::<api::RedeemAnswer>(data).is_some(),
        json::<api::RenewAnswer>(data).is_some(),
        json::<api::PresenceAnswer>(data).is_some(),
        json::<api::RosterAnswer>(data).is_some(),
        json::<api::Problem>(data).is_some(),
    ];
    accepted.contains(&true)
}
