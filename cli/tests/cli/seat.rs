//! A state directory, and `peerup` called on it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::relay::Network;
use crate::wait::in_time;

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// It ended with the exit code, and said the words to the person.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.contains(words), "no {words:?} in {self:?}");
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Removed at the end, with the peer that runs on it.
#[derive(Debug)]
pub(crate) struct Seat(PathBuf);

impl Seat {
    pub(crate) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("peerup-seat-{:016x}", rand::random::<u64>())))
    }

    /// A directory that is there, as its owner would make it.
    pub(crate) fn made() -> Self {
        let seat = Self::new();
        fs::create_dir(&seat.0).unwrap();
        seat.chmod("", 0o700);
        seat
    }

    /// A peer that has joined and runs in the background.
    pub(crate) async fn joined(network: &Network, slot: u16, name: &str) -> Self {
        let seat = Self::new();
        let code = network.code(slot).to_text().expose().to_owned();
        seat.fed(&["join", "-", "--name", name], &code).await.ok();
        seat
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    pub(crate) fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.0.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        let meta = fs::metadata(self.0.join(name)).unwrap();
        meta.permissions().mode() & 0o7777
    }

    /// What lies in the directory, in order.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// `peerup` with the arguments on this directory, and nothing of this process's environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peerup"));
        command
            .env_clear()
            .env("PEERUP_STATE_DIR", &self.0)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    pub(crate) async fn call(&self, arguments: &[&str]) -> Said {
        run(self.command(arguments), "").await
    }

    /// A call with something on its standard input.
    pub(crate) async fn fed(&self, arguments: &[&str], input: &str) -> Said {
        run(self.command(arguments), input).await
    }

    /// The process that the status tells of.
    pub(crate) async fn process(&self) -> u32 {
        let status = self.call(&["status", "--json"]).await.ok().json();
        u32::try_from(status["processId"].as_u64().unwrap()).unwrap()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.command(&["stop"]).output();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.0.join("daemon.log")).unwrap_or_default();
            eprintln!("--- {}:\n{log}", self.0.display());
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) async fn run(mut command: Command, input: &str) -> Said {
    let piped = if input.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    command
        .stdin(piped)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).unwrap();
    }
    let output = tokio::task::spawn_blocking(move || child.wait_with_output());
    let ended = in_time(&format!("the end of {command:?}"), output).await;
    let output: Output = ended.unwrap().unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn is_alive(process: u32) -> bool {
    // A process that has ended and was not waited for has an empty command line.
    fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

pub(crate) fn signal(process: u32, signal: rustix::process::Signal) {
    let process = rustix::process::Pid::from_raw(process.try_into().unwrap()).unwrap();
    rustix::process::kill_process(process, signal).unwrap();
}

/// A process that is killed at the end of the test.
#[derive(Debug)]
pub(crate) struct Foreground(pub(crate) Child);

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
