//! Bursts of changes; that the kernel tells them is seen in network namespaces by the lab.

use super::*;

fn after(start: Instant, milliseconds: u64) -> Instant {
    start + Duration::from_millis(milliseconds)
}

#[tokio::test]
async fn a_burst_is_over_when_it_is_quiet() {
    let start = Instant::now();
    let mut burst = Burst::new(start);
    assert_eq!(burst.settled(), after(start, 250));
    burst.goes_on(after(start, 200));
    assert_eq!(burst.settled(), after(start, 450));
}

#[tokio::test]
async fn what_never_rests_is_told_after_a_second() {
    let start = Instant::now();
    let mut burst = Burst::new(start);
    for step in 1..=30 {
        burst.goes_on(after(start, 100 * step));
    }
    assert_eq!(burst.settled(), after(start, 1000));
}

#[tokio::test]
async fn any_user_may_listen_to_the_kernel() {
    Netlink::open().unwrap();
}
