//! Grants are good between sponsor and guest, and for nobody and nothing else.

use peerup_protocol::SigningKey;
use peerup_protocol::id::peer_id;

use super::*;

const NOW: UnixTime = 1500;
/// Keys of the tests: a sponsor, its guest, others.
const SPONSOR: u8 = 2;
const GUEST: u8 = 3;
const OTHER: u8 = 4;

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn peer(byte: u8) -> PeerId {
    peer_id(&key(byte).verifying_key())
}

fn net() -> NetworkId {
    NetworkId([1; 16])
}

fn grant() -> GuestGrant {
    GuestGrant {
        net: net(),
        serial: Serial(77),
        sponsor: peer(SPONSOR),
        guest: peer(GUEST),
        name: PeerName::parse("laptop").unwrap(),
        issued: 1000,
        not_after: 2000,
    }
}

fn signed(grant: &GuestGrant, signer: u8) -> Signed {
    Signed::sign(&key(signer), grant.encode())
}

fn revoked(serial: u64) -> Revocations {
    Revocations {
        net: net(),
        epoch: 1,
        issued: 1000,
        serials: [Serial(serial)].into(),
    }
}

/// The sponsor's list with this grant.
fn guests(grant: &GuestGrant) -> Guests {
    let mut guests = Guests::new(net(), peer(SPONSOR));
    let signed = signed(grant, SPONSOR);
    guests.insert(grant.clone(), signed, NOW).unwrap();
    guests
}

#[test]
fn sponsor_guest_and_relay_accept_a_good_grant() {
    let good = signed(&grant(), SPONSOR);
    let (sponsor, guest) = (peer(SPONSOR), peer(GUEST));
    let own = check_own_grant(&good, &net(), &guest, &sponsor, NOW);
    assert_eq!(own, Ok(grant()));
    let shown = guests(&grant()).check(&good, &guest, Some(&revoked(76)), NOW);
    assert_eq!(shown, Ok(grant()));
    assert_eq!(check_sponsor(&grant(), &sponsor, NOW), Ok(()));
    assert_eq!(at_relay(&good, GUEST, |_| {}), Ok(grant()));
}

/// The end of a grant of so many days, and a little more.
fn over(days: u64, more: u64) -> UnixTime {
    1000 + days * 86_400 + more
}

/// Grants with one fault each.
fn bad_grants() -> [(GuestGrant, GuestRefusal); 7] {
    use GuestRefusal as Is;
    let good = grant();
    [
        (
            GuestGrant {
                net: NetworkId([2; 16]),
                ..good.clone()
            },
            Is::OtherNetwork,
        ),
        (
            GuestGrant {
                guest: peer(OTHER),
                ..good.clone()
            },
            Is::OtherGuest,
        ),
        (
            GuestGrant {
                not_after: over(30, 1),
                ..good.clone()
            },
            Is::TooLong,
        ),
        (
            GuestGrant {
                not_after: u64::MAX,
                ..good.clone()
            },
            Is::TooLong,
        ),
        (
            GuestGrant {
                issued: NOW + 61,
                not_after: 9000,
                ..good.clone()
            },
            Is::Future,
        ),
        (
            GuestGrant {
                not_after: NOW,
                ..good.clone()
            },
            Is::Expired,
        ),
        (
            GuestGrant {
                not_after: 0,
                ..good.clone()
            },
            Is::Expired,
        ),
    ]
}

/// What everybody refuses, whoever checks.
#[test]
fn each_fault_has_its_name() {
    for (bad, refusal) in bad_grants() {
        let signed = signed(&bad, SPONSOR);
        let own = check_own_grant(&signed, &net(), &peer(GUEST), &peer(SPONSOR), NOW);
        assert_eq!(own, Err(refusal.clone()), "{bad:?}");
        let list = guests(&GuestGrant {
            not_after: 9000,
            ..bad.clone()
        });
        assert_eq!(
            list.check(&signed, &peer(GUEST), None, NOW),
            Err(refusal.clone())
        );
        assert_eq!(at_relay(&signed, GUEST, |_| {}), Err(refusal));
    }
    let garbage = Signed::sign(&key(SPONSOR), b"garbage".to_vec());
    let own = check_own_grant(&garbage, &net(), &peer(GUEST), &peer(SPONSOR), NOW);
    assert!(matches!(own, Err(GuestRefusal::Decode(_))));
}

#[test]
fn the_longest_grant_and_a_little_skew_pass() {
    let good = grant();
    for good in [
        GuestGrant {
            not_after: over(30, 0),
            ..good.clone()
        },
        GuestGrant {
            issued: NOW + 60,
            not_after: 9000,
            ..good
        },
    ] {
        let own = check_own_grant(
            &signed(&good, SPONSOR),
            &net(),
            &peer(GUEST),
            &peer(SPONSOR),
            NOW,
        );
        assert_eq!(own, Ok(good));
    }
}

/// A guest that makes its own grant, or changes the one it has.
#[test]
fn only_the_sponsor_signs() {
    let longer = GuestGrant {
        not_after: 3000,
        ..grant()
    };
    for forged in [
        signed(&longer, GUEST),
        signed(&grant(), GUEST),
        signed(&grant(), OTHER),
    ] {
        let refused = Err(GuestRefusal::BadSignature);
        assert_eq!(
            guests(&grant()).check(&forged, &peer(GUEST), None, NOW),
            refused
        );
        assert_eq!(at_relay(&forged, GUEST, |_| {}), refused);
    }
    let mut changed = signed(&grant(), SPONSOR);
    changed.bytes = longer.encode();
    assert_eq!(
        at_relay(&changed, GUEST, |_| {}),
        Err(GuestRefusal::BadSignature)
    );
}

/// A guest that goes with its grant to a member that is not its sponsor.
#[test]
fn a_grant_is_for_its_sponsor_only() {
    let good = signed(&grant(), SPONSOR);
    let mut of_another = Guests::new(net(), peer(OTHER));
    let own = GuestGrant {
        sponsor: peer(OTHER),
        ..grant()
    };
    of_another
        .insert(own.clone(), signed(&own, OTHER), NOW)
        .unwrap();
    let refused = of_another.check(&good, &peer(GUEST), None, NOW);
    assert_eq!(refused, Err(GuestRefusal::OtherSponsor));
    assert_eq!(
        check_sponsor(&grant(), &peer(OTHER), NOW),
        Err(GuestRefusal::OtherSponsor)
    );
    assert_eq!(
        check_sponsor(&grant(), &peer(SPONSOR), 2000),
        Err(GuestRefusal::Expired)
    );
    // And somebody else who has got hold of the grant.
    let stolen = guests(&grant()).check(&good, &peer(OTHER), None, NOW);
    assert_eq!(stolen, Err(GuestRefusal::OtherGuest));
    assert_eq!(
        at_relay(&good, OTHER, |_| {}),
        Err(GuestRefusal::OtherGuest)
    );
}

#[test]
fn a_revoked_guest_is_refused() {
    let good = signed(&grant(), SPONSOR);
    let mut list = guests(&grant());
    let check =
        |list: &Guests, lists: Option<&Revocations>| list.check(&good, &peer(GUEST), lists, NOW);
    assert_eq!(
        check(&list, Some(&revoked(77))),
        Err(GuestRefusal::Revoked),
        "by the operator"
    );
    assert!(!list.revoke(Serial(76)) && check(&list, None).is_ok());
    assert!(list.revoke(Serial(77)) && !list.revoke(Serial(77)));
    assert_eq!(
        check(&list, None),
        Err(GuestRefusal::Revoked),
        "by the sponsor"
    );
    // A newer grant of the same guest is in the list; the old one is not good again.
    let newer = GuestGrant {
        serial: Serial(78),
        ..grant()
    };
    assert_eq!(check(&guests(&newer), None), Err(GuestRefusal::Revoked));
    // The same serial with other content is none that was given out.
    let longer = GuestGrant {
        not_after: 3000,
        ..grant()
    };
    assert_eq!(check(&guests(&longer), None), Err(GuestRefusal::Revoked));
}

/// What a relay may see otherwise than all is well.
#[derive(Clone, Default)]
struct Seen {
    closed: bool,
    list: Option<Revocations>,
    served: BTreeMap<PeerId, GuestGrant>,
    gone: bool,
}

fn at_relay(
    signed: &Signed,
    from: u8,
    change: impl FnOnce(&mut Seen),
) -> Result<GuestGrant, GuestRefusal> {
    let mut seen = Seen::default();
    change(&mut seen);
    let view = RelayView {
        net: &net(),
        guests_allowed: !seen.closed,
        revocations: seen.list.as_ref(),
        served: &seen.served,
    };
    let is_member = |sponsor: &PeerId| !seen.gone && *sponsor == peer(SPONSOR);
    check_at_relay(view, signed, &peer(from), is_member, NOW)
}

#[test]
fn a_relay_serves_guests_of_members_while_the_network_allows_it() {
    let good = signed(&grant(), SPONSOR);
    let refused = |change: fn(&mut Seen)| at_relay(&good, GUEST, change).unwrap_err();
    assert_eq!(refused(|seen| seen.closed = true), GuestRefusal::NotAllowed);
    assert_eq!(
        refused(|seen| seen.gone = true),
        GuestRefusal::UnknownSponsor
    );
    assert_eq!(
        refused(|seen| seen.list = Some(revoked(77))),
        GuestRefusal::Revoked
    );
    // A guest is no member: it cannot be a sponsor. Nor can a stranger be its own.
    for sponsor in [GUEST, OTHER] {
        let own = GuestGrant {
            sponsor: peer(sponsor),
            guest: peer(OTHER),
            ..grant()
        };
        let refused = at_relay(&signed(&own, sponsor), OTHER, |_| {});
        assert_eq!(refused, Err(GuestRefusal::UnknownSponsor));
    }
}

#[test]
fn a_relay_serves_eight_guests_of_a_sponsor() {
    let good = signed(&grant(), SPONSOR);
    let of = |sponsor: u8, guest: u8| {
        let grant = GuestGrant {
            sponsor: peer(sponsor),
            guest: peer(guest),
            ..grant()
        };
        (grant.guest, grant)
    };
    let serving = |others: Vec<(PeerId, GuestGrant)>| {
        at_relay(&good, GUEST, |seen| {
            seen.served = others.into_iter().collect()
        })
    };
    let eight = |sponsor: u8| {
        (100..108)
            .map(move |guest| of(sponsor, guest))
            .collect::<Vec<_>>()
    };
    assert_eq!(serving(eight(SPONSOR)), Err(GuestRefusal::TooMany));
    assert!(serving(eight(SPONSOR)[1..].to_vec()).is_ok());
    assert!(
        serving(eight(OTHER)).is_ok(),
        "other sponsors have guests of their own"
    );
    // One that is served already may come again.
    let mut with_itself = eight(SPONSOR);
    with_itself[0] = of(SPONSOR, GUEST);
    assert!(serving(with_itself).is_ok());
}

#[test]
fn a_sponsor_has_eight_guests() {
    let mut list = Guests::new(net(), peer(SPONSOR));
    let of = |guest: u8, not_after: UnixTime| {
        let serial = Serial(u64::from(guest));
        GuestGrant {
            serial,
            guest: peer(guest),
            not_after,
            ..grant()
        }
    };
    let mut add = |guest: u8, now: UnixTime| {
        let grant = of(guest, 2000 + u64::from(guest));
        let signed = signed(&grant, SPONSOR);
        list.insert(grant, signed, now).map(|()| list.grants.len())
    };
    for guest in 100..108 {
        add(guest, NOW).unwrap();
    }
    assert_eq!(add(108, NOW), Err(GuestRefusal::TooMany));
    assert_eq!(add(107, NOW), Ok(8), "the same guest again");
    assert_eq!(add(108, 2100), Ok(8), "one is over");
    assert_eq!(list.live(2103).count(), 5);
}

#[test]
fn stored_guests_are_checked_when_they_are_loaded() {
    let list = guests(&grant());
    let stored: Vec<_> = list.stored().cloned().collect();
    let load = |stored: Vec<Signed>, now| Guests::load(net(), peer(SPONSOR), stored, now);
    assert_eq!(load(stored.clone(), NOW), Ok(list.clone()));
    let early = load(stored.clone(), NOW - 900);
    assert_eq!(early, Ok(list), "a clock that is behind");
    assert_eq!(load(stored, 2000), Ok(Guests::new(net(), peer(SPONSOR))));
    let forged = load(vec![signed(&grant(), GUEST)], NOW);
    assert_eq!(forged, Err(GuestRefusal::BadSignature));
    let foreign = GuestGrant {
        sponsor: peer(OTHER),
        ..grant()
    };
    let foreign = load(vec![signed(&foreign, OTHER)], NOW);
    assert_eq!(foreign, Err(GuestRefusal::OtherSponsor));
    let nine = (100..109).map(|guest| {
        signed(
            &GuestGrant {
                guest: peer(guest),
                ..grant()
            },
            SPONSOR,
        )
    });
    assert_eq!(load(nine.collect(), NOW), Err(GuestRefusal::TooMany));
}
