//! Where log lines go: to the terminal, to a service manager, or into the state directory.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::args::{LogArgs, LogFormat};
use crate::daemon::log::Log;
use crate::failure::Failure;

/// What libp2p says by default and nobody needs; a filter of one's own comes after it and wins.
const QUIET: &str = "libp2p_kad=error,libp2p_swarm=warn";

/// For a person, who wants to hear of trouble only.
pub(crate) fn to_terminal(args: &LogArgs) -> Result<(), Failure> {
    init(args, "warn", io::stderr, io::stderr().is_terminal())
}

/// For a service manager, which reads standard error.
pub(crate) fn to_journal(args: &LogArgs) -> Result<(), Failure> {
    init(args, "info", io::stderr, io::stderr().is_terminal())
}

/// For a peer in the background.
pub(crate) fn to_file(args: &LogArgs, dir: &Path) -> Result<(), Failure> {
    let log = Log::new(dir)
        .map_err(|error| Failure::Unexpected(format!("log in {}: {error}", dir.display())))?;
    init(args, "info", Mutex::new(log), false)
}

fn init(
    args: &LogArgs,
    default: &str,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    colours: bool,
) -> Result<(), Failure> {
    let filter = args.filter.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))
        .map_err(|error| Failure::Usage(format!("--log: {error}")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer);
    match args.format {
        LogFormat::Text => builder.with_ansi(colours).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
