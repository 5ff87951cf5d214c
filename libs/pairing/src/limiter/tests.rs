//! Sources and groups with time stepped by hand.

use super::*;

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn group(number: u64) -> GroupId {
    GroupId(number.to_be_bytes())
}

#[test]
fn a_source_fails_once_in_five_seconds() {
    let mut limiter = Limiter::new();
    let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
    assert!(limiter.allow(at(0), one) && limiter.failed(at(0), one));
    assert!(!limiter.allow(at(4999), one) && limiter.allow(at(4999), other));
    assert!(
        !limiter.failed(at(4999), one),
        "one that was under way meanwhile"
    );
    assert!(limiter.allow(at(5000), one) && limiter.failed(at(5000), one));
    assert!(!limiter.allow(at(9999), one));
}

#[test]
fn a_subscriber_is_one_source() {
    for (one, same, other) in [
        ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"),
    ] {
        let mut limiter = Limiter::new();
        limiter.failed(at(0), ip(one));
        assert!(!limiter.allow(at(1), ip(same)) && limiter.allow(at(1), ip(other)));
    }
}

#[test]
fn unknown_groups_share_a_bucket_and_known_ones_do_not() {
    let mut limiter = Limiter::new();
    assert!(limiter.ask(at(0), &group(1)));
    limiter.known(at(0), group(1));
    for number in 0..u64::from(UNKNOWN_BURST) {
        assert!(limiter.ask(at(0), &group(2 + number)));
    }
    assert!(!limiter.ask(at(999), &group(2)) && limiter.ask(at(999), &group(1)));
    assert!(limiter.ask(at(1000), &group(2)) && !limiter.ask(at(1999), &group(2)));
}

#[test]
fn an_operator_that_does_not_say_costs_nothing() {
    let mut limiter = Limiter::new();
    for _ in 0..2 * UNKNOWN_BURST {
        assert!(limiter.ask(at(0), &group(1)));
        limiter.unsaid(&group(1));
    }
    assert_eq!(limiter, Limiter::new());
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut limiter = Limiter::new();
    for number in 0..=MAX_SOURCES as u32 {
        let source = IpAddr::V4(std::net::Ipv4Addr::from_bits(number));
        assert!(limiter.failed(at(number.into()), source));
    }
    assert_eq!(limiter.sources.len(), MAX_SOURCES);
    let now = at(MAX_SOURCES as u64);
    assert!(limiter.allow(now, ip("0.0.0.0")) && !limiter.allow(now, ip("0.0.0.1")));
    for number in 0..=MAX_GROUPS as u64 {
        limiter.known(at(number), group(number));
    }
    let groups: Vec<_> = limiter.groups.keys().copied().collect();
    let expected: Vec<_> = (1..=MAX_GROUPS as u64).map(group).collect();
    assert_eq!(groups, expected);
}

#[test]
fn sources_that_may_fail_again_are_forgotten() {
    let mut limiter = Limiter::new();
    limiter.failed(at(0), ip("192.0.2.1"));
    limiter.failed(at(5000), ip("192.0.2.2"));
    assert_eq!(limiter.sources.len(), 1);
}
