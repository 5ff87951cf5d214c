//! `peerup verify`: two people compare what both sides show.

use std::io::Read;

use peerup_agent::local::{Client, Comparison, Outcome};
use peerup_protocol::id::PeerName;
use serde::Serialize;

use crate::args::VerifyArgs;
use crate::failure::Failure;
use crate::home::Home;
use crate::{ask, out};

/// What can be said without a terminal.
const FLAGS: &str = "--yes or --no";
/// Longest text that somebody reads out.
const MAX_DIGITS: u64 = 1024;

/// What `--json` prints at the end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    peer: &'a PeerName,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(flatten)]
    comparison: Option<&'a Comparison>,
}

/// Compares by emoji, or by digits without meeting, at the peer of this state directory.
pub(crate) async fn verify(home: &Home, args: &VerifyArgs) -> Result<(), Failure> {
    let again = home.command(&format!("verify {}", args.peer));
    verify_at(&Client::new(home.dir()), &again, args).await
}

/// The same at any peer; `again` is the command that begins anew.
pub(crate) async fn verify_at(
    client: &Client,
    again: &str,
    args: &VerifyArgs,
) -> Result<(), Failure> {
    if args.digits {
        return show_digits(client, args).await;
    }
    match &args.same_digits {
        Some(digits) => read_out(client, args, digits).await,
        None => compare(client, again, args).await,
    }
}

async fn compare(client: &Client, again: &str, args: &VerifyArgs) -> Result<(), Failure> {
    let said = match (args.yes, args.no) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => {
            // Before another person is called to the screen.
            ask::can_ask(FLAGS)?;
            None
        }
    };
    let own = client.status().await?.membership.map(|own| own.name);
    let comparison = client.compare(&args.peer).await?;
    eprint!("{}", shown(&comparison, own.as_deref(), again));
    let same = match said {
        Some(same) => same,
        None => ask::yes_or_no("does it show the same there?", FLAGS)?,
    };
    if same {
        eprintln!("waiting for what they say there …");
    }
    let outcome = client.decide(&comparison, same).await?;
    if args.json {
        out::json(&Report {
            peer: &args.peer,
            verified: outcome == Outcome::Same,
            outcome: Some(outcome),
            comparison: Some(&comparison),
        })?;
    }
    match outcome {
        Outcome::Same if args.json => Ok(()),
        Outcome::Same => out::text(&format!(
            "{} is verified: {}\n",
            args.peer, comparison.fingerprint
        )),
        Outcome::RefusedHere => Err(unverified(&args.peer, REFUSED_HERE)),
        Outcome::RefusedThere => Err(unverified(&args.peer, REFUSED_THERE)),
        Outcome::Unanswered => Err(unverified(&args.peer, UNANSWERED)),
    }
}

const REFUSED_HERE: &str = "you said that it is not the same. Somebody may sit in between: the connection is closed; \
                            ask the other person whether that is their peer, and try again";
const REFUSED_THERE: &str = "the other person said that it is not the same. Somebody may sit in between: the \
                             connection is closed; ask them, and try again";
const UNANSWERED: &str = "the other person said nothing in time; try again together";
const OTHER_DIGITS: &str = "these are not the digits of this pair. Were they misheard, or are they of another peer? If \
                            not, somebody sits in between";

fn unverified(peer: &PeerName, why: &str) -> Failure {
    Failure::Unverified {
        peer: peer.to_string(),
        why: why.to_owned(),
    }
}

/// What a person compares, and how the other one gets to see it.
fn shown(comparison: &Comparison, own: Option<&str>, again: &str) -> String {
    let emoji: Vec<String> = comparison
        .emoji
        .iter()
        .map(|emoji| format!("{} {}", emoji.glyph, emoji.name))
        .collect();
    let there = own.map_or_else(String::new, |own| {
        format!(", where `peerup verify {own}` shows it")
    });
    format!(
        "compare with the person at {} ({}){there}, by phone or side by side:\n\n  {}   {}\n\n\
         there are {} minutes; `{again}` begins anew\n",
        comparison.peer,
        comparison.peer_id,
        emoji.join("   "),
        comparison.digits,
        comparison.seconds_left.div_ceil(60)
    )
}

async fn show_digits(client: &Client, args: &VerifyArgs) -> Result<(), Failure> {
    let digits = client.digits(&args.peer).await?;
    if args.json {
        return out::json(&serde_json::json!({"peer": args.peer, "digits": digits}));
    }
    out::text(&format!("{digits}\n"))
}

/// Compares what the other person reads out.
async fn read_out(client: &Client, args: &VerifyArgs, digits: &str) -> Result<(), Failure> {
    let digits = if digits == "-" {
        let mut text = String::new();
        std::io::stdin()
            .take(MAX_DIGITS)
            .read_to_string(&mut text)
            .map_err(|error| {
                Failure::Usage(format!("expected digits on standard input: {error}"))
            })?;
        text
    } else {
        digits.to_owned()
    };
    let same = client.read_out(&args.peer, &digits).await?;
    if args.json {
        out::json(&Report {
            peer: &args.peer,
            verified: same,
            outcome: None,
            comparison: None,
        })?;
    }
    match same {
        true if args.json => Ok(()),
        true => out::text(&format!("{} is verified\n", args.peer)),
        false => Err(unverified(&args.peer, OTHER_DIGITS)),
    }
}

#[cfg(test)]
mod tests {
    use peerup_agent::local::Emoji;

    use super::*;

    fn comparison() -> Comparison {
        let emoji = [
            ("⛵", "sailboat"),
            ("🌙", "moon"),
            ("🎸", "guitar"),
            ("🐬", "dolphin"),
        ];
        let emoji = emoji.map(|(glyph, name)| Emoji {
            glyph: glyph.to_owned(),
            name: name.to_owned(),
        });
        Comparison {
            id: "0123".to_owned(),
            peer: PeerName::parse("home").unwrap(),
            peer_id: "12D3home".to_owned(),
            emoji: emoji.to_vec(),
            digits: "500-305".to_owned(),
            fingerprint: "sha256:00".to_owned(),
            seconds_left: 299,
        }
    }

    #[test]
    fn a_person_sees_pictures_names_and_digits_and_what_the_other_one_does() {
        let home = Home::find(Some("/s".into()), |_| None).unwrap();
        assert_eq!(
            shown(&comparison(), Some("laptop"), &home.command("verify home")),
            "compare with the person at home (12D3home), where `peerup verify laptop` shows it, by phone or side by \
             side:\n\n  ⛵ sailboat   🌙 moon   🎸 guitar   🐬 dolphin   500-305\n\n\
             there are 5 minutes; `peerup --state-dir /s verify home` begins anew\n"
        );
    }

    #[test]
    fn a_report_is_one_object() {
        let (peer, comparison) = (PeerName::parse("home").unwrap(), comparison());
        let report = Report {
            peer: &peer,
            verified: false,
            outcome: Some(Outcome::RefusedThere),
            comparison: Some(&comparison),
        };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["verified"], false);
        assert_eq!(json["outcome"], "RefusedThere");
        assert_eq!(json["emoji"][1]["name"], "moon");
        assert_eq!(json["digits"], "500-305");
    }
}
