//! Programs of the test bed, made or fetched when they are not there yet.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::lab::namespace::Namespace;
use crate::light::{hack, repository};

/// The path of helm.
pub fn helm() -> Result<PathBuf> {
    script("source hack/lib.sh; need_programs helm; command -v helm")
}

/// The path of promtool.
pub fn promtool() -> Result<PathBuf> {
    let directory = script("hack/prometheus")?;
    Ok(directory.join("promtool"))
}

/// The path of prometheus.
pub fn prometheus() -> Result<PathBuf> {
    let directory = script("hack/prometheus")?;
    Ok(directory.join("prometheus"))
}

/// A command of turnutils_stunclient, a STUN client of others, on a machine of the lab.
pub fn stunclient(machine: &Namespace) -> Result<Command> {
    let directory = script("hack/coturn")?;
    let mut command = machine.command(directory.join("turnutils_stunclient"));
    command.env("LD_LIBRARY_PATH", directory.join("lib"));
    Ok(command)
}

/// The directory of prometheus-operator's custom resources.
pub fn monitoring() -> Result<PathBuf> {
    script("hack/monitoring")
}

fn script(text: &str) -> Result<PathBuf> {
    ensure!(hack("lib.sh").is_file(), "hack/lib.sh is not there");
    let output = Command::new("bash")
        .args(["-euc", text])
        .current_dir(repository())
        .stderr(Stdio::inherit())
        .output()
        .context("run bash")?;
    ensure!(output.status.success(), "{text}: {}", output.status);
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// What a program prints; it is an error, with all that it said, when it fails.
pub fn run(program: &mut Command) -> Result<String> {
    let output = program
        .current_dir(repository())
        .output()
        .with_context(|| format!("run {program:?}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{program:?}: {}", String::from_utf8_lossy(&said));
    }
    Ok(String::from_utf8(output.stdout)?)
}
