//! Peers that are away, and leaders that have not heard of them.

use super::*;

/// A laptop that went away at `NOW`, as a leader sees it that was elected `elected` seconds later, `waited` ago.
fn gone_laptop(elected: u64, waited: u64) -> Observed {
    let seen = outside(|peer| {
        peer["status"] = json!({
            "joinedTime": clock::time(CREATED), "credentialIssuedTime": clock::time(NOW - 100),
            "credentialExpirationTime": clock::time(NOW),
        });
    });
    let now = NOW + elected + waited;
    Observed {
        now,
        elected: NOW + elected,
        heard: None,
        redeemed: true,
        credential: (now - 10, now + 7190),
        ..seen
    }
}

fn ends(seen: &Observed) -> Option<UnixTime> {
    let seen = after(seen);
    let end = &seen.peer.status.as_ref()?.credential_expiration_time;
    end.as_ref().map(clock::unix)
}

#[test]
fn a_new_leader_does_not_begin_a_record_anew() {
    let mut seen = gone_laptop(1_000_000, 0);
    assert_eq!(ends(&seen), Some(NOW), "nothing was heard of it");
    // term after term, until nobody needs it any more
    for elected in [1_500_000, 2_000_000, 2_591_999 - 60] {
        let peer = after(&seen).peer;
        seen = Observed {
            peer,
            ..gone_laptop(elected, 60)
        };
        assert_eq!(ends(&seen), Some(NOW), "{elected}");
    }
    let peer = after(&seen).peer;
    let over = Observed {
        peer,
        ..gone_laptop(2_592_000, 0)
    };
    assert_eq!(
        decide(&over),
        Decision::Delete {
            why: "it has been away for longer than retainAfterOfflineSeconds"
        }
    );
}

#[test]
fn what_is_there_has_the_record_of_now() {
    let seen = gone_laptop(1_000_000, 10);
    let now = Some(seen.credential.1);
    let online = Observed {
        online: true,
        ..seen.clone()
    };
    assert_eq!(ends(&online), now, "a relay has it");
    let reports = Observed {
        heard: Some(Heard {
            report: report("C"),
            time: seen.now - 5,
        }),
        ..seen.clone()
    };
    assert_eq!(ends(&reports), now, "it reports");
    let new = Observed {
        peer: outside(|_| {}).peer,
        ..seen
    };
    assert_eq!(ends(&new), now, "nothing was said of it before");
}
