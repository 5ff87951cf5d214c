//! Codes as people copy them, with typos, and codes of strangers.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn peer(byte: u8) -> PeerId {
    crate::id::peer_id(&crate::SigningKey::from_bytes(&[byte; 32]).verifying_key())
}

fn code(kind: CodeKind, addresses: &[&str]) -> Code {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Code {
        kind,
        net: NetworkId([1; 16]),
        group: GroupId([2; 8]),
        slot: Slot(3),
        secret: CodeSecret::new([4; 16]),
        namespace: DhtNamespace::parse("crew").unwrap(),
        not_after: 1_800_000_000,
        responders: vec![Responder {
            peer: peer(5),
            addresses,
        }],
    }
}

fn group() -> Code {
    code(
        CodeKind::Group,
        &[
            "/ip4/203.0.113.5/tcp/4001",
            "/dns6/relay.example.org/udp/4001/quic-v1",
        ],
    )
}

/// A text whose checksum is right, whatever the payload.
fn text_of(payload: &[u8]) -> String {
    let bytes = [payload, &checksum_of(payload)].concat();
    format!("peerup1-{}", BASE32_NOPAD.encode(&bytes).to_lowercase())
}

#[test]
fn case_dashes_and_white_space_do_not_matter() {
    let text = group().to_text();
    let spaced: String = text
        .expose()
        .chars()
        .flat_map(|c| [c, '-', ' ', '\n', '\u{a0}'])
        .collect();
    for variant in [
        text.expose().to_uppercase(),
        spaced,
        format!("\t {}\r\n", text.expose()),
    ] {
        assert_eq!(Code::parse(&variant), Ok(group()));
    }
}

#[test]
fn a_typo_is_seen_at_once() {
    let text = group().to_text();
    let text = text.expose();
    for at in "peerup1-".len()..text.len() {
        let mut typo = text.as_bytes().to_vec();
        typo[at] = if typo[at] == b'a' { b'b' } else { b'a' };
        let error = Code::parse(std::str::from_utf8(&typo).unwrap()).unwrap_err();
        assert!(
            matches!(error, CodeError::Checksum | CodeError::Alphabet),
            "{at}: {error}"
        );
        assert!(Code::parse(&text[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn each_mistake_has_its_words() {
    assert_eq!(Code::parse("peerup2-abc"), Err(CodeError::Prefix));
    assert_eq!(Code::parse(""), Err(CodeError::Prefix));
    assert_eq!(Code::parse("peerup1-"), Err(CodeError::Checksum));
    assert_eq!(Code::parse("peerup1-0189"), Err(CodeError::Alphabet));
    assert_eq!(
        Code::parse(&"p".repeat(MAX_TEXT + 1)),
        Err(CodeError::TooLong)
    );
    let error = Code::parse(&text_of(&[])).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the code is not understood by this version")
    );
}

#[test]
fn errors_never_repeat_the_code() {
    let text = group().to_text();
    let error = Code::parse(&format!("{}a", text.expose())).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(&text.expose()[8..20]));
    assert!(!format!("{:?}", group()).contains("4, 4"));
}

#[test]
fn other_versions_are_refused() {
    let good = group().encode();
    for (at, value) in [(0, 0), (0, 3), (1, 0), (1, 2)] {
        let mut payload = good.clone();
        payload[at] = value;
        let unknown = Code::parse(&text_of(&payload));
        assert!(
            matches!(
                unknown,
                Err(CodeError::Content(DecodeError::Unknown { .. }))
            ),
            "{at}"
        );
    }
    let longer = [good.as_slice(), &[0]].concat();
    assert_eq!(
        Code::parse(&text_of(&longer)),
        Err(CodeError::Content(DecodeError::Trailing(1)))
    );
}

#[test]
fn lists_are_not_empty_and_not_long() {
    let refused = |code: &Code| Code::parse(&text_of(&code.encode())).is_err();
    assert!(refused(&Code {
        responders: Vec::new(),
        ..group()
    }));
    assert!(refused(&code(CodeKind::Group, &[])));
    let silent = Responder {
        peer: peer(6),
        addresses: Vec::new(),
    };
    let responders = vec![silent, group().responders[0].clone()];
    let mixed = Code {
        responders,
        ..group()
    };
    let read = Code::parse(mixed.to_text().expose());
    assert_eq!(read, Ok(group()), "nobody dials without an address");
    let many = vec![group().responders[0].clone(); 12];
    let cut = Code::parse(
        Code {
            responders: many,
            ..group()
        }
        .to_text()
        .expose(),
    )
    .unwrap();
    assert_eq!(cut.responders.len(), MAX_RESPONDERS, "more are left out");
    let cut = Code::parse(
        code(CodeKind::Group, &["/ip4/10.0.0.1/tcp/1"; 12])
            .to_text()
            .expose(),
    )
    .unwrap();
    assert_eq!(cut.responders[0].addresses.len(), MAX_ADDRESSES);
    // Nine may stand in a code, ten may not; nor nine addresses. The lists start
    // after kind, suite, net, group, slot and secret (44), namespace (5) and not_after (4).
    let good = group().encode();
    let (head, list) = (&good[..53], &good[54..]);
    let repeated =
        |count: u8| [head, &[count], list.repeat(usize::from(count)).as_slice()].concat();
    assert!(Code::parse(&text_of(&repeated(9))).is_ok());
    let too_long = |max, got| Err(CodeError::Content(DecodeError::TooLong { max, got }));
    assert_eq!(Code::parse(&text_of(&repeated(10))), too_long(9, 10));
    let (peer, address) = (&list[..39], &list[40..49]);
    let repeated = |count: u8| {
        [
            head,
            &[1],
            peer,
            &[count],
            &address.repeat(usize::from(count)),
        ]
        .concat()
    };
    assert!(Code::parse(&text_of(&repeated(8))).is_ok());
    assert_eq!(Code::parse(&text_of(&repeated(9))), too_long(8, 9));
}

#[test]
fn addresses_are_hosts_with_tcp_or_quic() {
    let relay = peer(6);
    let circuit = format!("/ip4/10.0.0.1/tcp/1/p2p/{relay}/p2p-circuit");
    let read = |kind, address: &str| {
        let code = code(kind, &[address]);
        Code::parse(code.to_text().expose()) == Ok(code)
    };
    for good in [
        "/ip4/10.0.0.1/tcp/1",
        "/ip6/2a00::1/udp/1/quic-v1",
        "/dns4/a.example/tcp/1",
        "/dns6/a_b.example/udp/1/quic-v1",
    ] {
        assert!(
            read(CodeKind::Group, good) && read(CodeKind::Invite, good),
            "{good}"
        );
    }
    assert!(read(CodeKind::Invite, &circuit) && !read(CodeKind::Group, &circuit));
    for bad in [
        "/ip4/10.0.0.1",
        "/ip4/10.0.0.1/udp/1",
        "/ip4/10.0.0.1/udp/1/quic",
        "/dns/a.example/tcp/1",
        "/dns4/a b/tcp/1",
        "/dnsaddr/a.example",
        "/ip4/10.0.0.1/tcp/1/ws",
        "/unix/tmp",
        &format!("{circuit}/p2p/{relay}"),
        &format!("/ip4/10.0.0.1/tcp/1/p2p/{relay}"),
    ] {
        assert!(
            !read(CodeKind::Group, bad) && !read(CodeKind::Invite, bad),
            "{bad}"
        );
    }
}

#[test]
fn time_ends_at_not_after() {
    assert!(!group().is_expired(1_799_999_999) && group().is_expired(1_800_000_000));
}

fn codes() -> impl Strategy<Value = Code> {
    let address = (any::<[u8; 4]>(), any::<u16>(), any::<bool>()).prop_map(|(ip, port, quic)| {
        let base = Multiaddr::from(std::net::Ipv4Addr::from(ip));
        if quic {
            base.with(Protocol::Udp(port)).with(Protocol::QuicV1)
        } else {
            base.with(Protocol::Tcp(port))
        }
    });
    let responder =
        (any::<u8>(), vec(address, 1..=MAX_ADDRESSES)).prop_map(|(byte, addresses)| Responder {
            peer: peer(byte),
            addresses,
        });
    let rest = (
        "[a-z0-9]{1,63}",
        any::<u32>(),
        vec(responder, 1..=MAX_RESPONDERS),
    );
    (
        any::<bool>(),
        any::<([u8; 16], [u8; 8], u16, [u8; 16])>(),
        rest,
    )
        .prop_map(
            |(invite, (net, group, slot, secret), (namespace, not_after, responders))| Code {
                kind: if invite {
                    CodeKind::Invite
                } else {
                    CodeKind::Group
                },
                net: NetworkId(net),
                group: GroupId(group),
                slot: Slot(slot),
                secret: CodeSecret::new(secret),
                namespace: DhtNamespace::parse(&namespace).unwrap(),
                not_after,
                responders,
            },
        )
}

proptest! {
    #[test]
    fn codes_come_back(code in codes()) {
        prop_assert_eq!(Code::parse(code.to_text().expose()), Ok(code));
    }

    #[test]
    fn any_text_is_a_code_or_an_error(text in "\\PC{0,200}") {
        let _ = Code::parse(&text);
        let _ = Code::parse(&format!("peerup1-{text}"));
    }

    #[test]
    fn any_payload_is_a_code_or_an_error(payload in vec(any::<u8>(), 0..400)) {
        if let Ok(code) = Code::parse(&text_of(&payload)) {
            prop_assert_eq!(code.encode(), payload);
        }
    }

    #[test]
    fn a_damaged_payload_is_a_code_or_an_error(code in codes(), at: prop::sample::Index, byte: u8) {
        let mut payload = code.encode();
        let at = at.index(payload.len());
        payload[at] = byte;
        if let Ok(code) = Code::parse(&text_of(&payload)) {
            prop_assert_eq!(code.encode(), payload);
        }
    }
}
