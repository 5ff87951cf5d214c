//! A peer outside of the cluster: the program `peerup` on this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::programs::{self, Program};
use crate::wait::patiently;

/// A running `peerup join`; dropping it ends the process, not the membership.
#[derive(Debug)]
pub struct Laptop {
    program: Program,
    directory: PathBuf,
}

impl Laptop {
    /// Joins with a code, as `peerup join --foreground --code-file FILE --name NAME` does; its
    /// state is in the directory.
    pub fn join(directory: &Path, code: &str, name: &str) -> Result<Laptop> {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
        let file = directory.join("code");
        fs::write(&file, code)?;
        Self::start(directory, &["--code-file", text(&file)?, "--name", name])
    }

    /// Joins, also when a try runs into moments without a relay ("no relay answered") or is cut off in the middle
    /// ("pairing failed"): the same peer may use its code again. Answers what it told at last, too.
    pub async fn joins(
        directory: &Path,
        code: &str,
        name: &str,
        limit: Duration,
    ) -> Result<(Laptop, String)> {
        patiently(&format!("{name} to join"), limit, async || {
            let mut laptop = Self::join(directory, code, name)?;
            let story = laptop.joined(limit).await?;
            Ok((laptop, story))
        })
        .await
    }

    /// Joins again with the stored membership.
    pub fn rejoin(directory: &Path) -> Result<Laptop> {
        Self::start(directory, &[])
    }

    fn start(directory: &Path, arguments: &[&str]) -> Result<Laptop> {
        let shown = arguments.join(" ");
        let state = text(directory)?;
        println!("$ peerup join --foreground {shown} --state-dir {state}");
        let all = [&["join", "--foreground", "--state-dir", state], arguments].concat();
        Ok(Laptop {
            program: Program::detached("peerup", &all, directory.join("log"))?,
            directory: directory.to_owned(),
        })
    }

    /// All that it has printed so far.
    pub fn output(&self) -> String {
        self.program.output()
    }

    /// Waits until it has told that it joined, with the members' names.
    pub async fn joined(&mut self, limit: Duration) -> Result<String> {
        patiently("the laptop to join", limit, async || {
            let output = self.output();
            if let Some(status) = self.program.ended()? {
                return Ok(Err(anyhow::anyhow!("it ended with {status}: {output}")));
            }
            ensure!(
                output.contains("Ctrl-C leaves the network"),
                "it said: {output}"
            );
            Ok(Ok(output))
        })
        .await?
    }

    /// Waits until it ends by itself; answers its exit code and what it printed.
    pub async fn ended(&mut self, limit: Duration) -> Result<(i32, String)> {
        patiently("the laptop to give up", limit, async || {
            let status = self.program.ended()?.context("it still runs")?;
            let code = status.code().context("a signal ended it")?;
            Ok((code, self.output()))
        })
        .await
    }

    /// Waits until it is connected to a relay and holds a reservation there.
    pub async fn connected(&self, limit: Duration) -> Result<Value> {
        patiently("the laptop to be connected", limit, async || {
            let status = status(&self.directory)?;
            let relays = status["relays"].as_array().cloned().unwrap_or_default();
            ensure!(
                relays
                    .iter()
                    .any(|relay| relay["connected"] == true && relay["reserved"] == true),
                "its relays: {relays:?}, problem: {}",
                status["problem"]
            );
            Ok(status)
        })
        .await
    }

    /// Runs `peerup` with these words for this peer, and waits for the end.
    pub async fn ask(&self, arguments: &[&str]) -> Result<Output> {
        println!("$ peerup {}", arguments.join(" "));
        let mut command = Command::new(programs::path("peerup")?);
        command
            .args(arguments)
            .args(["--state-dir", text(&self.directory)?])
            .stdin(Stdio::null());
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }

    /// Lets it run on when this process ends; answers its process id.
    pub fn leave(self) -> u32 {
        self.program.leave()
    }
}

/// What `peerup status --json` says.
pub fn status(directory: &Path) -> Result<Value> {
    let output = Command::new(programs::path("peerup")?)
        .args(["status", "--json", "--state-dir", text(directory)?])
        .output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("peerup status: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Standard output and standard error of a command.
pub fn text_of(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part));
    both.concat()
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no UTF-8")
}
