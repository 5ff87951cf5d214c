//! `peerup join`: all that can be refused locally first, then the agent in the foreground.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use peerup_agent::membership::{Membership, Stored};
use peerup_agent::status::{Status, text};
use peerup_agent::{
    Access, Agent, AgentError, Board, Config, Metrics, Source, Store, fresh_seed, listen_on, own_id,
};
use peerup_protocol::UnixTime;
use peerup_protocol::code::{Code, CodeKind};
use peerup_protocol::id::{InvalidId, PeerName};
use peerup_protocol::secret::{Secret, SecretText};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::args::JoinArgs;
use crate::failure::Failure;

/// How often the status file is written at most, and at least.
const STATUS_PERIODS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Longest time to say goodbye to relays and peers.
const GRACE: Duration = Duration::from_secs(3);
/// How long relays that do not answer are asked.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the story waits for the members' names.
const ROSTER_WAIT: Duration = Duration::from_secs(5);

/// A join to which nothing local is in the way.
#[derive(Debug)]
pub(crate) struct Prepared {
    store: Store,
    seed: Secret<32>,
    stored: Option<Membership>,
    source: Source,
}

/// Checks code, name and state; nothing is sent, and nothing but an identity key is written.
pub(crate) fn prepare(
    args: &JoinArgs,
    code: Option<&SecretText>,
    dir: &Path,
    now: Timestamp,
) -> Result<Prepared, Failure> {
    let code = code.map(|text| Code::parse(text.expose())).transpose()?;
    if code
        .as_ref()
        .is_some_and(|code| code.kind == CodeKind::Invite)
    {
        return Err(Failure::Invite);
    }
    let name = name(args.name.as_deref())?;
    let store = Store::open(dir, Access::Refuse)?;
    let stored = store.membership::<Stored>()?;
    let code = match (&stored, code) {
        (None, None) => return Err(Failure::NoCode(dir.display().to_string())),
        // A code that can't be used leaves no key behind.
        (None, Some(code)) => Some(in_time(code, now)?),
        (Some(_), code) => code,
    };
    let seed = store.identity(fresh_seed())?;
    let Some(stored) = stored else {
        let source = code.map_or(Source::Stored, |code| Source::Code(Box::new(code), name));
        return Ok(Prepared {
            store,
            seed,
            stored: None,
            source,
        });
    };
    let stored = stored
        .restore(own_id(&seed), unix(now))
        .map_err(|error| Failure::Membership {
            dir: dir.display().to_string(),
            reason: error.to_string(),
        })?;
    again(store, seed, stored, code, name, now)
}

/// With a stored membership of the same network the code is not used, unless the record has ended.
fn again(
    store: Store,
    seed: Secret<32>,
    stored: Membership,
    code: Option<Code>,
    name: PeerName,
    now: Timestamp,
) -> Result<Prepared, Failure> {
    if code.as_ref().is_some_and(|code| code.net != stored.net()) {
        return Err(Failure::OtherNetwork {
            dir: store.dir().display().to_string(),
            stored: stored.namespace().to_string(),
        });
    }
    match code {
        Some(code) if !stored.holds(unix(now)) => {
            let source = Source::Code(Box::new(in_time(code, now)?), name);
            Ok(Prepared {
                store,
                seed,
                stored: None,
                source,
            })
        }
        Some(_) | None => Ok(Prepared {
            store,
            seed,
            stored: Some(stored),
            source: Source::Stored,
        }),
    }
}

fn in_time(code: Code, now: Timestamp) -> Result<Code, Failure> {
    if !code.is_expired(unix(now)) {
        return Ok(code);
    }
    let end = Timestamp::from_second(code.not_after.into()).unwrap_or(Timestamp::MAX);
    Err(Failure::Expired(end))
}

fn unix(time: Timestamp) -> UnixTime {
    UnixTime::try_from(time.as_second()).unwrap_or_default()
}

/// The given name, else this machine's.
fn name(given: Option<&str>) -> Result<PeerName, Failure> {
    let machine = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = given.map_or_else(|| label(&machine()), str::to_owned);
    let refused = |error: InvalidId| Failure::Usage(format!("--name: {error}"));
    let name = PeerName::parse(&name).map_err(refused)?;
    name.check_request().map_err(refused)?;
    Ok(name)
}

/// The first label of a machine's name, as far as a peer's name may have its characters.
fn label(machine: &str) -> String {
    let first = machine.trim().split('.').next().unwrap_or_default();
    let kept = first.chars().map(|c| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    });
    let name: String = kept.take(PeerName::MAX_REQUEST).collect();
    name.trim_matches('-').to_owned()
}

/// Joins, tells the story, stays until a signal or the end of the membership.
pub(crate) async fn run(prepared: Prepared) -> Result<(), Failure> {
    match (&prepared.stored, &prepared.source) {
        (Some(stored), _) => eprintln!(
            "joining {} again as {} …",
            stored.namespace(),
            stored.record().name
        ),
        (None, Source::Code(code, name)) => eprintln!("joining {} as {name} …", code.namespace),
        (None, Source::Attested(_) | Source::Stored) => (),
    }
    let board = Board::new(Status::starting(Timestamp::now()));
    let metrics = Metrics::new().map_err(|error| Failure::Unexpected(error.to_string()))?;
    let store = Arc::new(prepared.store);
    let writer = tokio::spawn(write_status(Arc::clone(&store), board.watch()));
    let agent = Agent::start(Config {
        seed: prepared.seed,
        stored: prepared.stored,
        source: prepared.source,
        listen: listen_on(0),
        patience: PATIENCE,
        board: board.clone(),
        metrics,
        store: Arc::clone(&store),
    });
    let result = tokio::select! {
        ended = story(&agent, &board) => Err(Failure::Agent(ended)),
        signal = signalled() => signal.and_then(|()| if board.status().joined_time.is_some() { Ok(()) } else { Err(Failure::Interrupted) }),
    };
    if tokio::time::timeout(GRACE, agent.shutdown()).await.is_err() {
        tracing::warn!("stopped before all was closed");
    }
    writer.abort();
    if let Err(error) = store.save_status(&board.status()) {
        tracing::warn!(%error, "status can't be written");
    }
    result
}

async fn signalled() -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Unexpected(format!("signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
    }
    Ok(())
}

/// Prints what a person wants to see after joining; returns when the membership ends.
async fn story(agent: &Agent, board: &Board) -> AgentError {
    if let Err(error) = agent.joined().await {
        return error;
    }
    let mut watch = board.watch();
    let graded = watch.wait_for(|status| !status.peers.is_empty() && status.reachability.is_some());
    let _ = tokio::time::timeout(ROSTER_WAIT, graded).await;
    // Nobody may be reading.
    let _ = tell(&mut std::io::stdout().lock(), &board.status());
    agent.ended().await
}

fn tell(out: &mut impl Write, status: &Status) -> std::io::Result<()> {
    if let Some(own) = &status.membership {
        writeln!(out, "joined {} as {}", own.namespace, own.name)?;
    }
    if let Some(report) = &status.reachability {
        writeln!(out, "grade {}: {}", report.grade, report.grade_reason)?;
    }
    if status.peers.is_empty() {
        writeln!(out, "no other members yet")?;
    }
    for line in text::peers(&status.peers) {
        writeln!(out, "{line}")?;
    }
    writeln!(
        out,
        "see `peerup status`; Ctrl-C leaves the network until the next `peerup join`"
    )?;
    out.flush()
}

/// Writes the status file when the status changes, and now and then without a change, so that its age says
/// something.
async fn write_status(store: Arc<Store>, mut watch: watch::Receiver<Status>) {
    let mut failing = false;
    loop {
        let mut status = watch.borrow_and_update().clone();
        status.updated_time = Timestamp::now();
        let store = Arc::clone(&store);
        let written = tokio::task::spawn_blocking(move || store.save_status(&status)).await;
        if let Ok(written) = written {
            if let Err(error) = &written
                && !failing
            {
                tracing::warn!(%error, "status can't be written");
            }
            failing = written.is_err();
        }
        tokio::time::sleep(STATUS_PERIODS.0).await;
        if let Ok(Err(_)) = tokio::time::timeout(STATUS_PERIODS.1, watch.changed()).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
