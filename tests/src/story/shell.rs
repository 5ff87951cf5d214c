//! Commands, shown as they are typed.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use tokio::task::block_in_place;

use crate::light::repository;

/// How much of a command is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// The command.
    Command,
    /// The command and what it says.
    All,
}

/// Runs commands in the top directory of the repository.
#[derive(Debug, Clone, Copy)]
pub struct Shell {
    /// How much is shown.
    pub show: Show,
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Said {
    command: String,
    output: Output,
}

impl Shell {
    /// Runs a line as bash does.
    pub fn run(self, line: &str) -> Result<Said> {
        self.feed(line, "")
    }

    /// As [`Shell::run`], with a text as standard input.
    pub fn feed(self, line: &str, input: &str) -> Result<Said> {
        println!("$ {line}");
        let said = finish(line, input)?;
        if self.show == Show::All {
            print!("{}{}", said.text(), said.complaint());
        }
        Ok(said)
    }
}

/// Runs a line without showing it.
pub fn quietly(line: &str) -> Result<Said> {
    finish(line, "")
}

fn finish(line: &str, input: &str) -> Result<Said> {
    block_in_place(|| started(line, input)).with_context(|| format!("run {line}"))
}

fn started(line: &str, input: &str) -> Result<Said> {
    let mut child = Command::new("bash")
        .args(["-c", line])
        .current_dir(repository())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // a command that fails does not read to the end, and says why itself
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    Ok(Said {
        command: line.to_owned(),
        output,
    })
}

impl Said {
    /// What it said on standard output.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// What it said on standard error.
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Its exit code; none when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// Its standard output, if it succeeded.
    pub fn ok(self) -> Result<String> {
        if !self.output.status.success() {
            bail!(
                "{}: {}: {}{}",
                self.command,
                self.output.status,
                self.text(),
                self.complaint()
            );
        }
        Ok(self.text())
    }

    /// Its standard error, if it failed and said all of these words.
    pub fn refused(self, words: &[&str]) -> Result<String> {
        let complaint = self.complaint();
        ensure!(
            !self.output.status.success(),
            "{} should have been refused and was not: {}",
            self.command,
            self.text()
        );
        for word in words {
            ensure!(
                complaint.contains(word),
                "{}: no word of {word:?} in {complaint}",
                self.command
            );
        }
        Ok(complaint)
    }
}
