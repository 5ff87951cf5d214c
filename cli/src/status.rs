//! `peerup status`: what the peer that runs elsewhere has written into its state directory.

use std::path::Path;

use jiff::Timestamp;
use peerup_agent::read_status;
use peerup_agent::status::{Status, text};
use serde::Serialize;

use crate::failure::Failure;

/// The status and whether it still says something about the present.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Seen<'a> {
    running: bool,
    age_seconds: i64,
    #[serde(flatten)]
    status: &'a Status,
}

/// Prints the status; fails when the process that wrote it is gone.
pub(crate) fn show(dir: &Path, json: bool) -> Result<(), Failure> {
    let not_running = || Failure::NotRunning(dir.display().to_string());
    let (status, running) = read_status::<Status>(dir)?.ok_or_else(not_running)?;
    let now = Timestamp::now();
    if json {
        let age_seconds = now
            .as_second()
            .saturating_sub(status.updated_time.as_second())
            .max(0);
        let seen = Seen {
            running,
            age_seconds,
            status: &status,
        };
        let text = serde_json::to_string_pretty(&seen)
            .map_err(|error| Failure::Unexpected(error.to_string()))?;
        println!("{text}");
    } else {
        print!("{}", text::render(&status, running, now));
    }
    if running { Ok(()) } else { Err(not_running()) }
}
