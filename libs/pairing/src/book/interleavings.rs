//! Every interleaving of joiners, retries, guesses, expiry, revocation, and of a
//! crash between any two steps. Each request works in steps (read the code, read
//! the Peer, claim a name, compare-and-swap the slot, sign, answer), several at
//! once, as overlapping leaders do; a crash is a step after which it is asked
//! again. [`model`] says what can happen next, and asks the book for its
//! decisions; [`search`] visits every state that can be reached.
//!
//! Two rules of the model are about Peers, beyond the book: what a slot names is a
//! Peer's uid and not only its name, and a claim that is used again becomes young
//! again by a write. Without either, and without each other rule, the search finds
//! an order of steps that breaks a promise.

mod model;
mod search;

use model::{Event, Model, Role, Rules};
use search::{Promise, Stats, search};

/// Two joiners with the same code, one of them asking twice at once.
const TWO: [Role; 3] = [
    Role::Redeem { who: 0, slot: 0 },
    Role::Redeem { who: 0, slot: 0 },
    Role::Redeem { who: 1, slot: 0 },
];

fn explored(roles: &[Role], events: &[Event]) -> Stats {
    let model = Model::new(Rules::ALL, roles, events);
    search(&model).unwrap_or_else(|broken| panic!("{broken}"))
}

fn broken(rules: Rules, roles: &[Role], events: &[Event]) -> Promise {
    let found = search(&Model::new(rules, roles, events));
    found.expect_err("the search finds it").promise
}

/// States of all searches together, about; so that none of them stops early.
fn at_least(stats: Stats, states: usize) {
    assert!(stats.states >= states, "{stats:?}");
}

#[test]
fn two_joiners_race_for_one_code_while_somebody_guesses() {
    let stats = explored(&[&TWO[..], &[Role::Guess]].concat(), &[]);
    assert_eq!(stats.winners, [true, true], "either may win, in some order");
    assert!(stats.burned, "and the code may burn before");
    at_least(stats, 90_000);
}

#[test]
fn a_use_races_with_the_end_and_with_a_revocation() {
    let roles = [&TWO[..], &[Role::Close]].concat();
    let stats = explored(&roles, &[Event::End, Event::RevokeCode]);
    assert_eq!(stats.winners, [true, true]);
    assert!(stats.burned && stats.expired && stats.revoked);
    at_least(stats, 200_000);
}

#[test]
fn claims_are_freed_while_their_joiners_ask_again() {
    let stats = explored(&[&TWO[..], &[Role::Free]].concat(), &[Event::Age]);
    assert_eq!(stats.winners, [true, true]);
    at_least(stats, 800_000);
}

#[test]
fn members_are_deleted_and_revoked_while_others_ask() {
    at_least(explored(&TWO, &[Event::DeletePeer]), 700_000);
    at_least(explored(&TWO, &[Event::RevokePeer]), 50_000);
    let both = [Event::DeletePeer, Event::RevokePeer];
    at_least(explored(&TWO[1..], &both), 40_000);
}

#[test]
fn one_joiner_meets_everything() {
    let roles = [TWO[0], TWO[1], Role::Close, Role::Free];
    let events = [
        Event::End,
        Event::Age,
        Event::RevokeCode,
        Event::RevokePeer,
        Event::DeletePeer,
    ];
    let stats = explored(&roles, &events);
    assert_eq!(stats.winners, [true, false]);
    at_least(stats, 700_000);
}

#[test]
fn a_joiner_holds_two_codes() {
    let roles = [
        TWO[0],
        TWO[2],
        Role::Redeem { who: 1, slot: 1 },
        Role::Guess,
    ];
    let stats = explored(&roles, &[]);
    assert_eq!(stats.winners, [true, true]);
    at_least(stats, 50_000);
}

/// The search finds what goes wrong without each rule, so it would find it in the book, too.
#[test]
fn each_rule_is_needed() {
    let all = Rules::ALL;
    let freeing = [TWO[0], Role::Free];
    for (rules, roles, events, promise) in [
        (
            Rules {
                compare: false,
                ..all
            },
            &TWO[1..],
            &[][..],
            Promise::Final,
        ),
        (
            Rules {
                use_first: false,
                ..all
            },
            &TWO[1..],
            &[],
            Promise::UseFirst,
        ),
        (
            Rules {
                count_first: false,
                ..all
            },
            &[Role::Guess],
            &[],
            Promise::CountFirst,
        ),
        (
            Rules { uid: false, ..all },
            &TWO[1..],
            &[Event::DeletePeer],
            Promise::SameRecord,
        ),
        (
            Rules {
                touch: false,
                ..all
            },
            &freeing,
            &[Event::Age],
            Promise::Member,
        ),
        (
            Rules {
                as_seen: false,
                ..all
            },
            &freeing,
            &[Event::Age],
            Promise::Member,
        ),
    ] {
        assert_eq!(broken(rules, roles, events), promise, "{rules:?}");
    }
}
