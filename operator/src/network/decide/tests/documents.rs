//! What members are told of their network's rules.

use peerup_crds::{StaleRevocations, Switch, UsedGroup, Verification};
use peerup_protocol::record::Flags;

use super::*;

fn document(keep: &Keep) -> NetworkDocument {
    NetworkDocument::decode(&keep.publish.as_ref().unwrap().document.bytes).unwrap()
}

#[test]
fn flags_say_what_the_spec_says_and_raise_the_number() {
    let seen = observed(network(|_| {}));
    let first = kept(&seen);
    assert_eq!(
        (document(&first).flags, document(&first).epoch),
        (Flags::default(), 1)
    );
    let mut seen = after(&seen, first);
    spec(&mut seen, |spec| spec.pairing.guests = Switch::Enabled);
    let second = kept(&seen);
    let guests = Flags {
        guests: true,
        ..Flags::default()
    };
    assert_eq!(
        (document(&second).flags, document(&second).epoch),
        (guests, 2)
    );
    assert_eq!(
        second.status.as_ref().unwrap().epoch,
        Some(2),
        "written before it is published"
    );
    let mut seen = after(&seen, second);
    spec(&mut seen, |spec| {
        spec.peers.verification = Verification::Required;
    });
    let third = kept(&seen);
    let both = Flags {
        verification_required: true,
        ..guests
    };
    assert_eq!((document(&third).flags, document(&third).epoch), (both, 3));
    let mut seen = after(&seen, third);
    spec(&mut seen, |spec| {
        spec.peers.stale_revocations = StaleRevocations::Refuse;
    });
    let fourth = kept(&seen);
    let all = Flags {
        stale_refused: true,
        ..both
    };
    assert_eq!((document(&fourth).flags, document(&fourth).epoch), (all, 4));
    let seen = after(&seen, fourth);
    assert!(kept(&seen).publish.is_none(), "nothing new");
}

#[test]
fn groups_of_codes_are_remembered_until_they_end() {
    let mut network = PeerNetwork::clone(&network(|_| {}));
    let used = |group: &str, until| UsedGroup {
        group: group.to_owned(),
        until_time: crate::clock::time(until),
        pairing_code_uid: "c1".to_owned(),
    };
    let status = network.status.get_or_insert_default();
    status.used_groups = vec![used("over", NOW), used("lives", NOW + 1)];
    let keep = kept(&observed(Arc::new(network)));
    assert_eq!(keep.status.unwrap().used_groups, [used("lives", NOW + 1)]);
}

/// Those whose clock is right refuse what they were told until its time comes, and the same number with an older time is
/// older.
#[test]
fn what_was_signed_by_a_clock_that_was_ahead_is_signed_anew() {
    let seen = observed(network(|_| {}));
    let first = kept(&seen);
    let behind = |seconds: u64| Observed {
        now: NOW - seconds,
        ..after(&seen, first.clone())
    };
    assert!(kept(&behind(60)).publish.is_none(), "that much is allowed");
    let again = kept(&behind(61)).publish.unwrap();
    assert_eq!((again.epoch, again.issued), (2, NOW - 61));
}
