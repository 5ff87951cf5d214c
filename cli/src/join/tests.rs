//! What is told after joining.

use jiff::Timestamp;
use peerup_agent::status::Role;
use peerup_protocol::grade::Path;

use super::*;

fn home() -> Home {
    Home::find(Some("/s".into()), |_| None).unwrap()
}

fn peer(name: &str, verification: Verification) -> Peer {
    Peer {
        name: name.to_owned(),
        peer_id: format!("12D3{name}"),
        role: Role::Member,
        subject: String::new(),
        verification,
        badge: peerup_agent::status::Badge::Unverified,
        path: Path::None,
        relay: None,
        relayed_reason: None,
    }
}

#[test]
fn the_story_names_every_member_and_how_to_verify_people() {
    let mut status = Status::starting(Timestamp::UNIX_EPOCH);
    status.peers = vec![
        peer("home", Verification::Unverified),
        peer("web-0", Verification::Attested),
    ];
    assert_eq!(
        story(&status, &home()),
        "home  [UNVERIFIED] 12D3home not connected\n\
         web-0 [UNVERIFIED] 12D3web-0 not connected\n\
         compare four emoji with their people:\n  \
         peerup --state-dir /s verify home\n"
    );
}

#[test]
fn advice_is_bounded() {
    let mut status = Status::starting(Timestamp::UNIX_EPOCH);
    status.peers = (0..13)
        .map(|n| peer(&format!("p{n}"), Verification::Unverified))
        .collect();
    let story = story(&status, &home());
    assert_eq!(story.matches(" verify ").count(), ADVISED);
    assert!(story.ends_with("  … and 3 more\n"), "{story}");
}

#[test]
fn alone_is_said() {
    let status = Status::starting(Timestamp::UNIX_EPOCH);
    assert_eq!(story(&status, &home()), "no other members yet\n");
}
