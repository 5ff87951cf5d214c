//! `peerup stop` and `peerup leave`.

use std::io;
use std::path::Path;
use std::time::Duration;

use peerup_agent::local::{Client, ClientError};
use peerup_agent::{Status, is_running, read_status};

use crate::daemon::log;
use crate::failure::Failure;
use crate::home::Home;
use crate::{ask, out, prepare};

/// Pause between two looks whether a peer has ended …
const LOOK: Duration = Duration::from_millis(50);
/// … and how many there are, in all 15 s: they are counted, since a machine may stand still, and both with it.
const LOOKS: u32 = 300;

/// Ends the peer that runs on the directory.
pub(crate) async fn stop(home: &Home) -> Result<(), Failure> {
    ended(home).await?;
    let start = home.command("start");
    out::text(&format!("stopped; `{start}` brings the peer back\n"))
}

/// Ends the peer and removes all that makes it who it is.
pub(crate) async fn leave(home: &Home, yes: bool) -> Result<(), Failure> {
    let who = who(home.dir()).await?;
    let who = who.ok_or_else(|| Failure::NothingToLeave(shown(home.dir())))?;
    let question =
        format!("leave {who} for good? Key and membership are removed from this machine");
    if !yes && !ask::yes_or_no(&question, "--yes")? {
        return Err(Failure::Kept);
    }
    match ended(home).await {
        Ok(()) | Err(Failure::Client(ClientError::NotRunning(_))) => (),
        Err(failure) => return Err(failure),
    }
    let store = prepare::open(home.dir())?;
    store.erase()?;
    log::remove(home.dir())
        .map_err(|error| Failure::Unexpected(format!("remove the log: {error}")))?;
    out::text(&format!(
        "left {who}; the network forgets this peer after a while, or at once when somebody deletes its Peer\n"
    ))
}

/// Tells the peer to end and waits until it has.
async fn ended(home: &Home) -> Result<(), Failure> {
    Client::new(home.dir()).stop().await?;
    for _ in 0..LOOKS {
        if !is_running(home.dir())? {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(Failure::StillEnding(shown(home.dir())))
}

/// Network and name of the peer that lives in the directory; nothing where no peer lives.
async fn who(dir: &Path) -> Result<Option<String>, Failure> {
    let lives = |name: &str| match std::fs::symlink_metadata(dir.join(name)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::Unexpected(format!("{}: {error}", shown(dir)))),
    };
    if !lives("identity.key")? && !lives("membership.json")? {
        return Ok(None);
    }
    let status = match Client::new(dir).status().await {
        Ok(status) => Some(status),
        // Damaged or gone: leaving is possible all the same.
        Err(_) => read_status::<Status>(dir)
            .ok()
            .flatten()
            .map(|(status, _)| status),
    };
    let membership = status.and_then(|status| status.membership);
    Ok(Some(membership.map_or_else(
        || "the network".to_owned(),
        |own| format!("{} as {}", own.namespace, own.name),
    )))
}

fn shown(dir: &Path) -> String {
    dir.display().to_string()
}
