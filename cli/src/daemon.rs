//! `peerup daemon`: the peer of the stored membership, until a signal, a call to stop, or the end of the membership.

use std::path::Path;

use crate::failure::Failure;
use crate::peer::Running;
use crate::prepare::Prepared;

pub(crate) mod launch;
pub(crate) mod log;

/// Runs until it is told to end.
pub(crate) async fn run(prepared: Prepared) -> Result<(), Failure> {
    let running = Running::start(prepared)?;
    tracing::info!(dir = %running.dir().display(), "peer started");
    let result = running.ended().await;
    running.shutdown().await;
    match &result {
        Ok(()) => tracing::info!("peer stopped"),
        Err(failure) => tracing::error!(%failure, "peer ended"),
    }
    result
}

/// Cuts the ties to the terminal that started this process, which then may close.
pub(crate) fn detach() {
    if let Err(error) = rustix::process::setsid() {
        // The leader of a group of its own has no session to leave.
        tracing::debug!(%error, "session is kept");
    }
}

/// A unit of systemd for this user, for those who want the peer to start with the machine.
pub(crate) fn unit(program: &Path, dir: &Path) -> String {
    let (program, dir) = (quoted(program), quoted(dir));
    format!(
        "\
[Unit]
Description=Peer of a Peerup network
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={program} daemon --state-dir {dir}
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2 7 9 11
UMask=0077
NoNewPrivileges=true

[Install]
WantedBy=default.target
"
    )
}

/// As a word of a unit's command line: systemd reads `%`, `$`, quotes and backslashes.
fn quoted(path: &Path) -> String {
    let mut text = String::from('"');
    for c in path.display().to_string().chars() {
        match c {
            '%' | '$' => text.extend([c, c]),
            '"' | '\\' => text.extend(['\\', c]),
            _ => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_has_both_paths_as_words() {
        let unit = unit(
            Path::new("/usr/bin/peerup"),
            Path::new("/home/a b/50%$x\"y"),
        );
        let line = r#"ExecStart="/usr/bin/peerup" daemon --state-dir "/home/a b/50%%$$x\"y""#;
        assert!(unit.lines().any(|has| has == line), "{unit}");
    }
}
