//! Our programs as processes: built once by cargo, started with a log file, killed
//! by their id when dropped.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use crate::lab::namespace::Namespace;
use crate::light::repository;
use crate::wait;

/// A running program; dropping it kills it and removes its log.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
    left: bool,
}

impl Program {
    /// Starts a program of ours, e.g. `peerup-relay`, with its output in a log file
    /// and nothing of this process's environment but PATH.
    pub fn start(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Program> {
        let command = Command::new(path(name)?);
        Self::spawn(name, command, log_file(name), |command| {
            command.args(arguments).envs(environment.iter().copied())
        })
    }

    /// As [`Program::start`], on a machine of the lab.
    pub fn start_on(
        machine: &Namespace,
        name: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Program> {
        let command = machine.command(path(name)?);
        Self::spawn(name, command, log_file(machine.name()), |command| {
            command.args(arguments).envs(environment.iter().copied())
        })
    }

    /// As [`Program::start_on`], for a program of the tests themselves, at this path.
    pub fn helper_on(machine: &Namespace, path: &str, arguments: &[&str]) -> Result<Program> {
        let (name, log) = ("helper", log_file(machine.name()));
        Self::spawn(name, machine.command(path), log, |command| {
            command.args(arguments)
        })
    }

    /// Starts a program that may outlive this process (see [`Program::leave`]), with
    /// its output in a log file of one's own choice.
    pub fn detached(name: &str, arguments: &[&str], log: PathBuf) -> Result<Program> {
        // a group of its own: Ctrl-C in a terminal is not meant for it
        let command = Command::new(path(name)?);
        Self::spawn(name, command, log, |command| {
            command.args(arguments).process_group(0)
        })
    }

    fn spawn(
        name: &str,
        mut command: Command,
        log: PathBuf,
        prepare: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<Program> {
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let child = prepare(&mut command)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Program {
            name: name.to_owned(),
            child,
            log,
            left: false,
        })
    }

    /// The process id, for signals.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that the program has printed so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How the program ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until the program answers a plain HTTP request with success. One that ends before is an error at
    /// once; both errors show what it printed last.
    pub async fn answers(&mut self, url: &str, limit: Duration) -> Result<()> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let answered = wait::eventually(url, limit, async || {
            if let Some(status) = self.ended()? {
                return Ok(Err(anyhow!("it has ended: {status}")));
            }
            let answer = http.get(url).send().await?;
            let status = answer.status();
            ensure!(status.is_success(), "{status}: {}", answer.text().await?);
            Ok(Ok(()))
        });
        answered.await.flatten().with_context(|| {
            let output = self.output();
            let last = output.len().saturating_sub(4000);
            let last = (last..output.len()).find(|at| output.is_char_boundary(*at));
            format!(
                "{} printed:\n{}",
                self.name,
                &output[last.unwrap_or_default()..]
            )
        })
    }

    /// Lets the program run on when this is dropped; answers its process id.
    pub fn leave(mut self) -> u32 {
        self.left = true;
        self.id()
    }

    /// Ends the program at once, as a crash would, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- output of {}:\n{}", self.name, self.output());
        }
        let _ = fs::remove_file(&self.log);
    }
}

/// A log file that no other program has.
fn log_file(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    std::env::temp_dir().join(format!(
        "{name}-{}-{}.log",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    ))
}

/// The path of a program of ours, which is up to date: the first call lets cargo
/// build all of them (nothing to do after `make`).
pub fn path(name: &str) -> Result<&'static Path> {
    static BUILT: OnceLock<Result<BTreeMap<String, PathBuf>, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow!("{error}"))?
        .get(name)
        .map(PathBuf::as_path)
        .with_context(|| format!("no program {name} in the workspace"))
}

fn build() -> Result<BTreeMap<String, PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // What cargo tells the package it runs would be news to build scripts that watch it.
    for (name, _) in std::env::vars_os() {
        if is_of_a_package(&name.to_string_lossy()) {
            build.env_remove(name);
        }
    }
    let output = build
        .current_dir(repository())
        .args([
            "build",
            "--workspace",
            "--profile",
            "ci",
            "--message-format",
            "json",
            "--bins",
        ])
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo build")?;
    if !output.status.success() {
        bail!("cargo build: {}", output.status);
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter_map(executable).collect())
}

/// Whether cargo sets the variable for the package that it runs.
fn is_of_a_package(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_"]
        .iter()
        .any(|start| name.starts_with(start))
        || [
            "CARGO_CRATE_NAME",
            "CARGO_PRIMARY_PACKAGE",
            "CARGO_TARGET_TMPDIR",
            "OUT_DIR",
        ]
        .contains(&name)
}

/// Name and path of the program that a line of cargo's JSON messages tells of.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    Some((name.to_owned(), PathBuf::from(path)))
}
