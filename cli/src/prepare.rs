//! What can be refused locally, before anything is sent: the code, the name, the state directory.

use std::path::Path;

use jiff::Timestamp;
use peerup_agent::membership::{Membership, Stored};
use peerup_agent::{Access, Source, StateError, Store, fresh_seed, own_id};
use peerup_protocol::UnixTime;
use peerup_protocol::code::Code;
use peerup_protocol::id::{InvalidId, PeerName};
use peerup_protocol::secret::{Secret, SecretText};

use crate::failure::Failure;

/// A join to which nothing local is in the way.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) store: Store,
    pub(crate) seed: Secret<32>,
    pub(crate) stored: Option<Membership>,
    pub(crate) source: Source,
}

impl Prepared {
    /// True if the membership comes from the state directory: no code is redeemed.
    pub(crate) fn is_stored(&self) -> bool {
        self.stored.is_some()
    }
}

/// Checks code, name and state; nothing is sent, and nothing but an identity key is written. Without a code the stored
/// membership is used.
pub(crate) fn prepare(
    code: Option<&SecretText>,
    given: Option<&str>,
    dir: &Path,
    now: Timestamp,
) -> Result<Prepared, Failure> {
    let wanted = match code.map(|text| Code::parse(text.expose())).transpose()? {
        Some(code) => Some((code, name(given)?)),
        None => None,
    };
    let store = open(dir)?;
    let stored = store.membership::<Stored>()?;
    let wanted = match (&stored, wanted) {
        (None, None) => return Err(Failure::NoCode(dir.display().to_string())),
        // A code that can't be used leaves no key behind.
        (None, Some((code, name))) => Some((in_time(code, now)?, name)),
        (Some(_), wanted) => wanted,
    };
    let seed = store.identity(fresh_seed())?;
    let stored = stored.map(|stored| stored.restore(own_id(&seed), unix(now)));
    let stored = stored.transpose().map_err(|error| Failure::Membership {
        dir: dir.display().to_string(),
        reason: error.to_string(),
    })?;
    let (stored, source) = choose(stored, wanted, dir, now)?;
    Ok(Prepared {
        store,
        seed,
        stored,
        source,
    })
}

/// Holds a person's state directory.
pub(crate) fn open(dir: &Path) -> Result<Store, Failure> {
    Store::open(dir, Access::Refuse).map_err(|error| match error {
        StateError::InUse { path } => Failure::AlreadyRunning(path.display().to_string()),
        StateError::Io { .. }
        | StateError::Permissions { .. }
        | StateError::Owner { .. }
        | StateError::Damaged { .. } => Failure::State(error),
    })
}

/// With a stored membership of the same network the code is not used, unless the record has ended. A guest that has a
/// code wants to be a member, or somebody's guest again.
fn choose(
    stored: Option<Membership>,
    wanted: Option<(Code, PeerName)>,
    dir: &Path,
    now: Timestamp,
) -> Result<(Option<Membership>, Source), Failure> {
    let redeem = |(code, name)| (None, Source::Code(Box::new(code), name));
    match (stored, wanted) {
        (Some(stored), Some((code, _))) if code.net != stored.net() => Err(Failure::OtherNetwork {
            dir: dir.display().to_string(),
            stored: stored.namespace().to_string(),
        }),
        (Some(stored), Some((code, name)))
            if stored.hosted().is_some() || !stored.holds(unix(now)) =>
        {
            Ok(redeem((in_time(code, now)?, name)))
        }
        (Some(stored), _) => Ok((Some(stored), Source::Stored)),
        (None, Some(wanted)) => Ok(redeem(wanted)),
        (None, None) => Ok((None, Source::Stored)),
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

#[cfg(test)]
mod tests;
