//! Frames on streams.

use peerup_pairing::{invite, join};
use peerup_protocol::frame::{
    DirectAddress, DirectOffer, DirectOutcome, GuestRequest, GuestResponse, InviteAnswer,
    InviteRegistration, JoinRequest, JoinResponse, MAX_LONG_FRAME, MemberHello, MemberLists, Ping,
    ProbeAnswer, ProbeAsk, ReportFrame, ReportPeriods, RosterAnswer, RosterAsk, RosterPage,
    TraceAnswer, VerifyCommit, VerifyDecision, VerifyNonce, pages,
};

use crate::property::decode;
use crate::vectors::vectors;

/// The plain request inside M3.
pub(crate) fn join_request(data: &[u8]) -> bool {
    decode(data, JoinRequest::decode, JoinRequest::encode).is_some()
}

/// The plain response inside M4; nothing but what the network signed makes a member.
pub(crate) fn join_response(data: &[u8]) -> bool {
    let v = vectors();
    let joined = join::check_response(&v.net, &v.joiner, &v.name, data, v.issued);
    assert!(joined.is_err() || data == v.response, "a forged membership");
    decode(data, JoinResponse::decode, JoinResponse::encode).is_some()
}

/// The plain request of a guest.
pub(crate) fn guest_request(data: &[u8]) -> bool {
    decode(data, GuestRequest::decode, GuestRequest::encode).is_some()
}

/// The plain response to a guest; nothing but what the inviter signed makes one.
pub(crate) fn guest_response(data: &[u8]) -> bool {
    let v = vectors();
    let invited = invite::check_response(&v.net, &v.joiner, &v.home, &v.name, data, v.issued);
    let response = decode(data, GuestResponse::decode, GuestResponse::encode);
    let grant = response.as_ref().map(|response| &response.grant.bytes);
    assert!(
        invited.is_err() || grant == Some(&v.grant),
        "a forged grant"
    );
    response.is_some()
}

/// Both frames on `invite`.
pub(crate) fn invite(data: &[u8]) -> bool {
    let ask = decode(data, InviteRegistration::decode, InviteRegistration::encode);
    let answer = decode(data, InviteAnswer::decode, |answer| answer.encode());
    ask.is_some() || answer.is_some()
}

/// The frames on `verify`.
pub(crate) fn verify(data: &[u8]) -> bool {
    let commit = decode(data, VerifyCommit::decode, VerifyCommit::encode);
    let nonce = decode(data, VerifyNonce::decode, VerifyNonce::encode);
    let decision = decode(data, VerifyDecision::decode, |decision| decision.encode());
    commit.is_some() || nonce.is_some() || decision.is_some()
}

/// The frames on `ping` and `trace`.
pub(crate) fn ping_and_trace(data: &[u8]) -> bool {
    let ping = decode(data, Ping::decode, Ping::encode);
    let trace = decode(data, TraceAnswer::decode, TraceAnswer::encode);
    ping.is_some() || trace.is_some()
}

/// Both frames on `direct`; no address is told that nobody may be made to dial.
pub(crate) fn direct(data: &[u8]) -> bool {
    let offer = decode(data, DirectOffer::decode, DirectOffer::encode);
    let told = offer.iter().flat_map(|offer| &offer.addresses);
    for address in told {
        let again = DirectAddress::from_multiaddr(&address.multiaddr());
        assert_eq!(again, Some(*address), "an address that is none");
        assert!(!address.ip().is_unspecified() && !address.ip().is_multicast());
        assert!(address.port() >= 1024);
    }
    let outcome = decode(data, DirectOutcome::decode, |outcome| outcome.encode());
    offer.is_some() || outcome.is_some()
}

/// Both frames on `member`.
pub(crate) fn member(data: &[u8]) -> bool {
    let hello = decode(data, MemberHello::decode, MemberHello::encode);
    let lists = decode(data, MemberLists::decode, MemberLists::encode);
    hello.is_some() || lists.is_some()
}

/// Both frames on `probe`.
pub(crate) fn probe(data: &[u8]) -> bool {
    let ask = decode(data, ProbeAsk::decode, ProbeAsk::encode);
    let answer = decode(data, ProbeAnswer::decode, |answer| answer.encode());
    ask.is_some() || answer.is_some()
}

/// Both frames on `report`.
pub(crate) fn report(data: &[u8]) -> bool {
    let report = decode(data, ReportFrame::decode, ReportFrame::encode);
    let periods = decode(data, ReportPeriods::decode, |periods| periods.encode());
    report.is_some() || periods.is_some()
}

/// What members ask on `roster`.
pub(crate) fn roster_ask(data: &[u8]) -> bool {
    decode(data, RosterAsk::decode, RosterAsk::encode).is_some()
}

/// What relays say on `roster`.
pub(crate) fn roster_answer(data: &[u8]) -> bool {
    match decode(data, RosterAnswer::decode, RosterAnswer::encode) {
        Some(RosterAnswer::Page(page)) => {
            check_pages(page);
            true
        }
        Some(RosterAnswer::Lists { .. } | RosterAnswer::Record(_) | RosterAnswer::Refused) => true,
        None => false,
    }
}

/// A long page is cut into frames that hold the same, in order.
fn check_pages(page: RosterPage) {
    let mut whole = page;
    let entries = whole.records.len() + whole.gone.len();
    if entries > 0 {
        let copies = 2 * MAX_LONG_FRAME / (100 * entries) + 1;
        whole.records = vec![whole.records; copies].concat();
        whole.gone = whole.gone.repeat(copies);
    }
    let cut = pages(whole.clone());
    let records: Vec<_> = cut.iter().flat_map(|page| page.records.clone()).collect();
    let gone: Vec<_> = cut.iter().flat_map(|page| page.gone.clone()).collect();
    assert_eq!((records, gone), (whole.records, whole.gone));
    for (at, page) in cut.into_iter().enumerate() {
        assert_eq!((page.run, page.seq), (whole.run, whole.seq));
        assert_eq!(page.full, whole.full && at == 0);
        let frame = RosterAnswer::Page(page).encode();
        assert!(frame.len() <= MAX_LONG_FRAME);
        assert!(RosterAnswer::decode(&frame).is_ok());
    }
}
