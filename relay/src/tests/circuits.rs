//! Circuits through a whole relay: of members, of guests, and of those who lose their membership.

use peerup_node::io::{read_frame, write_frame};
use peerup_node::{DialError, Protocol};
use peerup_protocol::frame::{InviteAnswer, InviteRegistration, MAX_FRAME};
use peerup_protocol::id::{GroupId, Serial};

use super::bed::{Bed, Peer, until};
use super::second::within_a_second;
use crate::clock::now;

/// Lets each of the two in at the other, and opens a circuit.
async fn join(bed: &Bed, from: &Peer, to: &Peer) {
    from.node.admit(to.id()).await;
    to.node.admit(from.id()).await;
    from.node
        .dial(to.id(), bed.circuit(to).await)
        .await
        .unwrap();
    for peer in [from, to] {
        peer.connected(2).await;
    }
}

#[tokio::test]
async fn whoever_is_revoked_loses_connections_and_circuits_within_a_second() {
    for (revoked, other) in [(0, 1), (1, 0)] {
        let bed = Bed::start().await;
        let members = [bed.member(1, 81).await, bed.member(2, 82).await];
        join(&bed, &members[0].0, &members[1].0).await;
        let carried = |text: &str| {
            text.contains("\npeerup_relay_circuits 1\n")
                && !text.contains("\npeerup_relay_bytes_total 0\n")
        };
        bed.page("/metrics", carried).await;

        let (lost, record) = &members[revoked];
        bed.operator.change(|book| {
            book.epoch += 1;
            book.revoked.push(Serial(81 + revoked as u64));
        });
        within_a_second(lost.alone()).await.unwrap();
        within_a_second(members[other].0.connected(1))
            .await
            .unwrap();
        bed.page("/metrics", |text| {
            text.contains("\npeerup_relay_circuits 0\n")
                && text.contains("\npeerup_relay_reservations 1\n")
        })
        .await;
        lost.connect(&bed, record).await.unwrap_err();
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_circuit_ends_with_the_record_of_either_side() {
    let bed = Bed::start().await;
    let (stays, _) = bed.member(1, 81).await;
    let ends = Peer::start(&bed, 2);
    let record = bed.operator.record(ends.id(), 82, 15);
    bed.operator
        .change(|book| book.members.push(record.clone()));
    ends.connect(&bed, &record).await.unwrap();
    join(&bed, &ends, &stays).await;
    until(record.not_after).await;
    within_a_second(ends.alone()).await.unwrap();
    within_a_second(stays.connected(1)).await.unwrap();
    bed.stop().await;
}

/// What the relay says to an inviter.
async fn register(bed: &Bed, inviter: &Peer, seconds: u64) -> InviteAnswer {
    let relay = bed.relay.peer_id();
    let mut stream = inviter.node.open(relay, Protocol::Invite).await.unwrap();
    let registration = InviteRegistration {
        group: GroupId([5; 8]),
        until: if seconds == 0 { 0 } else { now() + seconds },
    };
    write_frame(&mut stream, &registration.encode())
        .await
        .unwrap();
    let answer = read_frame(&mut stream, MAX_FRAME).await.unwrap();
    InviteAnswer::decode(&answer).unwrap()
}

/// Whether a stranger's circuit to `inviter` comes about.
async fn reaches(bed: &Bed, seed: u8, inviter: &Peer) -> Result<(), DialError> {
    let guest = Peer::start(bed, seed);
    let relay = bed.relay.peer_id();
    guest.node.admit(relay).await;
    let mut addresses = bed.addresses().await;
    addresses.retain(|address| address.to_string().contains("quic"));
    guest.node.dial(relay, addresses).await.unwrap();
    let circuit = bed.circuit(inviter).await;
    guest.node.dial(inviter.id(), circuit).await.map(|_| ())
}

#[tokio::test]
async fn an_inviter_registers_and_its_guest_gets_a_circuit() {
    let bed = Bed::start_with(|book| book.guests = true).await;
    let (inviter, _) = bed.member(1, 81).await;
    reaches(&bed, 11, &inviter).await.unwrap_err();
    assert_eq!(register(&bed, &inviter, 700).await, InviteAnswer::Refused);
    reaches(&bed, 12, &inviter).await.unwrap_err();
    assert_eq!(
        register(&bed, &inviter, 600).await,
        InviteAnswer::Registered
    );
    reaches(&bed, 13, &inviter).await.unwrap();
    assert_eq!(register(&bed, &inviter, 0).await, InviteAnswer::Registered);
    reaches(&bed, 14, &inviter).await.unwrap_err();
    bed.stop().await;
}

#[tokio::test]
async fn a_network_without_guests_takes_no_invites() {
    let bed = Bed::start().await;
    let (inviter, _) = bed.member(1, 81).await;
    assert_eq!(register(&bed, &inviter, 60).await, InviteAnswer::Refused);
    reaches(&bed, 11, &inviter).await.unwrap_err();
    bed.stop().await;
}
