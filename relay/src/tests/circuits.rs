//! Circuits through a whole relay.

use peerup_node::io::{read_frame, write_frame};
use peerup_node::{DialError, Protocol};
use peerup_protocol::frame::{InviteAnswer, InviteRegistration, MAX_FRAME};
use peerup_protocol::id::GroupId;

use super::bed::{Bed, Peer};
use crate::clock::now;

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
