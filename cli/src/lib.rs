//! `peerup`, the peer on a laptop: joins a network with a code, stays a member of it in the foreground, and shows
//! its status. The work is done by [`peerup_agent::Agent`].
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")
)]

mod args;
mod failure;
mod join;
mod source;
mod status;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use jiff::Timestamp;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command, LogFormat};
use failure::Failure;

/// What libp2p says by default and nobody needs; a filter of one's own comes after it and wins.
const QUIET: &str = "libp2p_kad=error,libp2p_swarm=warn";

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("peerup: {failure}");
            failure.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    log(&cli.log, cli.log_format)?;
    match cli.command {
        Command::Version => {
            println!("peerup {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Command::Status(args) => status::show(&state_dir(cli.state_dir)?, args.json),
        Command::Join(args) => {
            let code = source::read(
                &args,
                std::io::stdin(),
                std::env::var(source::VARIABLE).ok(),
            )?;
            let dir = state_dir(cli.state_dir)?;
            let prepared = join::prepare(&args, code.as_ref(), &dir, Timestamp::now())?;
            let provider = rustls::crypto::aws_lc_rs::default_provider();
            provider
                .install_default()
                .map_err(|_| Failure::Unexpected("another TLS provider is installed".to_owned()))?;
            tokio::runtime::Runtime::new()
                .map_err(|error| Failure::Unexpected(format!("threads: {error}")))?
                .block_on(join::run(prepared))
        }
    }
}

fn log(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))
        .map_err(|error| Failure::Usage(format!("--log: {error}")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// The given directory, else the user's (XDG base directories).
fn state_dir(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let from = |variable: &str| {
        std::env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    given
        .or_else(|| from("XDG_DATA_HOME").map(|data| data.join("peerup")))
        .or_else(|| from("HOME").map(|home| home.join(".local/share/peerup")))
        .ok_or_else(|| Failure::Usage("expected --state-dir, since HOME is not set".to_owned()))
}
