//! `peerup`, the peer on a laptop: joins a network with a code and stays a member of it in the background.
//!
//! ```text
//! peerup join CODE ── redeems the code, then starts ──▶ peerup daemon ──▶ peerup_agent::Agent
//! peerup status, stop, … ────── local API (a Unix socket) ──────▲
//! ```
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")
)]

mod args;
mod ask;
mod daemon;
mod failure;
mod home;
mod invite;
mod join;
mod kubectl;
mod logging;
mod manual;
mod out;
mod peer;
mod ping;
mod prepare;
#[cfg(test)]
mod scratch;
mod services;
mod signals;
mod source;
mod span;
mod status;
mod stop;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use jiff::Timestamp;
use peerup_agent::local::Client;

use args::{Cli, Command, DaemonArgs, JoinArgs, LogArgs};
use daemon::launch::Launch;
use failure::Failure;
use home::Home;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let done = if kubectl::is_called(std::env::args_os().next().as_deref()) {
        kubectl::run(kubectl::Plugin::parse().args)
    } else {
        run(Cli::parse())
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("peerup: {failure}");
            failure.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let home = || {
        Home::find(cli.state_dir.clone(), |name| {
            std::env::var_os(name).map(PathBuf::from)
        })
    };
    let local = || Ok::<_, Failure>(Client::new(home()?.dir()));
    match cli.command {
        Command::Version => out::text(concat!("peerup ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Completion(args) => manual::completion(args.shell),
        Command::Man(args) => manual::pages(args.dir.as_deref()),
        Command::Kubectl(args) => {
            logging::to_terminal(&cli.log)?;
            kubectl::run(args)
        }
        Command::Daemon(args) => daemon(&args, &cli.log, &home()?),
        Command::Join(args) => {
            logging::to_terminal(&cli.log)?;
            join(&args, &cli.log, &home()?)
        }
        Command::Start => {
            logging::to_terminal(&cli.log)?;
            start(&cli.log, &home()?)
        }
        Command::Status(args) => ask(&cli.log, status::show(&home()?, &args)),
        Command::Netcheck(args) => ask(&cli.log, status::netcheck(&local()?, args.json)),
        Command::Peers(args) => ask(&cli.log, status::peers(&local()?, args.json)),
        Command::Ping(args) => ask(&cli.log, ping::ping(&local()?, &args)),
        Command::Traceroute(args) => ask(&cli.log, ping::traceroute(&local()?, &args)),
        Command::Verify(args) => ask(&cli.log, verify::verify(&home()?, &args)),
        Command::Invite(args) => ask(&cli.log, invite::invite(&home()?, &args)),
        Command::Expose(args) => ask(&cli.log, services::expose(&home()?, &args)),
        Command::Forward(args) => ask(&cli.log, services::forward(&home()?, &args)),
        Command::Services(args) => ask(&cli.log, services::list(&home()?, args.json)),
        Command::Stop => ask(&cli.log, stop::stop(&home()?)),
        Command::Leave(args) => ask(&cli.log, stop::leave(&home()?, args.yes)),
    }
}

fn join(args: &JoinArgs, log: &LogArgs, home: &Home) -> Result<(), Failure> {
    let variable = std::env::var(source::VARIABLE).ok();
    let code = source::read(args, std::io::stdin(), variable)?;
    private();
    let name = args.name.as_deref();
    let prepared = prepare::prepare(code.as_ref(), name, home.dir(), Timestamp::now())?;
    if args.foreground {
        with_network(join::in_foreground(prepared, home))
    } else {
        with_network(join::in_background(prepared, home, &launch(log)))
    }
}

fn start(log: &LogArgs, home: &Home) -> Result<(), Failure> {
    private();
    let prepared = prepare::prepare(None, None, home.dir(), Timestamp::now())?;
    with_network(join::in_background(prepared, home, &launch(log)))
}

fn daemon(args: &DaemonArgs, log: &LogArgs, home: &Home) -> Result<(), Failure> {
    if args.print_unit {
        let program = std::env::current_exe()
            .map_err(|error| Failure::Unexpected(format!("path of this program: {error}")))?;
        return out::text(&daemon::unit(&program, home.dir()));
    }
    private();
    if args.detached {
        daemon::detach();
        logging::to_file(log, home.dir())?;
    } else {
        logging::to_journal(log)?;
    }
    let prepared = prepare::prepare(None, None, home.dir(), Timestamp::now())?;
    with_network(daemon::run(prepared))
}

fn launch(log: &LogArgs) -> Launch {
    Launch {
        options: log.options(),
    }
}

/// Whatever this process creates is for its user only.
fn private() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// A short conversation with the peer that runs elsewhere.
fn ask(log: &LogArgs, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    logging::to_terminal(log)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Unexpected(format!("runtime: {error}")))?
        .block_on(work)
}

/// A peer in this process.
fn with_network(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .install_default()
        .map_err(|_| Failure::Unexpected("another TLS provider is installed".to_owned()))?;
    tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Unexpected(format!("threads: {error}")))?
        .block_on(work)
}
