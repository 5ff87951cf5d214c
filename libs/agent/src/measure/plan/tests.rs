//! Times and reasons of measurements.

use super::*;

const PERIOD: Duration = Duration::from_secs(60);
const STEADY: bool = true;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A plan whose first measurement has ended at the time given.
fn started() -> (Plan, Instant) {
    let now = Instant::now();
    let mut plan = Plan::new(now);
    let expected = Due {
        why: Trigger::Start,
        check: false,
    };
    assert_eq!((plan.at(), plan.begin(now, STEADY)), (now, expected));
    plan.end(now, false, PERIOD, 0.5);
    (plan, now)
}

/// When it begins and why, with the end at the same moment.
fn next(plan: &mut Plan) -> (Instant, Due) {
    let at = plan.at();
    let due = plan.begin(at, STEADY);
    plan.end(at, due.check, PERIOD, 0.5);
    (at, due)
}

#[test]
fn periods_are_jittered_by_a_fifth() {
    for (random, expected) in [(0.0, 48), (0.5, 60), (1.0, 72), (7.0, 72)] {
        let (mut plan, now) = started();
        plan.end(now, false, PERIOD, random);
        assert_eq!(plan.at(), now + seconds(expected), "{random}");
    }
}

#[test]
fn four_checks_come_between_full_measurements() {
    let (mut plan, now) = started();
    let made: Vec<_> = (0..12).map(|_| next(&mut plan)).collect();
    let checks: Vec<_> = made.iter().map(|(_, due)| due.check).collect();
    let row = [true, true, true, true, false];
    assert_eq!(checks, [&row[..], &row, &row[..2]].concat());
    assert!(made.iter().all(|(_, due)| due.why == Trigger::Period));
    assert_eq!(made.last().unwrap().0, now + 12 * PERIOD);
}

#[test]
fn a_check_that_failed_counts_as_a_full_measurement() {
    let (mut plan, _) = started();
    for _ in 0..3 * MAX_CHECKS {
        let at = plan.at();
        assert!(plan.begin(at, STEADY).check);
        plan.end(at, false, PERIOD, 0.5);
    }
}

#[test]
fn what_is_not_steady_is_measured_in_full() {
    let (mut plan, _) = started();
    let at = plan.at();
    let expected = Due {
        why: Trigger::Period,
        check: false,
    };
    assert_eq!(plan.begin(at, false), expected);
}

#[test]
fn changes_are_measured_at_once_but_for_the_pause() {
    for (why, lag) in [
        (Trigger::NetworkChange, Duration::ZERO),
        (Trigger::ObservedAddress, Duration::ZERO),
        (Trigger::Settings, Duration::ZERO),
        (Trigger::Request, Duration::ZERO),
        (Trigger::RelayConnections, BURST),
    ] {
        let (mut plan, ended) = started();
        plan.tell(why, ended);
        assert_eq!(plan.at(), ended + PAUSE.max(lag), "{why}");
        let (mut plan, ended) = started();
        let later = ended + seconds(5);
        plan.tell(why, later);
        let due = Due { why, check: false };
        assert_eq!(next(&mut plan), (later + lag, due), "{why}");
        assert_eq!(plan.at(), later + lag + PERIOD, "{why}");
    }
}

#[test]
fn what_is_told_together_is_measured_once_for_the_best_reason() {
    let (mut plan, ended) = started();
    let later = ended + seconds(5);
    plan.tell(Trigger::RelayConnections, later);
    plan.tell(Trigger::NetworkChange, later);
    plan.tell(Trigger::ObservedAddress, later);
    let due = Due {
        why: Trigger::NetworkChange,
        check: false,
    };
    assert_eq!(next(&mut plan), (later, due));
    assert_eq!(plan.at(), later + PERIOD);
}

#[test]
fn what_is_told_during_a_measurement_is_measured_afterwards() {
    let (mut plan, ended) = started();
    let begun = ended + seconds(5);
    plan.tell(Trigger::NetworkChange, begun);
    assert_eq!(plan.begin(begun, STEADY).why, Trigger::NetworkChange);
    plan.tell(Trigger::Request, begun + seconds(1));
    plan.end(begun + seconds(3), false, PERIOD, 0.5);
    let (at, due) = next(&mut plan);
    assert_eq!(
        (at, due.why),
        (begun + seconds(3) + PAUSE, Trigger::Request)
    );
}

#[test]
fn a_network_that_never_rests_is_measured_within_the_budget() {
    let (mut plan, ended) = started();
    let mut now = ended + seconds(1);
    let first = now;
    let mut made = Vec::new();
    while now < first + seconds(100) {
        plan.tell(Trigger::NetworkChange, now);
        if plan.at() <= now {
            made.push(now);
            assert_eq!(plan.begin(now, STEADY).why, Trigger::NetworkChange);
            plan.end(now, false, PERIOD, 0.5);
        }
        now += seconds(1);
    }
    let burst = usize::try_from(BUDGET).unwrap();
    assert_eq!(made[burst - 1], first + seconds(5), "{made:?}");
    let after: Vec<_> = made[burst..]
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    assert!(after.iter().all(|gap| *gap == REFILL), "{after:?}");
    // The budget comes back when there is peace.
    now += seconds(300);
    plan.begin(now, STEADY);
    plan.end(now, false, PERIOD, 0.5);
    for _ in 1..BUDGET {
        now += seconds(1);
        plan.tell(Trigger::NetworkChange, now);
        assert_eq!(plan.at(), now);
        plan.begin(now, STEADY);
        plan.end(now, false, PERIOD, 0.5);
    }
    now += seconds(1);
    plan.tell(Trigger::NetworkChange, now);
    assert!(plan.at() > now);
}

#[test]
fn who_asks_waits_for_no_budget() {
    let (mut plan, ended) = started();
    let mut now = ended + seconds(1);
    for _ in 0..=BUDGET {
        plan.tell(Trigger::NetworkChange, now);
        plan.begin(now, STEADY);
        plan.end(now, false, PERIOD, 0.5);
        now += seconds(1);
    }
    plan.tell(Trigger::NetworkChange, now);
    assert!(plan.at() > now);
    plan.tell(Trigger::Request, now);
    let due = Due {
        why: Trigger::Request,
        check: false,
    };
    assert_eq!(next(&mut plan), (now, due));
}
