//! The answer to a guest, and what is not one.

use super::*;

/// What the guest makes of an answer.
fn answered(response: &[u8]) -> Result<GuestGrant, InviteAnswerError> {
    let (guest, inviter, asked) = (peer(3), peer(INVITER), name("laptop"));
    let checked = check_response(&net(), &guest, &inviter, &asked, response, NOW);
    checked.map(|invited| invited.grant)
}

#[test]
fn a_guest_checks_what_it_gets() {
    let good = GuestGrant {
        net: net(),
        serial: Serial(1),
        sponsor: peer(INVITER),
        guest: peer(3),
        name: name("laptop"),
        issued: NOW,
        not_after: NOW + 60,
    };
    let check = |grant: &GuestGrant, signer: u8| {
        let grant = Signed::sign(&key(signer), grant.encode());
        let response = GuestResponse {
            inviter: name("home"),
            grant,
        };
        answered(&response.encode())
    };
    assert_eq!(check(&good, INVITER), Ok(good.clone()));
    let numbered = GuestGrant {
        name: name("laptop-2"),
        ..good.clone()
    };
    assert_eq!(check(&numbered, INVITER), Ok(numbered));
    let refused = |refusal| Err(InviteAnswerError::Grant(refusal));
    // Somebody who answers with a grant of another sponsor, or signs for the inviter.
    let of_another = GuestGrant {
        sponsor: peer(5),
        ..good.clone()
    };
    assert_eq!(check(&of_another, 5), refused(GuestRefusal::OtherSponsor));
    assert_eq!(check(&good, 5), refused(GuestRefusal::BadSignature));
    let for_another = GuestGrant {
        guest: peer(5),
        ..good.clone()
    };
    assert_eq!(
        check(&for_another, INVITER),
        refused(GuestRefusal::OtherGuest)
    );
    let for_ever = GuestGrant {
        not_after: u64::MAX,
        ..good.clone()
    };
    assert_eq!(check(&for_ever, INVITER), refused(GuestRefusal::TooLong));
    let renamed = GuestGrant {
        name: name("desktop"),
        ..good
    };
    assert!(matches!(
        check(&renamed, INVITER),
        Err(InviteAnswerError::OtherName { .. })
    ));
    assert!(matches!(
        answered(b"garbage"),
        Err(InviteAnswerError::Decode(_))
    ));
}

#[test]
fn secrets_are_not_shown() {
    let home = Inviter::inviting();
    let shown = format!("{:?} {:?}", home.invites, home.lookup(NOW));
    assert!(
        shown.contains("[redacted]") && !shown.contains("9, 9"),
        "{shown}"
    );
}
