//! `peerup join`: redeems the code in this process, tells the story, and leaves the peer running in the background,
//! or stays in the foreground. The code never leaves this process: what runs on uses the stored membership.

use std::fmt::Write;
use std::time::Duration;

use peerup_agent::Source;
use peerup_agent::local::Client;
use peerup_agent::status::{Membership, Peer, Status, Verification, text};
use peerup_protocol::code::CodeKind;
use tokio::time::Instant;

use crate::daemon::launch::{Launch, Started};
use crate::failure::Failure;
use crate::home::Home;
use crate::out;
use crate::peer::Running;
use crate::prepare::Prepared;

/// How long the story waits for the members' names and the grade.
const ROSTER_WAIT: Duration = Duration::from_secs(5);
/// Pause between two looks at a peer in the background.
const LOOK: Duration = Duration::from_millis(200);
/// Members whose verification is advised in full.
const ADVISED: usize = 10;

/// Joins and stays until a signal, a call to stop, or the end of the membership.
pub(crate) async fn in_foreground(prepared: Prepared, home: &Home) -> Result<(), Failure> {
    announce(&prepared);
    let running = Running::start(prepared)?;
    let result = async {
        running.joined().await?;
        tokio::select! {
            ended = running.ended() => return ended,
            told = told(&running, home) => told?,
        }
        let status = home.command("status");
        out::text(&format!(
            "see `{status}`; Ctrl-C leaves the network until the next `peerup join`\n"
        ))?;
        running.ended().await
    }
    .await;
    running.shutdown().await;
    result
}

/// Joins, then leaves the peer running without this process.
pub(crate) async fn in_background(
    prepared: Prepared,
    home: &Home,
    launch: &Launch,
) -> Result<(), Failure> {
    announce(&prepared);
    if prepared.is_stored() {
        drop(prepared);
        let started = launch.start(home).await?;
        let status = settled(&Client::new(home.dir())).await?;
        out::text(&story(&status, home))?;
        return next(home, &started);
    }
    let running = Running::start(prepared)?;
    let joined = async {
        running.joined().await?;
        running.unless_stopped(told(&running, home)).await
    }
    .await;
    running.shutdown().await;
    joined?;
    next(home, &launch.start(home).await?)
}

fn announce(prepared: &Prepared) {
    match (&prepared.stored, &prepared.source) {
        (Some(stored), _) => {
            let (network, name) = (stored.namespace(), &stored.record().name);
            eprintln!("joining {network} again as {name} …");
        }
        (None, Source::Code(code, name)) => match code.kind {
            CodeKind::Group => eprintln!("joining {} as {name} …", code.namespace),
            CodeKind::Invite => {
                eprintln!(
                    "asking a member of {} to be its guest {name} …",
                    code.namespace
                );
            }
        },
        (None, Source::Attested(_) | Source::Stored) => (),
    }
}

/// Prints the story as soon as there is one.
async fn told(running: &Running, home: &Home) -> Result<(), Failure> {
    let mut watch = running.board.watch();
    let _ = tokio::time::timeout(ROSTER_WAIT, watch.wait_for(is_settled)).await;
    out::text(&story(&running.board.status(), home))
}

/// The status of a peer in the background that has joined, with names and grade if they come in time.
async fn settled(client: &Client) -> Result<Status, Failure> {
    let end = Instant::now() + ROSTER_WAIT;
    loop {
        let status = client.status().await?;
        if is_settled(&status) || Instant::now() >= end {
            return Ok(status);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A guest is not measured.
fn is_settled(status: &Status) -> bool {
    let is_guest = |own: &Membership| own.sponsor.is_some();
    !status.peers.is_empty()
        && (status.reachability.is_some() || status.membership.as_ref().is_some_and(is_guest))
}

/// What a person wants to know after joining.
fn story(status: &Status, home: &Home) -> String {
    let mut story = Story::default();
    if let Some(own) = &status.membership {
        let (network, name) = (&own.namespace, &own.name);
        match &own.sponsor {
            Some(sponsor) => story.line(format_args!(
                "joined {network} as {name}, guest of {sponsor}, whom it meets and nobody else"
            )),
            None => story.line(format_args!("joined {network} as {name}")),
        }
    }
    if let Some(report) = &status.reachability {
        story.line(format_args!(
            "grade {}: {}",
            report.grade, report.grade_reason
        ));
    }
    if status.peers.is_empty() {
        story.line("no other members yet");
    }
    for line in text::peers(&status.peers) {
        story.line(line);
    }
    let people: Vec<&Peer> = status
        .peers
        .iter()
        .filter(|peer| peer.verification == Verification::Unverified)
        .collect();
    if !people.is_empty() {
        story.line("compare four emoji with their people:");
    }
    for peer in people.iter().take(ADVISED) {
        story.line(format_args!(
            "  {}",
            home.command(&format!("verify {}", peer.name))
        ));
    }
    if people.len() > ADVISED {
        story.line(format_args!("  … and {} more", people.len() - ADVISED));
    }
    story.0
}

/// What to do with a peer that runs in the background.
fn next(home: &Home, started: &Started) -> Result<(), Failure> {
    let mut story = Story::default();
    story.line(format_args!(
        "it runs in the background as process {}, log in {}",
        started.process,
        started.log.display()
    ));
    story.line("next:");
    for (command, what) in [
        ("status", "what it knows and how it can be reached"),
        ("peers", "the other members"),
        ("expose ssh=22", "offers a service to the network"),
        ("stop", "leaves the network until `peerup start`"),
        ("leave", "leaves it for good"),
    ] {
        story.line(format_args!("  {:24} {what}", home.command(command)));
    }
    out::text(&story.0)
}

#[derive(Debug, Default)]
struct Story(String);

impl Story {
    fn line(&mut self, line: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

#[cfg(test)]
mod tests;
