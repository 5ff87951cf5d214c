//! `peerup invite`: lets somebody else in as guest of this peer.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use peerup_agent::local::{Client, ClientError, Invite, InviteWord, title};
use peerup_protocol::id::PeerName;

use crate::args::InviteArgs;
use crate::failure::Failure;
use crate::home::Home;
use crate::out;
use crate::signals::Signals;
use crate::span::Span;

/// Pause between two looks whether the guest is there.
const LOOK: Duration = Duration::from_millis(500);
/// How long an invite may wait.
const TTL: Span = Span {
    range: 1..=600,
    range_words: "1s to 10m",
    such_as: "90s or 10m",
};

/// Seconds of an invite's life.
pub(crate) fn ttl(text: &str) -> Result<u32, String> {
    TTL.read(text)
}

/// Opens an invite and waits for its guest, or sends a guest away.
pub(crate) async fn invite(home: &Home, args: &InviteArgs) -> Result<(), Failure> {
    let client = Client::new(home.dir());
    if let Some(guest) = &args.remove {
        client.send_away(guest).await?;
        return out::text(&format!("{guest} is no guest of this peer any more\n"));
    }
    let mut signals = Signals::listen()?;
    let opened = client.invite(args.ttl.into()).await?;
    show(&client, &opened, args).await?;
    if args.detach {
        return Ok(());
    }
    let ended = tokio::select! {
        ended = ended(&client, &opened) => ended?,
        () = signals.received() => return withdraw(&client, &opened).await,
    };
    if args.json {
        out::json(&ended)?;
    }
    let Some(guest) = &ended.guest else {
        return Err(Failure::NotInvited(why(ended.state)));
    };
    if args.json {
        return Ok(());
    }
    out::text(&welcome(guest, home))
}

async fn show(client: &Client, opened: &Invite, args: &InviteArgs) -> Result<(), Failure> {
    if args.json {
        return out::json(opened);
    }
    let network = client.status().await?.membership.map(|own| own.namespace);
    let network = network.as_deref().unwrap_or("the network");
    out::text(&story(opened, network, Timestamp::now()))?;
    if !args.detach {
        eprintln!("waiting for the guest; Ctrl-C withdraws the invite …");
    }
    Ok(())
}

/// What the inviter passes on. The code stands there once, so that it is copied whole and lies about nowhere else.
fn story(opened: &Invite, network: &str, now: Timestamp) -> String {
    let mut story = String::new();
    let code = opened.code.as_ref().map_or("", |code| code.expose());
    let left = opened
        .expiration_time
        .map_or(0, |end| end.as_second().saturating_sub(now.as_second()));
    // Writing to a String cannot fail.
    let _ = writeln!(
        story,
        "one guest of this peer in {network} is let in within {left} s, by this code:\n\n{code}\n"
    );
    let _ = writeln!(
        story,
        "give it to the guest by a way that nobody else reads; there, one of"
    );
    for (command, what) in [
        ("peerup join -", "reads the code from standard input"),
        ("PEERUP_CODE=… peerup join", "from the environment"),
        ("peerup join --code-file FILE", "from a file"),
        ("peerup join CODE", "where nobody else uses the machine"),
    ] {
        let _ = writeln!(story, "  {command:30} {what}");
    }
    story
}

fn welcome(guest: &PeerName, home: &Home) -> String {
    let (verify, remove) = (
        home.command(&format!("verify {guest}")),
        home.command(&format!("invite --remove {guest}")),
    );
    format!(
        "{guest} is a guest of this peer: it meets this peer and nobody else\n  \
         {verify:32} compare four emoji with its person\n  \
         {remove:32} send it away for good\n"
    )
}

/// How the invite ended.
async fn ended(client: &Client, opened: &Invite) -> Result<Invite, Failure> {
    loop {
        let known = client.invited(&opened.id).await?;
        if known.state != InviteWord::Open {
            return Ok(known);
        }
        tokio::time::sleep(LOOK).await;
    }
}

const fn why(state: InviteWord) -> &'static str {
    match state {
        InviteWord::Failed => "three attempts with a wrong code have closed the invite",
        InviteWord::Withdrawn => "the invite was withdrawn",
        InviteWord::Open | InviteWord::Used | InviteWord::Over => "nobody came in time",
    }
}

async fn withdraw(client: &Client, opened: &Invite) -> Result<(), Failure> {
    match client.withdraw(&opened.id).await {
        Ok(()) => Err(Failure::Interrupted),
        Err(ClientError::Refused(problem)) if problem.title == title::NO_SUCH_INVITE => {
            Err(Failure::Interrupted)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use peerup_protocol::id::GroupId;
    use peerup_protocol::secret::SecretText;

    use super::*;

    #[test]
    fn ten_minutes_are_the_most() {
        for (text, expected) in [
            ("10m", Some(600)),
            ("1s", Some(1)),
            ("0s", None),
            ("601s", None),
        ] {
            assert_eq!(ttl(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn the_code_stands_in_the_story_once() {
        let opened = Invite {
            id: GroupId([1; 8]),
            state: InviteWord::Open,
            guest: None,
            expiration_time: Some(Timestamp::from_second(700).unwrap()),
            code: Some(SecretText::new("peerup1-abc".to_owned())),
        };
        let story = story(&opened, "crew", Timestamp::from_second(100).unwrap());
        assert!(story.contains("in crew is let in within 600 s"), "{story}");
        assert_eq!(story.matches("peerup1-abc").count(), 1, "{story}");
        for way in ["peerup join -\u{20}", "PEERUP_CODE", "--code-file"] {
            assert!(story.contains(way), "{way} in {story}");
        }
        assert!(!format!("{opened:?}").contains("peerup1-abc"));
    }
}
