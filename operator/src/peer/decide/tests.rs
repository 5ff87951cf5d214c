//! Tables of what a Peer needs next.

use peerup_protocol::report::Report;
use serde_json::{Value, json};

use super::*;
use crate::conditions;

mod away;

const NOW: UnixTime = 1_800_000_000;
const CREATED: UnixTime = NOW - 1000;
const RELAY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

fn network() -> PeerNetwork {
    serde_json::from_value(json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork",
        "metadata": {"name": "main", "namespace": "shop", "uid": "n1"}, "spec": {},
        "status": {"relays": [{"name": "main-relay-0", "peerID": RELAY, "addresses": [], "state": "Ready"}]},
    }))
    .unwrap()
}

fn peer(change: impl FnOnce(&mut Value)) -> Arc<Peer> {
    let mut peer = json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "Peer",
        "metadata": {"name": "main.web", "namespace": "shop", "uid": "p1", "generation": 1,
                     "creationTimestamp": clock::time(CREATED), "finalizers": ["peerup.dev/relay-revoke"]},
        "spec": {"networkRef": {"name": "main"}, "peerID": RELAY, "serial": "00000000000000ff", "type": "Pod", "method": "Attested",
                 "podRef": {"namespace": "shop", "name": "web", "uid": "u", "serviceAccount": "default"}, "displayName": "web"},
    });
    change(&mut peer);
    Arc::new(serde_json::from_value(peer).unwrap())
}

fn outside(change: impl FnOnce(&mut Value)) -> Observed {
    let peer = peer(|peer| {
        peer["spec"]["type"] = json!("External");
        peer["spec"]["method"] = json!("Code");
        peer["spec"].as_object_mut().unwrap().remove("podRef");
        peer["spec"]["pairingCodeRef"] = json!({"name": "team", "slot": 0});
        change(peer);
    });
    Observed {
        pod: PodSeen::NotAPod,
        ..observed(peer)
    }
}

fn report(grade: &str) -> Report {
    serde_json::from_value(json!({
        "grade": grade, "gradeReason": "measured", "scope": "Internal", "natType": "None", "mapping": "None", "filtering": "Unknown",
        "confidence": "Measured", "evidence": ["no-nat"], "publicAddresses": ["10.0.0.9", "10.0.0.9"], "path": "Direct",
        "relays": [RELAY], "changedTime": NOW - 5, "version": "0.1.0",
    }))
    .unwrap()
}

fn observed(peer: Arc<Peer>) -> Observed {
    Observed {
        now: NOW,
        elected: NOW - 5000,
        cluster: "local".to_owned(),
        peer,
        network: Some(Arc::new(network())),
        pod: PodSeen::Alive(Arc::new(Pod::default())),
        heard: Some(Heard {
            report: report("C"),
            time: NOW - 10,
        }),
        online: false,
        redeemed: true,
        credential: (NOW - 100, NOW + 7100),
    }
}

fn kept(seen: &Observed) -> Keep {
    match decide(seen) {
        Decision::Keep(keep) => *keep,
        other @ (Decision::Delete { .. } | Decision::Revoke { .. } | Decision::Release) => {
            panic!("expected to keep, got {other:?}")
        }
    }
}

fn after(seen: &Observed) -> Observed {
    let write = kept(seen).write;
    let mut peer = Peer::clone(&seen.peer);
    let status = write.as_ref().and_then(|write| write.status.clone());
    peer.status = status.or(peer.status);
    let conditions = write.and_then(|write| write.pod_conditions);
    let pod = Pod {
        conditions: conditions.unwrap_or_default(),
        ..Pod::default()
    };
    let pod = match &seen.pod {
        PodSeen::Alive(_) => PodSeen::Alive(Arc::new(pod)),
        PodSeen::NotAPod | PodSeen::Gone => seen.pod.clone(),
    };
    Observed {
        peer: Arc::new(peer),
        pod,
        ..seen.clone()
    }
}

fn said(seen: &Observed, type_: &str) -> (String, String) {
    let seen = after(seen);
    let condition = conditions::find(&seen.peer.status.as_ref().unwrap().conditions, type_)
        .unwrap()
        .clone();
    (condition.status, condition.reason)
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[test]
fn a_report_becomes_status_and_pod_conditions_once() {
    let seen = observed(peer(|_| {}));
    let write = kept(&seen).write.unwrap();
    assert_eq!(write.turn, Turn::Join);
    let status = write.status.unwrap();
    assert_eq!(
        (status.grade, status.relays.as_slice()),
        (Some(Grade::C), ["main-relay-0".to_owned()].as_slice())
    );
    assert_eq!(status.public_addresses, ["10.0.0.9"], "a set");
    assert_eq!(status.grade_changed_time, Some(clock::time(NOW - 5)));
    assert_eq!(
        status.credential_expiration_time,
        Some(clock::time(NOW + 7100))
    );
    let pod: Vec<_> = write
        .pod_conditions
        .unwrap()
        .into_iter()
        .map(|one| (one.type_, one.status, one.reason.unwrap()))
        .collect();
    let expected = [
        ("Joined", "Attested"),
        ("Verified", "Attested"),
        ("Reachable", "GradeC"),
    ];
    assert_eq!(
        pod,
        expected.map(|(type_, reason)| (
            format!("peerup.dev/{type_}"),
            "True".to_owned(),
            reason.to_owned()
        ))
    );

    let settled = after(&seen);
    assert_eq!(kept(&settled).write, None, "the same again is no write");
    let later = Observed {
        now: NOW + 50,
        heard: Some(Heard {
            report: report("C"),
            time: NOW + 40,
        }),
        ..settled
    };
    assert_eq!(kept(&later).write, None, "a heartbeat is no write");
}

#[test]
fn a_newcomer_is_given_a_moment_to_join() {
    let new = |age: u64| Observed {
        heard: None,
        redeemed: false,
        ..observed(peer(|peer| {
            peer["metadata"]["creationTimestamp"] = json!(clock::time(NOW - age));
        }))
    };
    for (age, left) in [(0, 3), (1, 2), (2, 1)] {
        let keep = kept(&new(age));
        assert_eq!((keep.write, keep.again_seconds), (None, left));
    }
    assert_eq!(said(&new(3), "Joined"), pair("False", "Pending"));
    let joined = Observed {
        redeemed: true,
        ..new(0)
    };
    assert_eq!(said(&joined, "Joined"), pair("True", "Attested"));
    let reports = Observed {
        heard: observed(peer(|_| {})).heard,
        ..new(0)
    };
    assert_eq!(said(&reports, "Reachable"), pair("True", "GradeC"));
}

#[test]
fn silence_becomes_stale_and_then_offline() {
    let settled = after(&observed(peer(|_| {})));
    let at = |seconds: u64| Observed {
        now: NOW - 10 + seconds,
        ..settled.clone()
    };
    assert_eq!(kept(&at(90)).write, None);
    assert_eq!(said(&at(91), "Reachable"), pair("Unknown", "ReportStale"));
    assert_eq!(said(&at(180), "Reachable"), pair("Unknown", "ReportStale"));
    assert_eq!(said(&at(181), "Reachable"), pair("False", "GradeF"));
    let write = kept(&at(181)).write.unwrap();
    assert_eq!(
        (write.turn, write.status.unwrap().path),
        (Turn::Offline, Some(peerup_protocol::grade::Path::None))
    );
    let gone = after(&at(181));
    assert_eq!(
        kept(&Observed {
            now: NOW + 5000,
            ..gone.clone()
        })
        .write,
        None,
        "said once"
    );
    let back = Observed {
        now: NOW + 6000,
        heard: Some(Heard {
            report: report("B"),
            time: NOW + 6000,
        }),
        credential: gone.credential,
        ..gone
    };
    assert_eq!(said(&back, "Reachable"), pair("True", "GradeB"));
}

#[test]
fn a_new_leader_blames_nobody_for_silence_before_it() {
    let settled = after(&observed(peer(|_| {})));
    let new = Observed {
        heard: None,
        elected: NOW + 1000,
        now: NOW + 1090,
        credential: settled.credential,
        ..settled
    };
    assert_eq!(kept(&new).write, None);
    assert_eq!(
        said(
            &Observed {
                now: NOW + 1091,
                ..new.clone()
            },
            "Reachable"
        ),
        pair("Unknown", "ReportStale")
    );
    assert_eq!(
        said(
            &Observed {
                now: NOW + 1181,
                ..new
            },
            "Reachable"
        ),
        pair("False", "GradeF")
    );
}

#[test]
fn an_outside_peer_at_a_relay_stays_stale() {
    let seen = Observed {
        now: NOW + 10_000,
        online: true,
        ..outside(|_| {})
    };
    assert_eq!(said(&seen, "Reachable"), pair("Unknown", "ReportStale"));
    assert_eq!(
        said(
            &Observed {
                online: false,
                ..seen
            },
            "Reachable"
        ),
        pair("False", "GradeF")
    );
}

#[test]
fn conditions_say_how_it_joined_and_who_vouches() {
    let pending = Observed {
        redeemed: false,
        heard: None,
        now: CREATED + 5,
        elected: 0,
        ..observed(peer(|_| {}))
    };
    assert_eq!(said(&pending, "Joined"), pair("False", "Pending"));
    assert_eq!(
        said(&pending, "Reachable"),
        pair("Unknown", "AwaitingReport")
    );
    assert_eq!(
        said(&observed(peer(|_| {})), "Verified"),
        pair("True", "Attested")
    );
    assert_eq!(said(&outside(|_| {}), "Joined"), pair("True", "CodeUsed"));
    assert_eq!(
        said(&outside(|_| {}), "Verified"),
        pair("False", "NotCompared")
    );
    let grades = [("A", "True"), ("B", "True"), ("D", "True"), ("F", "False")];
    for (grade, status) in grades {
        let seen = Observed {
            heard: Some(Heard {
                report: report(grade),
                time: NOW,
            }),
            ..observed(peer(|_| {}))
        };
        assert_eq!(
            said(&seen, "Reachable"),
            pair(status, &format!("Grade{grade}"))
        );
    }
}

fn claim(age: u64) -> Observed {
    Observed {
        redeemed: false,
        heard: None,
        now: CREATED + age,
        ..outside(|_| {})
    }
}

/// A joiner that comes back to its claim has time again.
#[test]
fn a_claim_that_is_taken_up_is_young() {
    let taken_up = |age| {
        let mut seen = claim(age);
        let time = json!({ annotations::CLAIMED: clock::time(CREATED + 50) });
        Arc::make_mut(&mut seen.peer).metadata.annotations = serde_json::from_value(time).unwrap();
        decide(&seen)
    };
    assert!(matches!(taken_up(110), Decision::Keep(_)));
    assert!(matches!(taken_up(111), Decision::Delete { .. }));
}

#[test]
fn peers_end_with_what_they_stand_for() {
    let gone = Observed {
        pod: PodSeen::Gone,
        ..observed(peer(|_| {}))
    };
    assert_eq!(
        decide(&gone),
        Decision::Delete {
            why: "its pod is gone"
        }
    );
    assert_eq!(
        decide(&Observed {
            network: None,
            ..observed(peer(|_| {}))
        }),
        Decision::Delete {
            why: "its network is gone"
        }
    );

    assert!(matches!(decide(&claim(60)), Decision::Keep(_)));
    assert_eq!(
        decide(&claim(61)),
        Decision::Delete {
            why: "its claim was not followed by the use of a code"
        }
    );

    let member = outside(|peer| {
        peer["status"] = json!({"joinedTime": clock::time(CREATED), "credentialExpirationTime": clock::time(NOW)});
    });
    let away = |seconds| Observed {
        redeemed: false,
        heard: None,
        now: NOW + seconds,
        ..member.clone()
    };
    assert!(matches!(decide(&away(2_591_999)), Decision::Keep(_)));
    assert!(matches!(decide(&away(2_592_000)), Decision::Delete { .. }));
    assert!(matches!(
        decide(&Observed {
            online: true,
            ..away(2_592_000)
        }),
        Decision::Keep(_)
    ));
}

#[test]
fn a_record_is_taken_back_before_its_peer_goes() {
    let going =
        |peer: &mut Value| peer["metadata"]["deletionTimestamp"] = json!("2026-11-24T00:00:00Z");
    let deleted = observed(peer(going));
    assert_eq!(decide(&deleted), Decision::Revoke { until: NOW + 7200 });
    assert_eq!(
        decide(&Observed {
            pod: PodSeen::Gone,
            ..deleted.clone()
        }),
        Decision::Release,
        "its key went with it"
    );
    assert_eq!(
        decide(&Observed {
            network: None,
            ..deleted.clone()
        }),
        Decision::Release
    );
    assert_eq!(
        decide(&Observed {
            redeemed: false,
            ..outside(going)
        }),
        Decision::Release,
        "it never had a record"
    );

    let mut listed = network();
    let entry = json!([{"serial": "00000000000000ff", "untilTime": clock::time(NOW + 7200)}]);
    listed.status.as_mut().unwrap().revocations = serde_json::from_value(entry).unwrap();
    assert_eq!(
        decide(&Observed {
            network: Some(Arc::new(listed.clone())),
            ..deleted
        }),
        Decision::Release
    );

    let revoked = observed(peer(|peer| peer["spec"]["state"] = json!("Revoked")));
    assert_eq!(decide(&revoked), Decision::Revoke { until: NOW + 7200 });
    let revoked = Observed {
        network: Some(Arc::new(listed)),
        ..revoked
    };
    assert_eq!(said(&revoked, "Joined"), pair("False", "Revoked"));
    assert_eq!(said(&revoked, "Verified"), pair("False", "Revoked"));
}

#[test]
fn a_network_that_goes_takes_its_peers_without_revoking() {
    let mut network = network();
    network.metadata.deletion_timestamp = Some(clock::time(NOW));
    let network = Some(Arc::new(network));
    let seen = Observed {
        network: network.clone(),
        ..observed(peer(|_| {}))
    };
    assert_eq!(
        decide(&seen),
        Decision::Delete {
            why: "its network is being deleted"
        }
    );
    let going = peer(|peer| peer["metadata"]["deletionTimestamp"] = json!("2026-11-24T00:00:00Z"));
    assert_eq!(
        decide(&Observed {
            network,
            ..observed(going)
        }),
        Decision::Release
    );
}

#[test]
fn the_next_look_is_when_time_changes_something() {
    let settled = after(&observed(peer(|_| {})));
    assert_eq!(
        kept(&settled).again_seconds,
        81,
        "stale 91 seconds after the report"
    );
    let stale = after(&Observed {
        now: NOW + 90,
        ..settled
    });
    assert_eq!(
        kept(&stale).again_seconds,
        81,
        "offline 181 seconds after the report"
    );
    let silent = after(&Observed {
        now: NOW + 500,
        ..stale
    });
    let again = kept(&silent).again_seconds;
    assert_eq!(again, 90, "a report may come that is no news");
}
