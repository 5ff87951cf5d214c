//! An invite from its opening to its guest, and everybody who should not be one.

mod answer;

use peerup_protocol::frame::GuestResponse;
use peerup_protocol::id::DhtNamespace;
use peerup_protocol::secret::Secret;

use super::*;
use crate::handshake::{Joiner, M1, MAX_PLAIN, Responder};
use crate::join;
use crate::membership::GuestRefusal;

const NOW: UnixTime = 1_790_000_000;
const GROUP: GroupId = GroupId([5; 8]);
const INVITER: u8 = 4;

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn peer(byte: u8) -> PeerId {
    peer_id(&key(byte).verifying_key())
}

fn name(text: &str) -> PeerName {
    PeerName::parse(text).unwrap()
}

fn secret() -> CodeSecret {
    CodeSecret::new([9; 16])
}

fn net() -> NetworkId {
    NetworkId([1; 16])
}

/// An inviter: its book and its guests.
struct Inviter {
    invites: Invites,
    guests: Guests,
    serial: u64,
    members: BTreeSet<PeerName>,
}

impl Inviter {
    /// With one open invite, until `NOW` + 600.
    fn inviting() -> Self {
        let mut invites = Invites::new();
        let until = invites.open(GROUP, secret(), MAX_TTL_SECONDS, NOW);
        assert_eq!(until, Ok(NOW + 600));
        Self {
            invites,
            guests: Guests::new(net(), peer(INVITER)),
            serial: 0,
            members: BTreeSet::new(),
        }
    }

    fn ask(&mut self, guest: u8, called: &str, now: UnixTime) -> Decision {
        self.ask_at(GROUP, SLOT, guest, called, now)
    }

    fn ask_at(
        &mut self,
        group: GroupId,
        slot: Slot,
        guest: u8,
        called: &str,
        now: UnixTime,
    ) -> Decision {
        self.serial += 1;
        let request = GuestRequest { name: name(called) };
        let ask = Ask {
            group,
            slot,
            guest: peer(guest),
            request: &request,
        };
        let sponsor = Sponsor {
            net: net(),
            key: &key(INVITER),
            serial: Serial(self.serial),
            lifetime: u64::MAX,
            taken: &self.members,
        };
        self.invites.redeem(&mut self.guests, ask, sponsor, now)
    }

    fn lookup(&self, now: UnixTime) -> Lookup {
        self.invites.lookup(&GROUP, SLOT, now)
    }

    fn waiting(&self, now: UnixTime) -> usize {
        self.invites.waiting(now).count()
    }
}

fn refused(reason: RefusalReason, counted: bool) -> Decision {
    Decision::Refuse(Refused {
        refused: reason,
        counted,
    })
}

fn granted(decision: Decision) -> Signed {
    match decision {
        Decision::Grant(signed) => signed,
        Decision::Refuse(refused) => panic!("{refused:?}"),
    }
}

/// The code of the open invite, as its text is read.
fn code() -> peerup_protocol::code::Code {
    let circuit = format!("/ip4/203.0.113.50/tcp/4001/p2p/{}/p2p-circuit", peer(2));
    let offer = Offer {
        net: net(),
        namespace: DhtNamespace::parse("crew").unwrap(),
        inviter: peer(INVITER),
        group: GROUP,
        secret: secret(),
        not_after: NOW + 600,
        addresses: vec![circuit.parse().unwrap()],
    };
    peerup_protocol::code::Code::parse(offer.into_code().to_text().expose()).unwrap()
}

/// Both sides with the real handshake between them, over the code's text.
#[test]
fn an_invite_from_code_to_guest() {
    let mut home = Inviter::inviting();
    let code = code();
    let context = join::context(&code, peer(INVITER), peer(3));
    let request = GuestRequest {
        name: name("laptop"),
    };
    let (joiner, m1) = Joiner::start(context.clone(), &Secret::new([7; 32]));
    let m1 = M1::parse(&m1).unwrap();
    let Lookup::Known(salt_here) = home.invites.lookup(&m1.group, m1.slot, NOW) else {
        panic!("the invite is open");
    };
    let (responder, m2) = Responder::on_m1(
        m1,
        net(),
        context.namespace,
        peer(INVITER),
        peer(3),
        &Secret::new([8; 32]),
    );
    let (joiner, m3) = joiner
        .on_m2(&m2, salt(&code).expose(), &request.encode())
        .unwrap();
    let (answering, plain) = responder.on_m3(&m3, salt_here.expose()).unwrap();
    assert_eq!(GuestRequest::decode(&plain), Ok(request));
    let grant = granted(home.ask(3, "laptop", NOW));
    let response = GuestResponse {
        inviter: name("home"),
        grant: grant.clone(),
    };
    let (done, m4) = answering.accept(&response.encode()).unwrap();
    let (outcome, m5) = joiner.on_m4(&m4).unwrap();
    done.on_m5(&m5).unwrap();
    let (guest, inviter, asked) = (peer(3), peer(INVITER), name("laptop"));
    let invited = check_response(&net(), &guest, &inviter, &asked, &outcome.response, NOW).unwrap();
    let read = GuestGrant {
        net: net(),
        serial: Serial(1),
        sponsor: peer(INVITER),
        guest: peer(3),
        name: name("laptop"),
        issued: NOW,
        not_after: NOW + MAX_GUEST_SECONDS,
    };
    assert_eq!(
        invited,
        Invited {
            inviter: name("home"),
            grant: read.clone(),
            signed: grant.clone()
        }
    );
    assert_eq!(home.guests.check(&grant, &peer(3), None, NOW), Ok(read));
}

#[test]
fn the_longest_response_fits_the_padding() {
    let long = "a".repeat(63);
    let grant = GuestGrant {
        net: net(),
        serial: Serial(u64::MAX),
        sponsor: peer(INVITER),
        guest: peer(3),
        name: name(&long),
        issued: NOW,
        not_after: NOW + 1,
    };
    let grant = Signed::sign(&key(INVITER), grant.encode());
    let response = GuestResponse {
        inviter: name(&long),
        grant,
    };
    assert!(response.encode().len() <= MAX_PLAIN);
    assert_eq!(GuestResponse::decode(&response.encode()), Ok(response));
}

#[test]
fn an_invite_admits_one_guest() {
    let mut home = Inviter::inviting();
    let first = granted(home.ask(3, "laptop", NOW));
    assert_eq!(
        home.waiting(NOW),
        0,
        "no stranger has to come through any more"
    );
    assert_eq!(
        home.ask(5, "laptop", NOW),
        refused(RefusalReason::Used, true)
    );
    // The answer was lost: the same PeerId gets the same bytes, whatever name it asks for.
    assert_eq!(home.lookup(NOW + 599), Lookup::Known(secret()));
    assert_eq!(granted(home.ask(3, "laptop", NOW + 1)), first);
    assert_eq!(granted(home.ask(3, "desktop", NOW + 599)), first);
    assert_eq!(home.guests.stored().count(), 1);
    assert_eq!(
        home.ask(3, "laptop", NOW + 600),
        refused(RefusalReason::Expired, false)
    );
}

#[test]
fn three_failures_close_an_invite() {
    let mut home = Inviter::inviting();
    for reason in RefusalReason::ALL {
        if !crate::book::counts(*reason) {
            assert!(!home.invites.failed(&GROUP, *reason, NOW), "{reason}");
        }
    }
    assert!(home.invites.failed(&GROUP, RefusalReason::BadMac, NOW));
    assert!(home.invites.failed(&GROUP, RefusalReason::BadMac, NOW));
    assert_eq!(
        (home.lookup(NOW), home.waiting(NOW)),
        (Lookup::Known(secret()), 1)
    );
    assert!(home.invites.failed(&GROUP, RefusalReason::BadMac, NOW));
    assert_eq!(
        (home.lookup(NOW), home.waiting(NOW)),
        (Lookup::Unknown(RefusalReason::Burned), 0)
    );
    assert_eq!(
        home.ask(3, "laptop", NOW),
        refused(RefusalReason::Burned, false)
    );
    assert!(
        !home
            .invites
            .failed(&GroupId([6; 8]), RefusalReason::BadMac, NOW)
    );
}

/// Thieves of a used code are counted, and its guest may still ask again.
#[test]
fn a_guest_stays_when_its_invite_burns() {
    let mut home = Inviter::inviting();
    let grant = granted(home.ask(3, "laptop", NOW));
    for _ in 0..MAX_FAILURES {
        assert_eq!(
            home.ask(5, "thief", NOW),
            refused(RefusalReason::Used, true)
        );
    }
    assert_eq!(
        home.ask(5, "thief", NOW),
        refused(RefusalReason::Used, false)
    );
    assert_eq!(granted(home.ask(3, "laptop", NOW)), grant);
}

#[test]
fn an_invite_ends() {
    let mut home = Inviter::inviting();
    assert_eq!(
        (home.lookup(NOW + 599), home.waiting(NOW + 599)),
        (Lookup::Known(secret()), 1)
    );
    assert_eq!(
        (home.lookup(NOW + 600), home.waiting(NOW + 600)),
        (Lookup::Unknown(RefusalReason::Expired), 0)
    );
    assert_eq!(
        home.ask(3, "laptop", NOW + 600),
        refused(RefusalReason::Expired, false)
    );
    home.invites.forget_ended(NOW + 600);
    assert_eq!(
        home.lookup(NOW + 600),
        Lookup::Unknown(RefusalReason::UnknownGroup)
    );
    assert_eq!(home.guests.stored().count(), 0);
}

#[test]
fn only_the_one_slot_of_a_known_group_is_an_invite() {
    let mut home = Inviter::inviting();
    for slot in [1, 2, 0xFFFF].map(Slot) {
        let unknown = Lookup::Unknown(RefusalReason::UnknownSlot);
        assert_eq!(home.invites.lookup(&GROUP, slot, NOW), unknown);
        let decided = home.ask_at(GROUP, slot, 3, "laptop", NOW);
        assert_eq!(decided, refused(RefusalReason::UnknownSlot, false));
    }
    let other = GroupId([6; 8]);
    let unknown = Lookup::Unknown(RefusalReason::UnknownGroup);
    assert_eq!(home.invites.lookup(&other, SLOT, NOW), unknown);
    let decided = home.ask_at(other, SLOT, 3, "laptop", NOW);
    assert_eq!(decided, refused(RefusalReason::UnknownGroup, false));
}

#[test]
fn an_inviter_changes_its_mind() {
    let mut home = Inviter::inviting();
    assert!(home.invites.close(&GROUP) && !home.invites.close(&GROUP));
    assert_eq!(
        (home.lookup(NOW), home.waiting(NOW)),
        (Lookup::Unknown(RefusalReason::Revoked), 0)
    );
    assert_eq!(
        home.ask(3, "laptop", NOW),
        refused(RefusalReason::Revoked, false)
    );
    // A guest that is revoked does not come back by the same code.
    let mut home = Inviter::inviting();
    granted(home.ask(3, "laptop", NOW));
    assert!(
        !home.invites.close(&GROUP),
        "a used invite is closed by revoking its guest"
    );
    assert!(home.guests.revoke(Serial(1)));
    assert_eq!(
        home.ask(3, "laptop", NOW),
        refused(RefusalReason::Revoked, false)
    );
    assert_eq!(
        home.ask(5, "laptop", NOW),
        refused(RefusalReason::Used, true)
    );
}

#[test]
fn guests_of_one_sponsor_have_names_of_their_own() {
    let mut home = Inviter::inviting();
    let other = GroupId([6; 8]);
    home.invites.open(other, secret(), 60, NOW).unwrap();
    let called = |signed: &Signed| GuestGrant::decode(&signed.bytes).unwrap().name;
    let first = granted(home.ask(3, "laptop", NOW));
    let second = granted(home.ask_at(other, SLOT, 5, "laptop", NOW));
    assert_eq!(
        [called(&first), called(&second)],
        [name("laptop"), name("laptop-2")]
    );
    // A guest that is invited again keeps its name, and has one grant.
    let again = GroupId([7; 8]);
    home.invites.open(again, secret(), 60, NOW).unwrap();
    let third = granted(home.ask_at(again, SLOT, 3, "laptop", NOW));
    assert_eq!(
        (called(&third), home.guests.stored().count()),
        (name("laptop"), 2)
    );
}

#[test]
fn no_guest_is_taken_for_a_member() {
    let mut home = Inviter::inviting();
    home.members = [name("db"), name("db-2")].into();
    let grant = granted(home.ask(3, "db", NOW));
    let called = GuestGrant::decode(&grant.bytes).unwrap().name;
    assert_eq!(called, name("db-3"));
}

#[test]
fn a_sponsor_with_eight_guests_takes_no_more() {
    let mut home = Inviter::inviting();
    for guest in 10..18 {
        let group = GroupId([guest; 8]);
        home.invites.open(group, secret(), 60, NOW).unwrap();
        granted(home.ask_at(group, SLOT, guest, "laptop", NOW));
        home.invites.open.remove(&group);
    }
    assert_eq!(
        home.ask(3, "laptop", NOW),
        refused(RefusalReason::Full, false)
    );
    assert_eq!(home.waiting(NOW), 1, "the invite is not used up");
    assert!(home.guests.revoke(Serial(1)));
    granted(home.ask(3, "laptop", NOW));
}

#[test]
fn invites_are_bounded() {
    let mut invites = Invites::new();
    let mut open = |byte: u8, ttl: u64, now| invites.open(GroupId([byte; 8]), secret(), ttl, now);
    for ttl in [0, 601, u64::MAX] {
        assert_eq!(open(1, ttl, NOW), Err(OpenError::Ttl(ttl)));
    }
    for byte in 1..=8 {
        assert_eq!(open(byte, 60, NOW), Ok(NOW + 60));
    }
    assert_eq!(open(1, 60, NOW), Err(OpenError::Group));
    assert_eq!(open(9, 60, NOW), Err(OpenError::TooMany));
    assert_eq!(open(9, 60, NOW + 60), Ok(NOW + 120), "the others are over");
}

#[test]
fn closed_invites_make_room_and_are_bounded() {
    let mut invites = Invites::new();
    let group = |number: u8| GroupId([number; 8]);
    for number in 0..100 {
        let opened = invites.open(group(number), secret(), 60, NOW);
        assert_eq!(opened, Ok(NOW + 60), "{number}");
        if number % 2 == 0 {
            invites.cancel(&group(number));
        } else {
            assert!(invites.close(&group(number)));
        }
    }
    assert_eq!(invites.open.len(), MAX_INVITES);
    let last = invites.lookup(&group(99), SLOT, NOW);
    assert_eq!(last, Lookup::Unknown(RefusalReason::Revoked));
}
