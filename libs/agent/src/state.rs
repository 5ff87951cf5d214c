//! What a peer keeps on disk: its identity key, its membership, its status. One directory belongs to one peer.
//!
//! Every write is whole: a new file is written beside, made durable, then renamed. The key is made once with mode
//! 0600. A lock is held while a program uses the directory; it is also how another program sees whether it runs. A
//! person's directory is refused when others may write what is believed, or read what is secret.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use peerup_protocol::secret::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;

const IDENTITY: &str = "identity.key";
const MEMBERSHIP: &str = "membership.json";
const SERVICES: &str = "services.json";
const VERIFIED: &str = "verified.json";
const GUESTS: &str = "guests.json";
const STATUS: &str = "status.json";
const LOCK: &str = "lock";
/// The directory of the local API's socket.
pub(crate) const RUN: &str = "run";
/// Larger files are not ours; a status with some ten thousand members is.
const MAX_FILE: u64 = 8 * 1024 * 1024;

/// Why the state directory can't be used; every message names the path.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading or writing failed (no space, no permission, …).
    #[error("{action} {path}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Others may read or write what only the owner may.
    #[error(
        "{path} has mode {found:04o}; expected that only its owner has access: chmod {expected:04o} it"
    )]
    Permissions {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        found: u32,
        /// What they should be.
        expected: u32,
    },
    /// The directory is another user's, who can replace whatever lies in it.
    #[error(
        "{path} belongs to user {owner}, this program runs as user {user}; expected that they are the same: run it as that user, or choose another directory"
    )]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who runs this.
        user: u32,
    },
    /// A file is not what this program wrote.
    #[error("{path} is damaged ({reason}); remove it to start anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process holds the directory.
    #[error("{path} is in use by another process")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

/// What to do when others have access to a secret file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Refuse: a person's directory, where wrong permissions are a finding.
    Refuse,
    /// Tighten: a pod's volume, whose files the kubelet may open to the pod's group (fsGroup).
    Tighten,
}

/// An open state directory, held until dropped.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    access: Access,
    /// One write at a time.
    writing: Mutex<()>,
    _lock: File,
}

impl Store {
    /// Opens `dir` (made with mode 0700 if missing) and holds it against other processes.
    ///
    /// # Errors
    /// [`StateError::InUse`] when another process holds it; under [`Access::Refuse`] [`StateError::Permissions`] when
    /// others may write it and [`StateError::Owner`] when it is another user's; else [`StateError::Io`].
    pub fn open(dir: &Path, access: Access) -> Result<Self, StateError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed("create", dir))?;
        if access == Access::Refuse {
            refuse_owner(dir, rustix::process::geteuid().as_raw())?;
            refuse_mode(dir, 0o022, 0o700)?;
        }
        let path = dir.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open", &path))?;
        if !hold(&lock).map_err(failed("lock", &path))? {
            return Err(StateError::InUse {
                path: dir.to_owned(),
            });
        }
        Ok(Self {
            dir: dir.to_owned(),
            access,
            writing: Mutex::new(()),
            _lock: lock,
        })
    }

    /// The peer's key seed: the stored one, or `fresh`, which is stored first.
    ///
    /// # Errors
    /// When the key can't be read or made durable, or others have access to it under [`Access::Refuse`].
    pub fn identity(&self, fresh: Secret<32>) -> Result<Secret<32>, StateError> {
        let path = self.dir.join(IDENTITY);
        if let Some(seed) = self.stored_identity(&path)? {
            return Ok(seed);
        }
        write_whole(&path, fresh.expose())?;
        Ok(fresh)
    }

    fn stored_identity(&self, path: &Path) -> Result<Option<Secret<32>>, StateError> {
        let Some(file) = open_if_there(path)? else {
            return Ok(None);
        };
        let mode = mode_of(path)?;
        if mode & 0o077 != 0 {
            match self.access {
                Access::Refuse => refuse_mode(path, 0o077, 0o600)?,
                Access::Tighten => file
                    .set_permissions(Permissions::from_mode(0o600))
                    .map_err(failed("chmod", path))?,
            }
        }
        let mut seed = [0_u8; 33];
        let mut length = 0;
        let mut file = file.take(33);
        loop {
            match file
                .read(&mut seed[length..])
                .map_err(failed("read", path))?
            {
                0 => break,
                n => length += n,
            }
        }
        match seed.first_chunk::<32>() {
            Some(first) if length == 32 => Ok(Some(Secret::from(*first))),
            Some(_) | None => Err(StateError::Damaged {
                path: path.to_owned(),
                reason: "expected a key of 32 bytes".to_owned(),
            }),
        }
    }

    /// The stored membership, if there is one.
    ///
    /// # Errors
    /// When the file can't be read or is not one, or others may write it under [`Access::Refuse`].
    pub fn membership<T: DeserializeOwned>(&self) -> Result<Option<T>, StateError> {
        self.read(MEMBERSHIP)
    }

    /// Stores the membership durably.
    ///
    /// # Errors
    /// When it can't be written; the former one is then still there.
    pub fn save_membership<T: Serialize>(&self, membership: &T) -> Result<(), StateError> {
        self.write(MEMBERSHIP, membership)
    }

    /// Forgets the membership, for instance of a network that is gone. The key stays.
    ///
    /// # Errors
    /// When the file can't be removed.
    pub fn forget_membership(&self) -> Result<(), StateError> {
        remove_if_there(&self.dir.join(MEMBERSHIP))
    }

    /// The services that the owner has asked for, if any.
    ///
    /// # Errors
    /// As [`Store::membership`].
    pub fn services<T: DeserializeOwned>(&self) -> Result<Option<T>, StateError> {
        self.read(SERVICES)
    }

    /// Stores durably which services the owner has asked for.
    ///
    /// # Errors
    /// When they can't be written; the former ones are then still there.
    pub fn save_services<T: Serialize>(&self, services: &T) -> Result<(), StateError> {
        self.write(SERVICES, services)
    }

    /// Removes all that makes this peer who it is, the key first, durably. The empty directory and the lock stay.
    ///
    /// # Errors
    /// When a file can't be removed; removing again goes on where this ended.
    pub fn erase(&self) -> Result<(), StateError> {
        for name in [IDENTITY, MEMBERSHIP, SERVICES, VERIFIED, GUESTS, STATUS] {
            for path in [self.dir.join(name), beside(&self.dir.join(name))] {
                remove_if_there(&path)?;
            }
        }
        let run = self.dir.join(RUN);
        match std::fs::remove_dir_all(&run) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &run)(error));
            }
            Ok(()) | Err(_) => (),
        }
        sync(&self.dir)
    }

    /// Which peers were verified, if any.
    ///
    /// # Errors
    /// As [`Store::membership`].
    pub fn verified<T: DeserializeOwned>(&self) -> Result<Option<T>, StateError> {
        self.read(VERIFIED)
    }

    /// Stores durably which peers were verified.
    ///
    /// # Errors
    /// When it can't be written; the former file is then still there.
    pub fn save_verified<T: Serialize>(&self, verified: &T) -> Result<(), StateError> {
        self.write(VERIFIED, verified)
    }

    /// The grants that this peer has given to guests, if any.
    ///
    /// # Errors
    /// As [`Store::membership`].
    pub fn guests<T: DeserializeOwned>(&self) -> Result<Option<T>, StateError> {
        self.read(GUESTS)
    }

    /// Stores durably which guests this peer has.
    ///
    /// # Errors
    /// When it can't be written; the former file is then still there.
    pub fn save_guests<T: Serialize>(&self, guests: &T) -> Result<(), StateError> {
        self.write(GUESTS, guests)
    }

    /// Replaces the status file that [`read_status`] of another process reads.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn save_status<T: Serialize>(&self, status: &T) -> Result<(), StateError> {
        self.write(STATUS, status)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let path = self.dir.join(name);
        if self.access == Access::Refuse && path.exists() {
            refuse_mode(&path, 0o022, 0o600)?;
        }
        read_json(&path)
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        write_json(&self.dir.join(name), value)
    }
}

/// The status that a peer left in `dir`, and whether a process holds the directory now.
///
/// # Errors
/// When the files are there but can't be read.
pub fn read_status<T: DeserializeOwned>(dir: &Path) -> Result<Option<(T, bool)>, StateError> {
    let status = read_json(&dir.join(STATUS))?;
    Ok(match status {
        Some(status) => Some((status, is_running(dir)?)),
        None => None,
    })
}

/// Tries a few times, because [`read_status`] of another process holds the lock for an instant.
fn hold(lock: &File) -> io::Result<bool> {
    for _ in 0..5 {
        match lock.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

/// Whether a process holds the directory now.
///
/// # Errors
/// When the lock is there but can't be opened.
pub fn is_running(dir: &Path) -> Result<bool, StateError> {
    let path = dir.join(LOCK);
    let Some(lock) = open_if_there(&path)? else {
        return Ok(false);
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    let Some(file) = open_if_there(path)? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    file.take(MAX_FILE)
        .read_to_end(&mut text)
        .map_err(failed("read", path))?;
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| StateError::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        })
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), StateError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| failed("write", path)(io::Error::other(error)))?;
    text.push(b'\n');
    write_whole(path, &text)
}

/// Writes beside, makes durable, renames, makes the directory durable.
fn write_whole(path: &Path, content: &[u8]) -> Result<(), StateError> {
    let beside = beside(path);
    let written = (|| {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&beside)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    })();
    if let Err(error) = written {
        // What is left of it would only take the space that is missing.
        let _ = std::fs::remove_file(&beside);
        return Err(failed("write", path)(error));
    }
    path.parent().map_or(Ok(()), sync)
}

/// Where a file is written before it takes its name.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Makes the directory's entries durable.
fn sync(dir: &Path) -> Result<(), StateError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(failed("write", dir))
}

fn remove_if_there(path: &Path) -> Result<(), StateError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn open_if_there(path: &Path) -> Result<Option<File>, StateError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("open", path)(error)),
    }
}

fn mode_of(path: &Path) -> Result<u32, StateError> {
    let meta = std::fs::metadata(path).map_err(failed("open", path))?;
    Ok(meta.permissions().mode() & 0o7777)
}

fn refuse_owner(path: &Path, user: u32) -> Result<(), StateError> {
    let owner = std::fs::metadata(path).map_err(failed("open", path))?.uid();
    if owner == user {
        return Ok(());
    }
    Err(StateError::Owner {
        path: path.to_owned(),
        owner,
        user,
    })
}

pub(crate) fn refuse_mode(path: &Path, forbidden: u32, expected: u32) -> Result<(), StateError> {
    let found = mode_of(path)?;
    if found & forbidden == 0 {
        return Ok(());
    }
    Err(StateError::Permissions {
        path: path.to_owned(),
        found,
        expected,
    })
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
pub(crate) mod tests;
