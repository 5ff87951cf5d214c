//! The pools with time stepped by hand.

use super::*;

fn ip(last: u8) -> Option<IpAddr> {
    Some(IpAddr::from([10, 0, 0, last]))
}

fn pools() -> (Pools<u32>, Instant) {
    (Pools::new(ProbationLimits::default()), Instant::now())
}

#[test]
fn eight_arrive_from_a_source() {
    let (mut pools, now) = pools();
    for key in 0..8 {
        assert_eq!(pools.arrive(key, ip(1), now), Ok(()));
    }
    assert_eq!(pools.arrive(8, ip(1), now), Err(Refused::Source));
    assert_eq!(pools.arrive(9, ip(2), now), Ok(()));
    pools.leave(3);
    assert_eq!(pools.arrive(8, ip(1), now), Ok(()));
}

#[test]
fn two_hundred_fifty_six_arrive_in_all() {
    let (mut pools, now) = pools();
    for key in 0..256 {
        assert_eq!(pools.arrive(key, ip((key / 8) as u8), now), Ok(()));
    }
    assert_eq!(pools.arrive(256, ip(200), now), Err(Refused::Full));
    assert_eq!(pools.counts().arriving, 256);
}

#[test]
fn circuits_have_no_source() {
    let (mut pools, now) = pools();
    for key in 0..20 {
        assert_eq!(pools.arrive(key, None, now), Ok(()));
    }
}

#[test]
fn the_eleventh_probationary_is_refused() {
    let (mut pools, now) = pools();
    for key in 0..11 {
        pools.arrive(key, ip(key as u8), now).unwrap();
    }
    for key in 0..10 {
        assert_eq!(pools.enter(key, Pool::Probationary), Ok(()));
    }
    assert_eq!(pools.enter(10, Pool::Probationary), Err(Refused::Full));
    assert_eq!(
        pools.enter(0, Pool::Probationary),
        Ok(()),
        "it is there already"
    );
    assert_eq!(
        pools.counts(),
        Counts {
            arriving: 1,
            probationary: 10,
            ..Counts::default()
        }
    );
}

#[test]
fn the_third_probationary_of_a_source_is_refused() {
    let (mut pools, now) = pools();
    for key in 0..3 {
        pools.arrive(key, ip(1), now).unwrap();
    }
    assert_eq!(pools.enter(0, Pool::Probationary), Ok(()));
    assert_eq!(pools.enter(1, Pool::Probationary), Ok(()));
    assert_eq!(pools.enter(2, Pool::Probationary), Err(Refused::Source));
    assert_eq!(
        pools.enter(2, Pool::Attested),
        Ok(()),
        "attested pods share a node's address"
    );
}

#[test]
fn attested_have_a_pool_of_their_own() {
    let (mut pools, now) = pools();
    for key in 0..65 {
        pools.arrive(key, ip((key / 8) as u8), now).unwrap();
    }
    for key in 0..64 {
        assert_eq!(pools.enter(key, Pool::Asking), Ok(()));
        assert_eq!(pools.enter(key, Pool::Attested), Ok(()));
    }
    assert_eq!(pools.enter(64, Pool::Attested), Err(Refused::Full));
    assert_eq!(pools.enter(64, Pool::Probationary), Ok(()));
}

#[test]
fn asking_counts_as_arriving() {
    let (mut pools, now) = pools();
    for key in 0..8 {
        pools.arrive(key, ip(1), now).unwrap();
        pools.enter(key, Pool::Asking).unwrap();
    }
    assert_eq!(pools.arrive(8, ip(1), now), Err(Refused::Source));
}

#[test]
fn each_has_its_own_timer_from_its_opening() {
    let (mut pools, start) = pools();
    let at = |ms| start + Duration::from_millis(ms);
    pools.arrive(1, ip(1), at(0)).unwrap();
    pools.arrive(2, ip(2), at(1000)).unwrap();
    pools.arrive(3, ip(3), at(2000)).unwrap();
    pools.enter(2, Pool::Probationary).unwrap();
    pools.enter(3, Pool::Renewing).unwrap();
    assert_eq!(pools.next_deadline(), Some(at(3000)));
    assert_eq!(pools.expire(at(2999)), Vec::<u32>::new());
    assert_eq!(pools.expire(at(3000)), vec![1]);
    assert_eq!(pools.next_deadline(), Some(at(16_000)));
    assert_eq!(pools.expire(at(15_999)), Vec::<u32>::new());
    assert_eq!(pools.expire(at(60_000)), vec![2, 3]);
    assert_eq!(pools.next_deadline(), None);
}

#[test]
fn an_unknown_connection_enters_nothing() {
    let (mut pools, _) = pools();
    assert_eq!(pools.enter(7, Pool::Probationary), Err(Refused::Unknown));
}

#[test]
fn a_subscriber_is_one_source() {
    let (mut pools, now) = pools();
    let host = |n: u128| Some(IpAddr::V6((0x2001_0db8_u128 << 96 | n).into()));
    for key in 0..8u32 {
        pools.arrive(key, host(key.into()), now).unwrap();
    }
    assert_eq!(pools.arrive(8, host(99), now), Err(Refused::Source));
    assert_eq!(pools.arrive(8, host(1 << 64), now), Ok(()));
}

#[test]
fn new_limits_hold_for_those_who_are_there() {
    let (mut pools, start) = pools();
    let at = |ms| start + Duration::from_millis(ms);
    for key in 0..2 {
        pools.arrive(key, ip(key as u8), at(0)).unwrap();
        pools.enter(key, Pool::Probationary).unwrap();
    }
    pools.arrive(2, ip(2), at(0)).unwrap();
    pools.limit(ProbationLimits {
        max_probationary: 1,
        timeout: Duration::from_secs(5),
        ..ProbationLimits::default()
    });
    assert_eq!(pools.enter(2, Pool::Probationary), Err(Refused::Full));
    assert_eq!(pools.expire(at(5000)), vec![0, 1, 2]);
}

#[test]
fn a_guest_has_one_circuit_and_nothing_else_before() {
    let (mut pools, now) = pools();
    for key in 0..3 {
        pools.arrive(key, ip(key as u8), now).unwrap();
    }
    assert_eq!(pools.enter(0, Pool::Guest), Ok(()));
    assert_eq!(pools.enter(0, Pool::Guest), Err(Refused::Engaged));
    pools.enter(1, Pool::Probationary).unwrap();
    assert_eq!(pools.enter(1, Pool::Guest), Err(Refused::Engaged));
    pools.enter(2, Pool::Renewing).unwrap();
    assert_eq!(pools.enter(2, Pool::Guest), Err(Refused::Engaged));
    assert_eq!(pools.counts().probationary, 2);
    assert_eq!(
        pools.expire(now + Duration::from_secs(14)),
        Vec::<u32>::new()
    );
    assert_eq!(pools.expire(now + Duration::from_secs(15)), vec![0, 1, 2]);
}

#[test]
fn guests_count_with_those_who_pair() {
    let (mut pools, now) = pools();
    for key in 0..4 {
        pools.arrive(key, ip(1), now).unwrap();
    }
    pools.enter(0, Pool::Probationary).unwrap();
    pools.enter(1, Pool::Guest).unwrap();
    assert_eq!(pools.enter(2, Pool::Guest), Err(Refused::Source));
    assert_eq!(pools.enter(3, Pool::Probationary), Err(Refused::Source));
}
