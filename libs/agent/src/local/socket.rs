//! Where the socket lies, and both ways to it. It is reached through the open directory, because a socket's path may
//! have 107 bytes only and a state directory's may have more.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::state::{RUN, StateError, Store, failed, refuse_mode};

const SOCKET: &str = "api.sock";

/// The open directory that holds the socket.
#[derive(Debug)]
pub(super) struct Place {
    directory: File,
    shown: PathBuf,
}

impl Place {
    /// The place in a state directory that this process holds; made if it is missing.
    pub(super) fn make(store: &Store) -> Result<Self, StateError> {
        let run = store.dir().join(RUN);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&run)
            .map_err(failed("create", &run))?;
        refuse_mode(&run, 0o077, 0o700)?;
        Self::open(store.dir()).map_err(failed("open", &run))
    }

    /// The place in the state directory of another process.
    pub(super) fn open(state: &Path) -> io::Result<Self> {
        let run = state.join(RUN);
        Ok(Self {
            directory: File::open(&run)?,
            shown: run.join(SOCKET),
        })
    }

    /// Makes the socket; one that is there was left by a process that is gone.
    pub(super) fn bind(&self) -> Result<UnixListener, StateError> {
        self.remove().map_err(failed("remove", &self.shown))?;
        let path = self.path();
        let listener = UnixListener::bind(&path).map_err(failed("listen on", &self.shown))?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))
            .map_err(failed("chmod", &self.shown))?;
        Ok(listener)
    }

    pub(super) async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.path()).await
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// As people know it.
    pub(super) fn shown(&self) -> &Path {
        &self.shown
    }

    fn path(&self) -> PathBuf {
        let descriptor = self.directory.as_raw_fd();
        PathBuf::from(format!("/proc/self/fd/{descriptor}/{SOCKET}"))
    }
}
