//! Guests of members at a whole relay: whom it serves, with what, and for how long.

use peerup_node::member::{ConnectError, MemberError};
use peerup_node::{OpenError, Protocol};
use peerup_protocol::id::{PeerName, Serial};
use peerup_protocol::record::{GuestGrant, Signed};
use tokio::time::timeout;

use super::bed::{Bed, PATIENCE, Peer, until};
use super::operator::Book;
use super::second::within_a_second;
use crate::clock::now;

/// A grant of `sponsor` for `guest`, for so many seconds.
fn grant(bed: &Bed, sponsor: &Peer, guest: &Peer, seconds: u64) -> GuestGrant {
    GuestGrant {
        net: bed.operator.net(),
        serial: Serial(500),
        sponsor: sponsor.id(),
        guest: guest.id(),
        name: PeerName::parse("laptop").unwrap(),
        issued: now(),
        not_after: now() + seconds,
    }
}

fn signed(by: &Peer, grant: &GuestGrant) -> Signed {
    Signed::sign(&by.key, grant.encode())
}

/// A relay that allows guests, with a member that may sponsor.
async fn bed() -> (Bed, Peer) {
    let bed = Bed::start_with(|book| book.guests = true).await;
    let (sponsor, _) = bed.member(1, 81).await;
    (bed, sponsor)
}

fn is_refused<T>(connected: &Result<T, ConnectError>) -> bool {
    matches!(
        connected,
        Err(ConnectError::Member(
            MemberError::Frame(_) | MemberError::Open(_)
        ))
    )
}

#[tokio::test]
async fn a_guest_reserves_and_reaches_its_sponsor_and_is_offered_nothing_of_members() {
    let (bed, sponsor) = bed().await;
    let guest = Peer::start(&bed, 11);
    let shown = signed(&sponsor, &grant(&bed, &sponsor, &guest, 600));
    let connection = guest.connect_with(&bed, shown).await.unwrap();
    let relay = bed.relay.peer_id();
    let address = bed.addresses().await.remove(0);
    guest.node.reserve(relay, address).await.unwrap();
    let circuit = bed.circuit(&sponsor).await;
    guest.node.dial(sponsor.id(), circuit).await.unwrap();
    for protocol in [
        Protocol::Roster,
        Protocol::Report,
        Protocol::Probe,
        Protocol::Invite,
    ] {
        let opened = guest.node.open_on(connection, protocol.clone()).await;
        assert!(
            matches!(opened, Err(OpenError::Unsupported)),
            "{protocol:?}: {opened:?}"
        );
    }
    let pinged = guest.node.open_on(connection, Protocol::Ping).await;
    pinged.unwrap();
    let kept = guest.node.publish(b"x".to_vec()).await;
    kept.unwrap_err();
    sponsor.node.publish(b"x".to_vec()).await.unwrap();
    bed.stop().await;
}

#[tokio::test]
async fn only_a_members_grant_for_this_very_guest_is_good() {
    let (bed, sponsor) = bed().await;
    let (guest, stranger) = (Peer::start(&bed, 11), Peer::start(&bed, 12));
    let good = grant(&bed, &sponsor, &guest, 600);
    let of_another_network = GuestGrant {
        net: peerup_protocol::id::NetworkId([7; 16]),
        ..good.clone()
    };
    let for_ever = GuestGrant {
        not_after: now() + 100 * 24 * 3600,
        ..good.clone()
    };
    for (what, shown) in [
        (
            "of somebody who is no member",
            signed(&stranger, &grant(&bed, &stranger, &guest, 600)),
        ),
        ("signed by another", signed(&stranger, &good)),
        (
            "for another guest",
            signed(&sponsor, &grant(&bed, &sponsor, &stranger, 600)),
        ),
        ("of another network", signed(&sponsor, &of_another_network)),
        ("for too long", signed(&sponsor, &for_ever)),
        ("over", signed(&sponsor, &grant(&bed, &sponsor, &guest, 0))),
    ] {
        let refused = guest.connect_with(&bed, shown).await;
        assert!(is_refused(&refused), "{what}: {refused:?}");
    }
    guest
        .connect_with(&bed, signed(&sponsor, &good))
        .await
        .unwrap();
    bed.stop().await;
}

/// What ends a guest's stay, and that it ends within a second.
async fn ends(change: impl FnOnce(&mut Book)) {
    let (bed, sponsor) = bed().await;
    let guest = Peer::start(&bed, 11);
    let shown = signed(&sponsor, &grant(&bed, &sponsor, &guest, 600));
    guest.connect_with(&bed, shown.clone()).await.unwrap();
    guest.connected(1).await;
    bed.operator.change(|book| {
        book.epoch += 1;
        change(book);
    });
    within_a_second(guest.alone()).await.unwrap();
    let refused = guest.connect_with(&bed, shown).await;
    assert!(is_refused(&refused), "{refused:?}");
    bed.stop().await;
}

#[tokio::test]
async fn a_guest_goes_when_its_grant_is_revoked() {
    ends(|book| book.revoked.push(Serial(500))).await;
}

#[tokio::test]
async fn a_guest_goes_with_its_sponsor() {
    ends(|book| book.revoked.push(Serial(81))).await;
}

#[tokio::test]
async fn guests_go_when_the_network_allows_none_any_more() {
    ends(|book| book.guests = false).await;
}

#[tokio::test]
async fn a_guest_goes_when_its_time_is_over() {
    let (bed, sponsor) = bed().await;
    let guest = Peer::start(&bed, 11);
    let grant = grant(&bed, &sponsor, &guest, 10);
    let shown = signed(&sponsor, &grant);
    guest.connect_with(&bed, shown.clone()).await.unwrap();
    guest.connected(1).await;
    until(grant.not_after).await;
    within_a_second(guest.alone()).await.unwrap();
    let refused = guest.connect_with(&bed, shown).await;
    assert!(is_refused(&refused), "{refused:?}");
    bed.stop().await;
}

#[tokio::test]
async fn without_guests_no_grant_is_good() {
    let bed = Bed::start().await;
    let (sponsor, _) = bed.member(1, 81).await;
    let guest = Peer::start(&bed, 11);
    let shown = signed(&sponsor, &grant(&bed, &sponsor, &guest, 600));
    let refused = guest.connect_with(&bed, shown).await;
    assert!(is_refused(&refused), "{refused:?}");
    bed.stop().await;
}

/// A ninth guest of one sponsor takes nobody's place.
#[tokio::test]
async fn a_sponsor_has_eight_guests_at_a_relay() {
    let (bed, sponsor) = bed().await;
    let mut guests = Vec::new();
    for seed in 11..20 {
        let guest = Peer::start(&bed, seed);
        let mut grant = grant(&bed, &sponsor, &guest, 600);
        grant.serial = Serial(seed.into());
        let connected = guest.connect_with(&bed, signed(&sponsor, &grant)).await;
        assert_eq!(connected.is_ok(), seed < 19, "{seed}: {connected:?}");
        guests.push(guest);
    }
    for guest in &guests[..8] {
        timeout(PATIENCE, guest.connected(1)).await.unwrap();
    }
    bed.stop().await;
}
