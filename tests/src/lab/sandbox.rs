//! Namespaces of a run's own: network, mounts and processes. The kernel ends and removes all that is in
//! them when their first process is gone, which happens as soon as the program that made them is.

use std::convert::Infallible;
use std::env;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Set for a program that runs inside.
const INSIDE: &str = "PEERUP_LAB_INSIDE";

/// Where temporary files lie inside: in memory, seen by nobody else.
pub const DIRECTORY: &str = "/run/peerup-lab";

/// Runs the words that follow. The shell stays as the first process, because that one has to reap those
/// whose parents have ended.
const SETUP: &str = "\
mkdir -p /run/netns \"$TMPDIR\"
mount -t tmpfs peerup-lab /run/netns
mount -t tmpfs peerup-lab \"$TMPDIR\"
ip link set lo up
status=0; \"$0\" \"$@\" || status=$?
exit $status";

/// Whether this program runs inside.
#[must_use]
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Says why there can't be a sandbox on this machine; nothing if there can.
pub fn lacking() -> Result<Option<String>> {
    let output = command("true".as_ref())
        .output()
        .context("run unshare, of util-linux")?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    Ok(Some(format!(
        "the lab needs root with NET_ADMIN and SYS_ADMIN: {last}"
    )))
}

/// Runs this program inside, with the same arguments, in place of this process.
pub fn enter() -> Result<Infallible> {
    let program = env::current_exe().context("this program's own path")?;
    let error = command(program.as_os_str())
        .args(env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    bail!("run unshare, of util-linux: {error}")
}

fn command(program: &OsStr) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child"])
        .args(["--mount-proc", "--", "bash", "-euc", SETUP])
        .arg(program)
        .env("TMPDIR", DIRECTORY);
    command
}
