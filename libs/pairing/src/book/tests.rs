//! The tables of redemption and of failures.

use peerup_protocol::SigningKey;
use peerup_protocol::id::peer_id;

use super::*;

const END: UnixTime = 1000;

fn peer(byte: u8) -> PeerId {
    peer_id(&SigningKey::from_bytes(&[byte; 32]).verifying_key())
}

fn group(states: &[SlotState]) -> Group {
    let slots = states
        .iter()
        .enumerate()
        .map(|(slot, state)| (Slot(slot as u16), *state));
    Group {
        not_after: END,
        failed: 0,
        max_failed: 3,
        slots: slots.collect(),
    }
}

fn used(byte: u8) -> SlotState {
    SlotState::Used(Holder::Active(peer(byte)))
}

fn refused(reason: RefusalReason, counted: bool) -> Redeem {
    Redeem::Refuse(Refused {
        refused: reason,
        counted,
    })
}

#[test]
fn redeem_table() {
    let revoked = |byte| SlotState::Used(Holder::Revoked(peer(byte)));
    for (state, now, expected) in [
        (SlotState::Available, END - 1, Redeem::Admit),
        (
            SlotState::Available,
            END,
            refused(RefusalReason::Expired, false),
        ),
        (used(1), END - 1, Redeem::Again),
        (used(1), END, refused(RefusalReason::Expired, false)),
        (used(2), END - 1, refused(RefusalReason::Used, true)),
        (used(2), END, refused(RefusalReason::Expired, false)),
        (revoked(1), 0, refused(RefusalReason::Revoked, false)),
        (revoked(2), 0, refused(RefusalReason::Used, true)),
        (
            SlotState::Used(Holder::Gone),
            0,
            refused(RefusalReason::Closed, false),
        ),
        (
            SlotState::Expired,
            0,
            refused(RefusalReason::Expired, false),
        ),
        (SlotState::Burned, 0, refused(RefusalReason::Burned, false)),
        (
            SlotState::Revoked,
            0,
            refused(RefusalReason::Revoked, false),
        ),
    ] {
        assert_eq!(
            group(&[state]).redeem(Slot(0), &peer(1), now),
            expected,
            "{state:?} at {now}"
        );
    }
    let unknown = group(&[SlotState::Available]).redeem(Slot(1), &peer(1), 0);
    assert_eq!(unknown, refused(RefusalReason::UnknownSlot, false));
}

#[test]
fn three_failures_burn_what_is_unused() {
    let mut book = group(&[
        SlotState::Available,
        used(1),
        SlotState::Expired,
        SlotState::Available,
    ]);
    assert!(book.fail(RefusalReason::BadMac, 0) && book.fail(RefusalReason::BadSignature, 0));
    assert_eq!(
        (book.failed, book.remaining(), book.is_burned()),
        (2, 2, false)
    );
    assert!(book.fail(RefusalReason::Used, 0));
    assert!(book.is_burned());
    let states: Vec<_> = book.slots.values().copied().collect();
    assert_eq!(
        states,
        [
            SlotState::Burned,
            used(1),
            SlotState::Expired,
            SlotState::Burned
        ]
    );
    assert_eq!(
        book.redeem(Slot(1), &peer(1), 0),
        Redeem::Again,
        "members of a burned group stay"
    );
    assert!(
        !book.fail(RefusalReason::BadMac, 0),
        "a burned group counts no further"
    );
    assert_eq!(book.failed, 3);
}

#[test]
fn accidents_are_not_counted() {
    for reason in RefusalReason::ALL {
        let mut book = group(&[SlotState::Available]);
        let counted = matches!(
            reason,
            RefusalReason::BadMac | RefusalReason::BadSignature | RefusalReason::Used
        );
        assert_eq!(book.fail(*reason, 0), counted, "{reason}");
        assert_eq!(book.failed, u32::from(counted), "{reason}");
    }
}

#[test]
fn a_group_that_is_over_counts_nothing() {
    let mut book = group(&[SlotState::Available]);
    assert!(!book.fail(RefusalReason::BadMac, END));
    assert_eq!(book.failed, 0);
}

#[test]
fn every_counted_refusal_is_a_counted_reason() {
    for state in [
        SlotState::Available,
        used(2),
        SlotState::Used(Holder::Revoked(peer(2))),
        SlotState::Burned,
    ] {
        if let Redeem::Refuse(Refused { refused, counted }) =
            group(&[state]).redeem(Slot(0), &peer(1), 0)
        {
            assert_eq!(counts(refused), counted, "{state:?}");
        }
    }
}

#[test]
fn final_states_stay() {
    for state in [
        used(1),
        SlotState::Expired,
        SlotState::Burned,
        SlotState::Revoked,
    ] {
        let mut book = group(&[state]);
        assert!(!book.take(Slot(0), peer(2)) && !book.expire(END) && !book.revoke());
        for _ in 0..3 {
            book.fail(RefusalReason::BadMac, 0);
        }
        assert_eq!(book.slots[&Slot(0)], state);
    }
}

#[test]
fn available_slots_close_once() {
    let mut book = group(&[SlotState::Available]);
    assert!(!book.expire(END - 1) && book.expire(END) && !book.expire(END));
    assert_eq!(book.slots[&Slot(0)], SlotState::Expired);
    let mut book = group(&[SlotState::Available]);
    assert!(book.revoke() && !book.revoke());
    let mut book = group(&[SlotState::Available]);
    assert!(
        book.take(Slot(0), peer(1)) && !book.take(Slot(0), peer(2)) && !book.take(Slot(7), peer(2))
    );
    assert_eq!(book.slots[&Slot(0)], used(1));
}
