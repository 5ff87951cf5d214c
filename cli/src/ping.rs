//! `peerup ping` and `peerup traceroute`.

use std::fmt::Write;
use std::time::Duration;

use peerup_agent::local::{Client, ClientError, Hop, Pong, title};
use peerup_protocol::grade::Path;
use serde::Serialize;

use crate::args::{PingArgs, TraceArgs};
use crate::failure::Failure;
use crate::out;

/// What became of all pings.
#[derive(Debug, Default, Serialize)]
struct Summary {
    sent: u32,
    answered: usize,
    answers: Vec<Pong>,
    failures: Vec<String>,
}

/// Pings a peer some times; fails when it never answers.
pub(crate) async fn ping(client: &Client, args: &PingArgs) -> Result<(), Failure> {
    let mut summary = Summary::default();
    while summary.sent < args.count {
        if summary.sent > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        summary.sent += 1;
        let line = match client.ping(&args.peer).await {
            Ok(pong) => {
                let line = answer(&pong);
                summary.answers.push(pong);
                line
            }
            Err(ClientError::Refused(problem)) if problem.title == title::NO_ANSWER => {
                let line = problem.detail.unwrap_or(problem.title);
                summary.failures.push(line.clone());
                line
            }
            Err(error) => return Err(error.into()),
        };
        if !args.json {
            out::text(&format!("{line}\n"))?;
        }
    }
    summary.answered = summary.answers.len();
    if args.json {
        out::json(&summary)?;
    } else {
        out::text(&total(&summary))?;
    }
    if summary.answers.is_empty() {
        return Err(Failure::NoAnswer(args.peer.to_string()));
    }
    Ok(())
}

fn answer(pong: &Pong) -> String {
    format!(
        "{} {}: {:.1} ms, {}, {}",
        pong.peer,
        pong.badge,
        pong.milliseconds,
        way(pong.path),
        pong.address
    )
}

fn total(summary: &Summary) -> String {
    let (sent, answered) = (summary.sent, summary.answered);
    let times = summary.answers.iter().map(|pong| pong.milliseconds);
    let (least, most, sum) = times.fold((f64::MAX, 0.0_f64, 0.0), |(least, most, sum), time| {
        (time.min(least), time.max(most), sum + time)
    });
    if answered == 0 {
        return format!("{sent} sent, none answered\n");
    }
    let count = u32::try_from(answered).unwrap_or(u32::MAX);
    let mean = sum / f64::from(count);
    format!("{sent} sent, {answered} answered, least/mean/most {least:.1}/{mean:.1}/{most:.1} ms\n")
}

const fn way(path: Path) -> &'static str {
    match path {
        Path::Direct => "direct",
        Path::Relayed => "relayed",
        Path::None => "not connected",
    }
}

/// Shows what lies on the way to a peer.
pub(crate) async fn traceroute(client: &Client, args: &TraceArgs) -> Result<(), Failure> {
    let hops = client.trace(&args.peer).await?;
    if args.json {
        return out::json(&hops);
    }
    out::text(&route(&hops))
}

fn route(hops: &[Hop]) -> String {
    let mut text = String::new();
    for (at, hop) in hops.iter().enumerate() {
        let badge = hop
            .badge
            .map_or_else(String::new, |badge| format!(" {badge}"));
        let time = hop
            .milliseconds
            .map_or_else(|| "no answer".to_owned(), |time| format!("{time:.1} ms"));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:2}  {}{badge}  {}  {time}",
            at + 1,
            hop.name,
            hop.peer_id
        );
        if let Some(address) = &hop.address {
            let _ = writeln!(text, "    at {address}");
        }
        if let Some(observed) = &hop.observed {
            let _ = writeln!(text, "    sees this peer at {observed}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use peerup_agent::status::Badge;
    use peerup_protocol::id::PeerName;

    use super::*;

    fn pong(milliseconds: f64) -> Pong {
        Pong {
            peer: PeerName::parse("home").unwrap(),
            peer_id: "12D3home".to_owned(),
            milliseconds,
            path: Path::Relayed,
            address: "/ip4/192.0.2.1/tcp/4001".to_owned(),
            badge: Badge::Verified,
        }
    }

    #[test]
    fn an_answer_tells_time_way_and_badge() {
        let line = "home [VERIFIED]: 12.3 ms, relayed, /ip4/192.0.2.1/tcp/4001";
        assert_eq!(answer(&pong(12.345)), line);
    }

    #[test]
    fn times_are_summed_up_over_the_answers() {
        let mut summary = Summary {
            sent: 3,
            answered: 2,
            answers: vec![pong(1.0), pong(4.0)],
            failures: vec!["late".to_owned()],
        };
        let expected = "3 sent, 2 answered, least/mean/most 1.0/2.5/4.0 ms\n";
        assert_eq!(total(&summary), expected);
        (summary.answered, summary.answers) = (0, Vec::new());
        assert_eq!(total(&summary), "3 sent, none answered\n");
    }

    #[test]
    fn a_route_names_the_relay_and_who_sees_what() {
        let relay = Hop {
            relay: true,
            name: "relay-0".to_owned(),
            peer_id: "12D3relay".to_owned(),
            milliseconds: None,
            address: None,
            observed: None,
            badge: None,
        };
        let home = Hop {
            relay: false,
            name: "home".to_owned(),
            peer_id: "12D3home".to_owned(),
            milliseconds: Some(2.0),
            address: Some("/a".to_owned()),
            observed: Some("/b".to_owned()),
            badge: Some(Badge::Unverified),
        };
        assert_eq!(
            route(&[relay, home]),
            " 1  relay-0  12D3relay  no answer\n \
             2  home [UNVERIFIED]  12D3home  2.0 ms\n    \
             at /a\n    sees this peer at /b\n"
        );
    }
}
