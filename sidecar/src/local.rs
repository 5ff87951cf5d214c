//! What the sidecar that runs in this pod answers to those who are in its container: `peerup-sidecar netcheck`, and
//! `peerup-sidecar local`, one call of its local API over standard input and output, which `kubectl peerup` runs by
//! `kubectl exec`.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use peerup_agent::local::{Client, bridge};
use peerup_agent::netcheck;
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::Failure;
use crate::args::NetcheckArgs;

/// Has the running sidecar measure, and prints what it found.
pub(crate) async fn netcheck(args: &NetcheckArgs) -> Result<(), Failure> {
    let found = Client::new(&args.local.state_dir).measure().await?;
    if args.json {
        println!("{}", serde_json::json!(found));
    } else {
        print!("{}", netcheck::text::render(&found));
    }
    Ok(())
}

/// Carries the call.
pub(crate) async fn carry(state: &Path) -> Result<(), Failure> {
    let no_pipe = |source| Failure::Io {
        what: "expected pipes as standard input and output, as `kubectl exec --stdin` gives them"
            .to_owned(),
        source,
    };
    let input = io::stdin().as_fd().try_clone_to_owned();
    let input = input.and_then(Receiver::from_owned_fd).map_err(no_pipe)?;
    let output = io::stdout().as_fd().try_clone_to_owned();
    let output = output.and_then(Sender::from_owned_fd).map_err(no_pipe)?;
    bridge(state, input, output).await?;
    Ok(())
}
