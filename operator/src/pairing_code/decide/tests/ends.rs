//! How codes end, and that it is told.

use super::*;

#[test]
fn every_end_empties_the_secret_and_stays() {
    type Change = fn(&mut Observed);
    let table: [(Change, &str, SlotState); 4] = [
        (
            |seen| (0..3).for_each(|slot| set_slot(seen, slot, SlotState::Used)),
            "Exhausted",
            SlotState::Used,
        ),
        (|seen| seen.now = NOW + 600, "Expired", SlotState::Expired),
        (
            |seen| (0..3).for_each(|slot| set_slot(seen, slot, SlotState::Burned)),
            "Burned",
            SlotState::Burned,
        ),
        (
            |seen| of_code(seen, |code| code.spec.state = CodeState::Revoked),
            "Revoked",
            SlotState::Revoked,
        ),
    ];
    for (change, reason, state) in table {
        let mut seen = settled(observed(|_| {}));
        change(&mut seen);
        let decision = decide(&seen);
        let event = decision.event.clone().unwrap();
        assert_eq!(
            (event.reason.as_str(), event.warning),
            (reason, reason == "Burned")
        );
        assert_eq!(
            decision.secret,
            SecretStep::Remove {
                name: "team".to_owned()
            },
            "{reason}"
        );
        assert_eq!(decision.burned, reason == "Burned");
        let seen = settled(seen);
        assert_eq!(condition(&seen, "Ready"), pair("False", reason));
        let status = seen.code.status.clone().unwrap();
        assert_eq!(
            (status.remaining, &status.secret_ref),
            (Some(0), &None),
            "{reason}"
        );
        assert!(
            status.codes.iter().all(|slot| slot.state == state),
            "{reason}"
        );
        assert_eq!(
            decide(&seen).again_seconds,
            None,
            "{reason}: nothing left to wait for"
        );
    }
}

#[test]
fn used_codes_survive_the_end_of_the_others() {
    let mut seen = settled(observed(|_| {}));
    set_slot(&mut seen, 0, SlotState::Used);
    seen.now = NOW + 600;
    let seen = settled(seen);
    let states: Vec<_> = seen
        .code
        .status
        .as_ref()
        .unwrap()
        .codes
        .iter()
        .map(|slot| slot.state)
        .collect();
    assert_eq!(
        states,
        [SlotState::Used, SlotState::Expired, SlotState::Expired]
    );
    assert_eq!(condition(&seen, "Expired").0, "True");
    assert_eq!(condition(&seen, "Exhausted").0, "False");
}

fn fail(seen: &mut Observed, failed: u32) {
    of_code(seen, |code| {
        code.status.as_mut().unwrap().failed_attempts = Some(failed);
    });
}

#[test]
fn a_lowered_limit_closes_what_is_over_it() {
    let mut seen = settled(observed(|_| {}));
    set_slot(&mut seen, 0, SlotState::Used);
    fail(&mut seen, 2);
    let mut seen = settled(seen);
    assert_eq!(condition(&seen, "Ready"), pair("True", "Issued"));
    of_network(&mut seen, |network| {
        network.spec.pairing.max_failed_attempts = 2;
    });
    let decision = decide(&seen);
    assert!(decision.burned);
    let states: Vec<_> = decision
        .status
        .unwrap()
        .codes
        .iter()
        .map(|slot| slot.state)
        .collect();
    assert_eq!(
        states,
        [SlotState::Used, SlotState::Burned, SlotState::Burned]
    );
    of_code(&mut seen, |code| code.spec.max_failed_attempts = Some(3));
    assert!(!decide(&seen).burned, "its own limit wins");
}
