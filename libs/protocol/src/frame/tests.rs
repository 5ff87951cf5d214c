//! Frames come back as they went, fit their limits, and refuse the rest.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::Multiaddr;
use crate::id::{GroupId, PeerName, Serial};
use crate::report::MAX_REPORT;

fn signed(max: usize) -> impl Strategy<Value = Signed> {
    (vec(any::<u8>(), 1..max), any::<[u8; 32]>()).prop_map(|(bytes, half)| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&half);
        signature[32..].copy_from_slice(&half);
        Signed { bytes, signature }
    })
}

fn page() -> impl Strategy<Value = RosterPage> {
    let records = vec(signed(MAX_MEMBER_RECORD), 0..300);
    let gone = vec(any::<u64>().prop_map(Serial), 0..9000);
    (any::<(u64, u64, bool, bool)>(), records, gone).prop_map(
        |((run, seq, full, last), records, gone)| RosterPage {
            run,
            seq,
            full,
            last,
            records,
            gone,
        },
    )
}

proptest! {
    #[test]
    fn member_frames_come_back(credential in signed(2000), epoch: u64, issued: u64) {
        let hello = MemberHello { credential: credential.clone(), epoch, issued };
        prop_assert_eq!(MemberHello::decode(&hello.encode()), Ok(hello));
        let lists = MemberLists { revocations: credential };
        prop_assert_eq!(MemberLists::decode(&lists.encode()), Ok(lists));
    }

    #[test]
    fn roster_frames_come_back(page in page(), a in proptest::option::of(signed(99)), b in signed(500), run: u64, seq: u64) {
        for ask in [RosterAsk::Sync { run, seq }, RosterAsk::Renew] {
            prop_assert_eq!(RosterAsk::decode(&ask.encode()), Ok(ask));
        }
        let lists = RosterAnswer::Lists { revocations: a, document: Some(b.clone()) };
        for answer in [RosterAnswer::Page(page), lists, RosterAnswer::Record(b), RosterAnswer::Refused] {
            prop_assert_eq!(RosterAnswer::decode(&answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn pages_fit_frames_and_lose_nothing(whole in page()) {
        let parts = pages(whole.clone());
        for (at, part) in parts.iter().enumerate() {
            prop_assert!(RosterAnswer::Page(part.clone()).encode().len() <= MAX_LONG_FRAME);
            prop_assert_eq!(part.full, whole.full && at == 0);
            prop_assert_eq!(part.last, at + 1 == parts.len());
            prop_assert_eq!((part.run, part.seq), (whole.run, whole.seq));
        }
        let records: Vec<_> = parts.iter().flat_map(|part| part.records.clone()).collect();
        let gone: Vec<_> = parts.iter().flat_map(|part| part.gone.clone()).collect();
        prop_assert_eq!(records, whole.records);
        prop_assert_eq!(gone, whole.gone);
    }

    #[test]
    fn reports_and_probes_come_back(
        time: u64, json in vec(any::<u8>(), 0..MAX_REPORT), periods: [u32; 4], nonce: [u8; 16], port: u16
    ) {
        let frame = ReportFrame { time, json, signature: [7; 64] };
        prop_assert_eq!(ReportFrame::decode(&frame.encode()), Ok(frame));
        let [probe, report, offline_after, stabilization] = periods;
        let periods = ReportPeriods { probe, report, offline_after, stabilization };
        prop_assert_eq!(ReportPeriods::decode(&periods.encode()), Ok(periods));
        for from in [ProbeFrom::MainPort, ProbeFrom::OtherPort] {
            let ask = ProbeAsk { nonce, port, from };
            prop_assert_eq!(ProbeAsk::decode(&ask.encode()), Ok(ask));
        }
        for answer in [ProbeAnswer::Sent, ProbeAnswer::Untestable, ProbeAnswer::Limited] {
            prop_assert_eq!(ProbeAnswer::decode(&answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn joins_come_back(name in "[a-z0-9]{1,59}", record in signed(400), network_key: [u8; 32]) {
        let request = JoinRequest { name: PeerName::parse(&name).unwrap(), proof: [1; 64], identity: [2; 64] };
        prop_assert_eq!(JoinRequest::decode(&request.encode()), Ok(request));
        let response = JoinResponse { record, network_key };
        prop_assert_eq!(JoinResponse::decode(&response.encode()), Ok(response));
    }

    #[test]
    fn guests_frames_come_back(name in "[a-z0-9]{1,59}", grant in signed(MAX_GUEST_GRANT), group: [u8; 8], until: u64) {
        let name = PeerName::parse(&name).unwrap();
        let request = GuestRequest { name: name.clone() };
        prop_assert_eq!(GuestRequest::decode(&request.encode()), Ok(request));
        let response = GuestResponse { inviter: name, grant };
        prop_assert_eq!(GuestResponse::decode(&response.encode()), Ok(response));
        let registration = InviteRegistration { group: GroupId(group), until };
        prop_assert_eq!(InviteRegistration::decode(&registration.encode()), Ok(registration));
        for answer in [InviteAnswer::Registered, InviteAnswer::Refused, InviteAnswer::Full] {
            prop_assert_eq!(InviteAnswer::decode(&answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn frames_between_peers_come_back(bytes: [u8; 32], nonce: u64, relayed: bool, ip: [u8; 4], port: u16) {
        prop_assert_eq!(VerifyCommit::decode(&VerifyCommit(bytes).encode()), Ok(VerifyCommit(bytes)));
        prop_assert_eq!(VerifyNonce::decode(&VerifyNonce(bytes).encode()), Ok(VerifyNonce(bytes)));
        for decision in [VerifyDecision::Differs, VerifyDecision::Matches] {
            prop_assert_eq!(VerifyDecision::decode(&decision.encode()), Ok(decision));
        }
        prop_assert_eq!(Ping::decode(&Ping(nonce).encode()), Ok(Ping(nonce)));
        let observed = Multiaddr::from(std::net::Ipv4Addr::from(ip)).with(multiaddr::Protocol::Tcp(port));
        let answer = TraceAnswer { relayed, observed };
        prop_assert_eq!(TraceAnswer::decode(&answer.encode()), Ok(answer));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..600)) {
        let _ = (MemberHello::decode(&bytes), MemberLists::decode(&bytes), RosterAsk::decode(&bytes));
        let _ = (RosterAnswer::decode(&bytes), ReportFrame::decode(&bytes), ProbeAsk::decode(&bytes));
        let _ = (ReportPeriods::decode(&bytes), ProbeAnswer::decode(&bytes));
        let _ = (JoinRequest::decode(&bytes), JoinResponse::decode(&bytes));
        let _ = (GuestRequest::decode(&bytes), GuestResponse::decode(&bytes), TraceAnswer::decode(&bytes));
        let _ = (InviteRegistration::decode(&bytes), InviteAnswer::decode(&bytes), Ping::decode(&bytes));
        let _ = (VerifyCommit::decode(&bytes), VerifyNonce::decode(&bytes), VerifyDecision::decode(&bytes));
        let _ = (DirectOffer::decode(&bytes), DirectOutcome::decode(&bytes));
    }

    /// Any change of one byte is another value or an error; what is read writes back as the same bytes.
    #[test]
    fn frames_have_one_spelling(page in page(), at: prop::sample::Index, flip in 1..=255u8) {
        let mut bytes = RosterAnswer::Page(page.clone()).encode();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(read) = RosterAnswer::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
            prop_assert_ne!(read, RosterAnswer::Page(page));
        }
    }
}

#[test]
fn trailing_bytes_and_unknown_kinds_are_errors() {
    let longer = |mut bytes: Vec<u8>| {
        bytes.push(0);
        bytes
    };
    assert_eq!(
        RosterAsk::decode(&longer(RosterAsk::Renew.encode())),
        Err(DecodeError::Trailing(1))
    );
    assert_eq!(
        RosterAnswer::decode(&longer(RosterAnswer::Refused.encode())),
        Err(DecodeError::Trailing(1))
    );
    assert_eq!(
        ProbeAnswer::decode(&longer(ProbeAnswer::Sent.encode())),
        Err(DecodeError::Trailing(1))
    );
    for kind in [0, 3, 255] {
        assert_eq!(
            RosterAsk::decode(&[kind]),
            Err(DecodeError::unknown("roster question", kind))
        );
        assert_eq!(
            ProbeAnswer::decode(&[kind.max(3)]),
            Err(DecodeError::unknown("probe answer", kind.max(3)))
        );
    }
    assert_eq!(
        RosterAnswer::decode(&[5]),
        Err(DecodeError::unknown("roster answer", 5u8))
    );
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let page = Writer::new()
        .u8(1)
        .u64(0)
        .u64(0)
        .u8(0)
        .u16(0xFFFF)
        .into_vec();
    assert_eq!(RosterAnswer::decode(&page), Err(DecodeError::Truncated));
    let huge = Writer::new().u32(u32::MAX).into_vec();
    let too_long = DecodeError::TooLong {
        max: MAX_RECORD,
        got: u32::MAX as usize,
    };
    assert_eq!(MemberLists::decode(&huge), Err(too_long));
}

#[test]
fn unknown_roster_flags_are_errors() {
    for flags in 4..=255u8 {
        let page = Writer::new()
            .u8(1)
            .u64(0)
            .u64(0)
            .u8(flags)
            .u16(0)
            .u16(0)
            .into_vec();
        assert_eq!(
            RosterAnswer::decode(&page),
            Err(DecodeError::unknown("roster flags", flags))
        );
    }
}

#[test]
fn frames_between_peers_are_exact() {
    for length in [0, 31, 33, 64] {
        let bytes = vec![7; length];
        assert!(VerifyCommit::decode(&bytes).is_err() && VerifyNonce::decode(&bytes).is_err());
    }
    for byte in 2..=u8::MAX {
        let unknown = DecodeError::unknown("decision", byte);
        assert_eq!(VerifyDecision::decode(&[byte]), Err(unknown));
        assert!(TraceAnswer::decode(&[byte, 0, 0, 0, 0]).is_err());
    }
    assert_eq!(VerifyDecision::decode(&[]), Err(DecodeError::Truncated));
    assert_eq!(
        VerifyDecision::decode(&[1, 0]),
        Err(DecodeError::Trailing(1))
    );
    assert!(Ping::decode(&[0; 7]).is_err() && Ping::decode(&[0; 9]).is_err());
    let long = Writer::new().u8(0).lp([0; 256]).into_vec();
    let too_long = DecodeError::TooLong { max: 255, got: 256 };
    assert_eq!(TraceAnswer::decode(&long), Err(too_long));
}

#[test]
fn frames_of_invites_are_exact() {
    let registration = Writer::new().u8(1).bytes([7; 8]).u64(9).into_vec();
    let read = InviteRegistration {
        group: GroupId([7; 8]),
        until: 9,
    };
    assert_eq!(InviteRegistration::decode(&registration), Ok(read));
    for version in (0..=u8::MAX).filter(|version| *version != 1) {
        let other = [&[version], &registration[1..]].concat();
        let unknown = DecodeError::unknown("invite registration", version);
        assert_eq!(InviteRegistration::decode(&other), Err(unknown));
    }
    for byte in 3..=u8::MAX {
        assert!(InviteAnswer::decode(&[byte]).is_err());
    }
    // A guest proves nothing but the handshake: a field that is not empty is an error.
    for at in 1..4 {
        let fields = (0..4).map(|field| if field == 0 || field == at { "a" } else { "" });
        let request = fields.fold(Writer::new(), Writer::lp).into_vec();
        let too_long = DecodeError::TooLong { max: 0, got: 1 };
        assert_eq!(GuestRequest::decode(&request), Err(too_long));
    }
    let long = Writer::new()
        .lp("a".repeat(60))
        .lp([])
        .lp([])
        .lp([])
        .into_vec();
    assert_eq!(
        GuestRequest::decode(&long),
        Err(DecodeError::TooLong { max: 59, got: 60 })
    );
}

#[test]
fn vouchers_are_not_served() {
    let renew = Writer::new().u8(2).lp("voucher").lp([]).into_vec();
    assert_eq!(
        RosterAsk::decode(&renew),
        Err(DecodeError::TooLong { max: 0, got: 7 })
    );
}

#[test]
fn half_a_list_is_an_error() {
    let half = Writer::new()
        .u8(2)
        .lp("list")
        .lp([])
        .lp([])
        .lp([])
        .into_vec();
    assert!(matches!(
        RosterAnswer::decode(&half),
        Err(DecodeError::Invalid { .. })
    ));
}
