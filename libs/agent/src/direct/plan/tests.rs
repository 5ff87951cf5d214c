//! Whom a peer asks for a direct connection, how often, and when a circuit is done with.

use peerup_protocol::SigningKey;
use peerup_protocol::id::peer_id;

use super::*;

/// Peers in order, so that a test knows who asks whom.
fn peers(count: u8) -> Vec<PeerId> {
    let key = |seed| peer_id(&SigningKey::from_bytes(&[seed; 32]).verifying_key());
    let mut peers: Vec<PeerId> = (1..=count).map(key).collect();
    peers.sort_unstable();
    peers
}

fn way(connection: usize, peer: PeerId, relayed: bool, streams: usize) -> Way {
    Way {
        connection: id(connection),
        peer,
        relayed,
        streams,
    }
}

fn id(connection: usize) -> ConnectionId {
    ConnectionId::new_unchecked(connection)
}

/// Seconds after a fixed time.
struct Clock(Instant);

impl Clock {
    fn at(&self, seconds: u64) -> Instant {
        self.0 + Duration::from_secs(seconds)
    }
}

/// The one in the middle of three, and its plan.
fn world() -> (Clock, Vec<PeerId>, Plan) {
    let peers = peers(3);
    let plan = Plan::new(peers[1]);
    (Clock(Instant::now()), peers, plan)
}

const MOST: f64 = 1.0;

#[test]
fn of_two_the_smaller_asks_over_the_newest_circuit_and_once() {
    let (clock, peers, mut plan) = world();
    let ways = [
        way(1, peers[0], true, 0),
        way(2, peers[2], true, 0),
        way(3, peers[2], true, 0),
    ];
    let (steps, _) = plan.look(&ways, clock.at(0), MOST);
    assert_eq!(steps, [Step::Ask(peers[2], id(3))]);
    for seconds in [0, 1, 100] {
        let (steps, _) = plan.look(&ways, clock.at(seconds), MOST);
        assert_eq!(steps, [], "one round at a time");
    }
    let asked_by = |plan: &mut Plan, peer| plan.may_answer(peer, clock.at(0));
    assert!(asked_by(&mut plan, peers[0]));
    assert!(!asked_by(&mut plan, peers[1]) && !asked_by(&mut plan, peers[2]));
}

#[test]
fn a_peer_with_a_direct_connection_is_not_asked() {
    let (clock, peers, mut plan) = world();
    let ways = [way(1, peers[2], true, 1), way(2, peers[2], false, 0)];
    assert_eq!(plan.look(&ways, clock.at(0), MOST).0, []);
}

#[test]
fn no_more_than_four_rounds_at_once_whoever_began_them() {
    let (clock, peers) = (Clock(Instant::now()), peers(12));
    let mut plan = Plan::new(peers[2]);
    for smaller in &peers[..2] {
        assert!(plan.may_answer(*smaller, clock.at(0)));
        assert!(plan.may_dial(*smaller, clock.at(0)));
        assert!(!plan.may_dial(*smaller, clock.at(0)), "it is being dialled");
    }
    let ways: Vec<Way> = (3..12).map(|n| way(n, peers[n], true, 0)).collect();
    let (steps, _) = plan.look(&ways, clock.at(0), MOST);
    assert_eq!(
        steps,
        [Step::Ask(peers[3], id(3)), Step::Ask(peers[4], id(4))]
    );
    plan.ended(peers[3], false, clock.at(1), MOST);
    let (steps, _) = plan.look(&ways, clock.at(1), MOST);
    assert_eq!(steps, [Step::Ask(peers[5], id(5))], "the next one's turn");
}

#[test]
fn pauses_grow_to_ten_minutes_and_no_shorter_than_half() {
    for (random, expected) in [
        (1.0, [30, 60, 120, 240, 480, 600, 600]),
        (0.0, [15, 30, 60, 120, 240, 300, 300]),
    ] {
        let (clock, peers, mut plan) = world();
        let ways = [way(1, peers[2], true, 0)];
        let mut now = 0;
        for pause in expected {
            let (steps, _) = plan.look(&ways, clock.at(now), random);
            assert_eq!(steps, [Step::Ask(peers[2], id(1))], "at {now} s");
            plan.ended(peers[2], false, clock.at(now), random);
            let early = clock.at(now + pause - 1);
            let (steps, next) = plan.look(&ways, early, random);
            assert_eq!(steps, [], "after {pause} s");
            assert!(next <= clock.at(now + pause), "it is looked in time");
            now += pause;
        }
    }
}

#[test]
fn a_connection_that_does_not_last_is_a_failure() {
    let (clock, peers, mut plan) = world();
    let (relayed, direct) = (
        [way(1, peers[2], true, 0)],
        [way(1, peers[2], true, 1), way(2, peers[2], false, 0)],
    );
    assert_eq!(plan.look(&relayed, clock.at(0), MOST).0.len(), 1);
    // Gone before anybody looked.
    plan.ended(peers[2], true, clock.at(1), MOST);
    assert_eq!(plan.look(&relayed, clock.at(2), MOST).0, []);
    assert_eq!(plan.look(&relayed, clock.at(31), MOST).0, []);
    assert_eq!(plan.look(&relayed, clock.at(32), MOST).0.len(), 1);
    // Seen, and gone after a while that is too short.
    plan.ended(peers[2], true, clock.at(33), MOST);
    plan.look(&direct, clock.at(34), MOST);
    assert_eq!(plan.look(&relayed, clock.at(92), MOST).0, []);
    assert_eq!(plan.look(&relayed, clock.at(151), MOST).0, []);
    assert_eq!(plan.look(&relayed, clock.at(152), MOST).0.len(), 1);
}

#[test]
fn a_connection_that_lasted_is_made_again_at_once() {
    let (clock, peers, mut plan) = world();
    let (relayed, direct) = (
        [way(1, peers[2], true, 0)],
        [way(1, peers[2], true, 1), way(2, peers[2], false, 0)],
    );
    for seconds in [0, 30] {
        assert_eq!(plan.look(&relayed, clock.at(seconds), MOST).0.len(), 1);
        plan.ended(peers[2], false, clock.at(seconds), MOST);
    }
    plan.look(&direct, clock.at(40), MOST);
    plan.look(&direct, clock.at(100), MOST);
    assert_eq!(plan.look(&relayed, clock.at(101), MOST).0.len(), 1);
    // And the next failure is the first again.
    plan.ended(peers[2], false, clock.at(102), MOST);
    assert_eq!(plan.look(&relayed, clock.at(131), MOST).0, []);
    assert_eq!(plan.look(&relayed, clock.at(132), MOST).0.len(), 1);
}

#[test]
fn another_network_ends_all_pauses() {
    let (clock, peers, mut plan) = world();
    let ways = [way(1, peers[2], true, 0)];
    plan.look(&ways, clock.at(0), MOST);
    plan.ended(peers[2], false, clock.at(0), MOST);
    plan.network_changed(clock.at(1));
    assert_eq!(plan.look(&ways, clock.at(1), MOST).0.len(), 1);
    plan.network_changed(clock.at(2));
    assert_eq!(plan.look(&ways, clock.at(2), MOST).0, [], "it is under way");
}

#[test]
fn an_asker_is_answered_three_times_a_minute_and_dialled_with_the_same_pauses() {
    let (clock, peers, mut plan) = world();
    for (seconds, answered) in [(0, true), (1, true), (2, true), (3, false), (59, false)] {
        let may = plan.may_answer(peers[0], clock.at(seconds));
        assert_eq!(may, answered, "{seconds}");
    }
    assert!(plan.may_answer(peers[0], clock.at(60)));
    assert!(!plan.may_answer(peers[0], clock.at(60)));
    assert!(plan.may_answer(peers[0], clock.at(61)));
    assert!(plan.may_dial(peers[0], clock.at(61)));
    plan.ended(peers[0], false, clock.at(61), MOST);
    assert!(!plan.may_dial(peers[0], clock.at(90)));
    assert!(plan.may_dial(peers[0], clock.at(91)));
    assert!(!plan.may_dial(peers[2], clock.at(91)), "who has not asked");
}

#[test]
fn coming_back_does_not_make_a_peer_new() {
    let (clock, peers, mut plan) = world();
    let ways = [way(1, peers[2], true, 0)];
    for seconds in [0, 30] {
        assert_eq!(plan.look(&ways, clock.at(seconds), MOST).0.len(), 1);
        plan.ended(peers[2], false, clock.at(seconds), MOST);
        plan.look(&[], clock.at(seconds + 1), MOST);
    }
    assert_eq!(plan.look(&ways, clock.at(89), MOST).0, []);
    plan.look(&[], clock.at(90 + 3599), MOST);
    assert_eq!(plan.peers.len(), 1);
    plan.look(&[], clock.at(90 + 3600), MOST);
    assert!(plan.peers.is_empty(), "but it is not remembered for ever");
}

#[test]
fn a_circuit_is_closed_when_it_is_empty_beside_a_direct_connection() {
    let (clock, peers, mut plan) = world();
    let ways = |streams| [way(1, peers[2], true, streams), way(2, peers[2], false, 3)];
    let mut at = |seconds, ways: &[Way]| {
        let (steps, next) = plan.look(ways, clock.at(seconds), MOST);
        (steps, next == clock.at(seconds + 1))
    };
    // Looked at every second.
    assert_eq!(at(0, &ways(1)), (vec![], true));
    assert_eq!(at(10, &ways(0)), (vec![], true));
    assert_eq!(at(11, &ways(1)), (vec![], true), "not empty after all");
    assert_eq!(at(12, &ways(0)), (vec![], true));
    assert_eq!(at(13, &ways(0)), (vec![], true));
    assert_eq!(at(14, &ways(0)), (vec![Step::Close(id(1))], true));
    assert_eq!(at(15, &ways(0)[1..]), (vec![], false));
    // Alone it stays, empty or not.
    let alone = [way(3, peers[2], true, 0)];
    assert!(!at(16, &alone).0.contains(&Step::Close(id(3))));
    assert!(!at(60, &alone).0.contains(&Step::Close(id(3))));
    // The side that asks closes.
    let other = [way(4, peers[0], true, 0), way(5, peers[0], false, 0)];
    assert_eq!(
        (at(61, &other), at(70, &other)),
        ((vec![], false), (vec![], false))
    );
}

#[test]
fn there_are_only_so_many_peers() {
    let (clock, me) = (Clock(Instant::now()), peers(1)[0]);
    let mut plan = Plan::new(me);
    let ways: Vec<Way> = (0..MAX_PEERS + 50)
        .map(|n| way(n, PeerId::random(), true, 0))
        .collect();
    plan.look(&ways, clock.at(0), MOST);
    assert_eq!(plan.peers.len(), MAX_PEERS);
    let late = (0..50).map(|_| PeerId::random()).find(|peer| *peer < me);
    if let Some(late) = late {
        assert!(!plan.may_answer(late, clock.at(0)));
    }
}
