//! Records come back as they went; signatures are strict.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;
use crate::id::{DhtNamespace, NetworkId, PeerName, Serial, peer_id};
use crate::wire::{DecodeError, Writer};
use crate::{Multiaddr, PeerId};

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn peer(byte: u8) -> PeerId {
    peer_id(&key(byte).verifying_key())
}

fn member() -> impl Strategy<Value = MemberRecord> {
    let numbers = any::<([u8; 16], u64, u8, u64, u64)>();
    let method = prop::sample::select(vec![Method::Code, Method::Attested, Method::Voucher]);
    (numbers, "[a-z0-9]{1,63}", "[ -~]{0,253}", method).prop_map(
        |((net, serial, byte, issued, not_after), name, subject, method)| MemberRecord {
            net: NetworkId(net),
            serial: Serial(serial),
            peer: peer(byte),
            name: PeerName::parse(&name).unwrap(),
            subject,
            method,
            issued,
            not_after,
        },
    )
}

fn grant() -> impl Strategy<Value = GuestGrant> {
    let numbers = any::<([u8; 16], u64, u8, u8, u64, u64)>();
    (numbers, "[a-z0-9]{1,63}").prop_map(
        |((net, serial, sponsor, guest, issued, not_after), name)| GuestGrant {
            net: NetworkId(net),
            serial: Serial(serial),
            sponsor: peer(sponsor),
            guest: peer(guest),
            name: PeerName::parse(&name).unwrap(),
            issued,
            not_after,
        },
    )
}

fn revocations() -> impl Strategy<Value = Revocations> {
    (
        any::<([u8; 16], u64, u64)>(),
        btree_set(any::<u64>().prop_map(Serial), 0..200),
    )
        .prop_map(|((net, epoch, issued), serials)| Revocations {
            net: NetworkId(net),
            epoch,
            issued,
            serials,
        })
}

fn document() -> impl Strategy<Value = NetworkDocument> {
    let address = any::<([u8; 4], u16)>().prop_map(|(ip, port)| {
        Multiaddr::from(std::net::Ipv4Addr::from(ip)).with(multiaddr::Protocol::Udp(port))
    });
    let relay =
        (any::<u8>(), vec(address, 0..=MAX_RELAY_ADDRESSES)).prop_map(|(byte, addresses)| Relay {
            peer: peer(byte),
            addresses,
        });
    let flags = any::<(bool, bool, bool, bool)>().prop_map(
        |(guests, access_default_deny, verification_required, stale_refused)| Flags {
            guests,
            access_default_deny,
            verification_required,
            stale_refused,
        },
    );
    let lists = (
        vec(relay, 0..=MAX_RELAYS),
        vec("[ -~]{0,253}", 0..=MAX_ACCESS_RULES),
    );
    (
        any::<([u8; 16], u64, u64)>(),
        "[a-z0-9]{1,63}",
        "[ -~]{0,32}",
        flags,
        lists,
    )
        .prop_map(
            |((net, epoch, issued), namespace, cluster, flags, (relays, access))| NetworkDocument {
                net: NetworkId(net),
                epoch,
                issued,
                namespace: DhtNamespace::parse(&namespace).unwrap(),
                cluster,
                flags,
                relays,
                access,
            },
        )
}

proptest! {
    #[test]
    fn records_come_back(member in member(), grant in grant(), list in revocations(), document in document()) {
        prop_assert_eq!(RecordKind::of(&member.encode()), Some(RecordKind::Member));
        prop_assert_eq!(RecordKind::of(&grant.encode()), Some(RecordKind::Guest));
        prop_assert_eq!(RecordKind::of(&list.encode()), Some(RecordKind::Revocations));
        prop_assert_eq!(RecordKind::of(&document.encode()), Some(RecordKind::Network));
        prop_assert_eq!(MemberRecord::decode(&member.encode()), Ok(member));
        prop_assert_eq!(GuestGrant::decode(&grant.encode()), Ok(grant));
        prop_assert_eq!(Revocations::decode(&list.encode()), Ok(list));
        prop_assert_eq!(NetworkDocument::decode(&document.encode()), Ok(document));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..600)) {
        let _ = (MemberRecord::decode(&bytes), Revocations::decode(&bytes), NetworkDocument::decode(&bytes));
        let _ = (GuestGrant::decode(&bytes), RecordKind::of(&bytes));
    }

    /// A damaged record is another record or an error, and reads back as it is written.
    #[test]
    fn records_have_one_spelling(member in member(), grant in grant(), document in document(), at: prop::sample::Index, flip in 1..=255u8) {
        let mut bytes = member.encode();
        let index = at.index(bytes.len());
        bytes[index] ^= flip;
        if let Ok(read) = MemberRecord::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
        let mut bytes = grant.encode();
        let index = at.index(bytes.len());
        bytes[index] ^= flip;
        if let Ok(read) = GuestGrant::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
        let mut bytes = document.encode();
        let index = at.index(bytes.len());
        bytes[index] ^= flip;
        if let Ok(read) = NetworkDocument::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn a_signature_is_for_these_bytes_and_this_key(bytes in vec(any::<u8>(), 1..200), at: prop::sample::Index, flip in 1..=255u8) {
        let signed = Signed::sign(&key(1), bytes);
        let public = key(1).verifying_key();
        prop_assert_eq!(signed.verify(&public), Ok(()));
        prop_assert!(signed.verify(&key(2).verifying_key()).is_err());
        let mut other = signed.clone();
        let index = at.index(other.bytes.len());
        other.bytes[index] ^= flip;
        prop_assert!(other.verify(&public).is_err());
        let mut other = signed.clone();
        other.signature[at.index(64)] ^= flip;
        prop_assert!(other.verify(&public).is_err());
        let json = serde_json::to_string(&signed).unwrap();
        prop_assert_eq!(serde_json::from_str::<Signed>(&json).unwrap(), signed);
    }
}

/// Ed25519 as RFC 8032 alone defines it accepts s + L; strict checking does not.
#[test]
fn a_signature_has_one_spelling() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut signed = Signed::sign(&key(1), b"x".to_vec());
    let mut carry = 0;
    for (byte, order) in signed.signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert!(signed.verify(&key(1).verifying_key()).is_err());
}

/// With a key of small order one signature is good for every message; strict checking refuses the key.
#[test]
fn keys_of_small_order_sign_nothing() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let weak = VerifyingKey::from_bytes(&identity).unwrap();
    let mut signature = [0; 64];
    signature[0] = 1;
    for message in ["a", "b"] {
        let signed = Signed {
            bytes: message.into(),
            signature,
        };
        assert!(signed.verify(&weak).is_err());
    }
}

#[test]
fn labels_tell_records_apart() {
    let list = Revocations {
        net: NetworkId([0; 16]),
        epoch: 0,
        issued: 0,
        serials: [].into(),
    }
    .encode();
    assert_eq!(
        MemberRecord::decode(&list),
        Err(DecodeError::Label {
            expected: "peerup/1/member"
        })
    );
    assert_eq!(
        GuestGrant::decode(&list),
        Err(DecodeError::Label {
            expected: "peerup/1/guest"
        })
    );
    assert_eq!(
        NetworkDocument::decode(&list),
        Err(DecodeError::Label {
            expected: "peerup/1/network"
        })
    );
    assert_eq!(RecordKind::of(b""), None);
    assert_eq!(
        RecordKind::of(&Writer::new().lp("peerup/1/voucher").into_vec()),
        None
    );
}

#[test]
fn serials_ascend_and_are_bounded() {
    let list = |count: u32, serials: &[u64]| {
        let w = Writer::new()
            .lp("peerup/1/revoked")
            .bytes([0; 16])
            .u64(1)
            .u64(1)
            .u32(count);
        Revocations::decode(
            &serials
                .iter()
                .fold(w, |w, serial| w.u64(*serial))
                .into_vec(),
        )
    };
    assert!(list(2, &[5, 9]).is_ok());
    assert!(list(2, &[9, 5]).is_err() && list(2, &[5, 5]).is_err() && list(1, &[5, 9]).is_err());
    assert_eq!(
        list(4097, &[]),
        Err(DecodeError::TooLong {
            max: 4096,
            got: 4097
        })
    );
    let full: Vec<u64> = (0..4096).collect();
    assert_eq!(list(4096, &full).unwrap().serials.len(), MAX_REVOCATIONS);
}

#[test]
fn the_newer_list_is_the_greater() {
    let list = |epoch, issued| Revocations {
        net: NetworkId([0; 16]),
        epoch,
        issued,
        serials: [].into(),
    };
    assert!(
        list(2, 0).version() > list(1, 9).version() && list(1, 9).version() > list(1, 8).version()
    );
    assert!(!list(1, 0).contains(Serial(1)));
}

#[test]
fn what_does_not_fit_a_document_is_left_out() {
    let relay = Relay {
        peer: peer(1),
        addresses: vec!["/ip4/10.0.0.1/udp/3478".parse().unwrap(); 20],
    };
    let document = NetworkDocument {
        net: NetworkId([0; 16]),
        epoch: 1,
        issued: 1,
        namespace: DhtNamespace::parse("crew").unwrap(),
        cluster: "local".to_owned(),
        flags: Flags::default(),
        relays: vec![relay; 12],
        access: vec!["*=*".to_owned(); 100],
    };
    let read = NetworkDocument::decode(&document.encode()).unwrap();
    assert_eq!(
        (
            read.relays.len(),
            read.relays[0].addresses.len(),
            read.access.len()
        ),
        (9, 16, 64)
    );
}

#[test]
fn unknown_methods_and_flags_are_errors() {
    for method in [0, 4, 255] {
        assert!(Method::try_from(method).is_err());
    }
    let member = MemberRecord {
        net: NetworkId([0; 16]),
        serial: Serial(1),
        peer: peer(1),
        name: PeerName::parse("a").unwrap(),
        subject: String::new(),
        method: Method::Code,
        issued: 0,
        not_after: 0,
    };
    let mut bytes = member.encode();
    let at = bytes.len() - 17;
    bytes[at] = 4;
    assert_eq!(
        MemberRecord::decode(&bytes),
        Err(DecodeError::unknown("method", 4u8))
    );
}

#[test]
fn two_relays_serve_a_peer_and_everyone_finds_the_same() {
    let relays = |bytes: &[u8]| NetworkDocument {
        net: NetworkId([0; 16]),
        epoch: 1,
        issued: 1,
        namespace: DhtNamespace::parse("crew").unwrap(),
        cluster: String::new(),
        flags: Flags::default(),
        relays: bytes
            .iter()
            .map(|byte| Relay {
                peer: peer(*byte),
                addresses: Vec::new(),
            })
            .collect(),
        access: Vec::new(),
    };
    let chosen = |bytes: &[u8], who: u8| -> Vec<PeerId> {
        relays_of(&relays(bytes), &peer(who))
            .iter()
            .map(|relay| relay.peer)
            .collect()
    };
    assert!(chosen(&[], 9).is_empty());
    assert_eq!(chosen(&[1], 9), [peer(1)]);
    for who in 10..40 {
        let two = chosen(&[1, 2, 3, 4], who);
        assert_eq!((two.len(), &two), (2, &chosen(&[4, 3, 2, 1], who)));
        // One relay less moves only those that it served.
        for gone in 1..=4 {
            let left: Vec<u8> = (1..=4).filter(|byte| *byte != gone).collect();
            if !two.contains(&peer(gone)) {
                assert_eq!(chosen(&left, who), two);
            }
        }
    }
    let first: std::collections::BTreeSet<_> =
        (10..40).map(|who| chosen(&[1, 2, 3, 4], who)[0]).collect();
    assert_eq!(first.len(), 4, "peers are spread over the relays");
}
