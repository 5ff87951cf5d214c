//! One network namespace: a machine of the lab, as far as the network goes.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// What a new machine is told: no pause until an IPv6 address may be used, no address by itself.
const QUIET: &str = "\
cd /proc/sys/net/ipv6/conf
echo 0 >all/disable_ipv6
for which in all default; do echo 0 >$which/accept_dad; echo 0 >$which/accept_ra; done";

/// A network namespace; dropping it removes it, as soon as nobody is in it any more.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one whose name nobody else has.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        run(Command::new("ip").args(["netns", "add", &name]), "")?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        namespace.sh(QUIET)?;
        Ok(namespace)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A program in it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs commands of `ip`, one a line, without the word `ip`.
    pub fn ip(&self, lines: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "-batch", "-"]);
        run(&mut command, lines).map(drop)
    }

    /// Puts these rules in place of all that there are.
    pub fn nft(&self, rules: &str) -> Result<()> {
        let rules = format!("flush ruleset\n{rules}");
        run(self.command("nft").args(["-f", "-"]), &rules).map(drop)
    }

    /// Makes it pass on what is not for itself.
    pub fn forward(&self) -> Result<()> {
        self.sh("cd /proc/sys/net; echo 1 >ipv4/ip_forward; echo 1 >ipv6/conf/all/forwarding")
    }

    /// Runs a line of shell in it.
    pub fn sh(&self, line: &str) -> Result<()> {
        run(self.command("bash").args(["-euc", line]), "").map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let deleted = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("the network namespace {} is not removed", self.name);
        }
    }
}

/// Runs a command with this standard input; what it prints.
pub(super) fn run(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {command:?}"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    // it may end without having read all: its status tells
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{input}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
