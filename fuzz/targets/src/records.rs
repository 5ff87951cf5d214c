//! Signed records, before their signatures are looked at.

use std::fmt::Debug;

use peerup_protocol::record::{
    GuestGrant, MemberRecord, NetworkDocument, RecordKind, Revocations, relays_of,
};
use peerup_protocol::wire::DecodeError;

use crate::property;
use crate::vectors::vectors;

/// A member record.
pub(crate) fn member(data: &[u8]) -> bool {
    let (decode, encode) = (MemberRecord::decode, MemberRecord::encode);
    record(data, RecordKind::Member, decode, encode).is_some()
}

/// A guest's grant.
pub(crate) fn guest(data: &[u8]) -> bool {
    let (decode, encode) = (GuestGrant::decode, GuestGrant::encode);
    record(data, RecordKind::Guest, decode, encode).is_some()
}

/// A list of revocations.
pub(crate) fn revocations(data: &[u8]) -> bool {
    let (decode, encode) = (Revocations::decode, Revocations::encode);
    record(data, RecordKind::Revocations, decode, encode).is_some()
}

/// A network document; every peer finds its relays in it.
pub(crate) fn network_document(data: &[u8]) -> bool {
    let (decode, encode) = (NetworkDocument::decode, NetworkDocument::encode);
    let Some(document) = record(data, RecordKind::Network, decode, encode) else {
        return false;
    };
    let own = relays_of(&document, &vectors().joiner);
    assert_eq!(own.len(), document.relays.len().min(2));
    true
}

/// No record is two kinds of records.
fn record<T: Debug>(
    data: &[u8],
    kind: RecordKind,
    decode: fn(&[u8]) -> Result<T, DecodeError>,
    encode: fn(&T) -> Vec<u8>,
) -> Option<T> {
    let record = property::decode(data, decode, encode)?;
    assert_eq!(RecordKind::of(data), Some(kind));
    Some(record)
}
