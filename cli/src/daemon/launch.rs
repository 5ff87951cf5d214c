//! Starts the peer of a state directory without ties to this process, and waits until it has joined.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use peerup_agent::local::{Client, ClientError};
use tokio::time::Instant;

use super::log;
use crate::failure::Failure;
use crate::home::Home;
use crate::signals::Signals;
use crate::source;

/// How long the peer may take to join; afterwards it goes on trying alone.
const JOIN: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// How much of the log is read to find out why the peer ended.
const TAIL: u64 = 16 * 1024;

/// How a peer in the background is started.
#[derive(Debug)]
pub(crate) struct Launch {
    /// Options of the process that are not the default.
    pub(crate) options: Vec<String>,
}

/// A peer that runs in the background and has joined.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its process.
    pub(crate) process: u32,
    /// Where it logs.
    pub(crate) log: PathBuf,
}

impl Launch {
    /// Starts the peer; this process must not hold the state directory any more.
    pub(crate) async fn start(&self, home: &Home) -> Result<Started, Failure> {
        let dir = home.dir();
        let failed = |error: io::Error| Failure::Unexpected(format!("start the peer: {error}"));
        let log = log::open(dir).map_err(failed)?;
        let from = log.metadata().map_err(failed)?.len();
        let child = self.command(dir).map_err(failed)?.stderr(log).spawn();
        let mut child = child.map_err(failed)?;
        let mut signals = Signals::listen()?;
        tokio::select! {
            joined = joined(&mut child, home, from) => joined?,
            () = signals.received() => {
                return Err(Failure::Unwatched(home.command("status")));
            }
        }
        Ok(Started {
            process: child.id(),
            log: log::path(dir),
        })
    }

    fn command(&self, dir: &Path) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["daemon", "--detached", "--state-dir"])
            .arg(dir)
            .args(&self.options)
            .env_remove(source::VARIABLE)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Ok(command)
    }
}

/// Waits until the process says over its local API that it has joined.
async fn joined(child: &mut Child, home: &Home, log_from: u64) -> Result<(), Failure> {
    let client = Client::new(home.dir());
    let end = Instant::now() + JOIN;
    loop {
        match child.try_wait() {
            Ok(None) => (),
            Ok(Some(status)) => {
                return Err(Failure::DaemonEnded {
                    code: status.code().and_then(|code| u8::try_from(code).ok()),
                    said: last_words(home.dir(), log_from),
                });
            }
            Err(error) => return Err(Failure::Unexpected(format!("wait for the peer: {error}"))),
        }
        match client.status().await {
            Ok(status) if status.process_id == child.id() && status.joined_time.is_some() => {
                return Ok(());
            }
            Ok(_) | Err(ClientError::NotRunning(_) | ClientError::Silent(_)) => (),
            Err(error) => return Err(error.into()),
        }
        if Instant::now() >= end {
            return Err(Failure::StillJoining(home.command("status")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The last line that the process wrote.
fn last_words(dir: &Path, from: u64) -> String {
    let read = || -> io::Result<String> {
        let mut log = File::open(log::path(dir))?;
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(
            from.max(length.saturating_sub(TAIL)).min(length),
        ))?;
        let mut text = Vec::new();
        log.take(TAIL).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let text = read().unwrap_or_default();
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    let said = last.unwrap_or("it said nothing");
    said.strip_prefix("peerup: ").unwrap_or(said).to_owned()
}

#[cfg(test)]
mod tests {
    use crate::scratch::Scratch;

    use super::*;

    #[test]
    fn a_background_peer_gets_no_code_and_no_terminal() {
        let launch = Launch {
            options: vec!["--log=debug".to_owned()],
        };
        let command = launch.command(Path::new("/s")).unwrap();
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(
            arguments,
            ["daemon", "--detached", "--state-dir", "/s", "--log=debug"]
        );
        let environment: Vec<_> = command.get_envs().collect();
        assert_eq!(environment, [("PEERUP_CODE".as_ref(), None)]);
        assert_eq!(command.get_current_dir(), Some(Path::new("/")));
    }

    #[test]
    fn the_last_words_are_of_this_process() {
        let dir = Scratch::made("last-words");
        let write = |text: &str| std::fs::write(log::path(dir.path()), text).unwrap();
        write("peerup: old\n");
        assert_eq!(last_words(dir.path(), 12), "it said nothing");
        write("peerup: old\nINFO started\npeerup: new\n\n");
        assert_eq!(last_words(dir.path(), 12), "new");
        // The file was turned while it was read.
        assert_eq!(last_words(dir.path(), 1_000_000), "it said nothing");
    }
}
