//! `peerup` on a machine of the lab.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::namespace::Namespace;
use super::sandbox;
use crate::programs::Program;
use crate::story::laptop;
use crate::wait::eventually;

/// Longest time for a join, from wherever it is.
const JOIN: Duration = Duration::from_secs(120);

/// A peer, and its state directory. Dropping it ends the process.
#[derive(Debug)]
pub struct Peer {
    program: Option<Program>,
    directory: PathBuf,
    name: String,
}

impl Peer {
    /// Joins with a code, from this machine.
    pub async fn join(machine: &Namespace, code: &str) -> Result<Self> {
        let name = machine.name().to_owned();
        let directory = Path::new(sandbox::DIRECTORY).join(&name);
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        let file = directory.join("code");
        fs::write(&file, code)?;
        let mut peer = Self {
            program: None,
            directory,
            name: name.clone(),
        };
        let file = file.to_str().context("a path that is no UTF-8")?;
        // A try that is cut off in the middle ends with "pairing failed": the same peer may use its code again.
        eventually(&format!("{name} to join"), JOIN, async || {
            let code = ["--code-file", file, "--name", &name];
            if peer.has_ended()? {
                peer.run(machine, &code)?;
            }
            let joined = peer.status()?["membership"].is_object();
            ensure!(joined, "it printed: {}", peer.output());
            Ok(())
        })
        .await?;
        Ok(peer)
    }

    fn has_ended(&mut self) -> Result<bool> {
        match &mut self.program {
            Some(program) => Ok(program.ended()?.is_some()),
            None => Ok(true),
        }
    }

    /// Ends the process as a crash would, and joins again from this machine with the stored membership.
    pub fn again(&mut self, machine: &Namespace) -> Result<()> {
        self.program = None;
        self.run(machine, &[])
    }

    fn run(&mut self, machine: &Namespace, arguments: &[&str]) -> Result<()> {
        let state = self.directory.to_str().context("a path that is no UTF-8")?;
        let arguments = [&["join", "--foreground", "--state-dir", state], arguments].concat();
        let environment = [("PEERUP_LOG", "info,peerup_agent=debug,peerup_node=debug")];
        self.program = Some(Program::start_on(
            machine,
            "peerup",
            &arguments,
            &environment,
        )?);
        Ok(())
    }

    /// Its name in the network, which is its machine's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `peerup status --json` says.
    pub fn status(&self) -> Result<Value> {
        laptop::status(&self.directory)
    }

    /// All that it has printed since it was started last.
    #[must_use]
    pub fn output(&self) -> String {
        self.program
            .as_ref()
            .map(Program::output)
            .unwrap_or_default()
    }
}
