//! `peerup status`, `peerup netcheck` and `peerup peers`: what the peer knows, or what it knew when it ended.

use jiff::Timestamp;
use peerup_agent::local::{Client, ClientError};
use peerup_agent::status::{Status, text};
use peerup_agent::{netcheck, read_status};
use serde::Serialize;

use crate::args::StatusArgs;
use crate::failure::Failure;
use crate::home::Home;
use crate::out;

/// The status and whether it still says something about the present.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Seen<'a> {
    running: bool,
    age_seconds: i64,
    #[serde(flatten)]
    status: &'a Status,
}

/// Prints the status, measured anew if that is wanted; fails when no process is behind it.
pub(crate) async fn show(home: &Home, args: &StatusArgs) -> Result<(), Failure> {
    let client = Client::new(home.dir());
    let known = match args.refresh {
        true => match client.measure().await {
            Ok(_) => client.status().await,
            Err(error) => Err(error),
        },
        false => client.status().await,
    };
    let now = Timestamp::now();
    match known {
        Ok(mut status) => {
            // It says what is true now, however long that has been so.
            status.updated_time = now;
            print(&status, true, now, args.json)
        }
        Err(ClientError::NotRunning(dir)) => {
            if let Some((status, _)) = read_status::<Status>(home.dir())? {
                print(&status, false, now, args.json)?;
            }
            Err(Failure::NotRunning(dir.display().to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Prints the status of a peer that runs somewhere.
pub(crate) async fn show_at(client: &Client, json: bool) -> Result<(), Failure> {
    let status = client.status().await?;
    print(&status, true, Timestamp::now(), json)
}

fn print(status: &Status, running: bool, now: Timestamp, json: bool) -> Result<(), Failure> {
    if !json {
        return out::text(&text::render(status, running, now));
    }
    let age = now
        .as_second()
        .saturating_sub(status.updated_time.as_second());
    out::json(&Seen {
        running,
        age_seconds: age.max(0),
        status,
    })
}

/// Has a peer measure, and prints what it found.
pub(crate) async fn netcheck(client: &Client, json: bool) -> Result<(), Failure> {
    let found = client.measure().await?;
    if json {
        return out::json(&found);
    }
    out::text(&netcheck::text::render(&found))
}

/// Prints the members that a peer knows.
pub(crate) async fn peers(client: &Client, json: bool) -> Result<(), Failure> {
    let status = client.status().await?;
    if json {
        return out::json(&status.peers);
    }
    if status.peers.is_empty() {
        return out::text("no other members\n");
    }
    let lines: String = text::peers(&status.peers).map(|line| line + "\n").collect();
    out::text(&lines)
}
