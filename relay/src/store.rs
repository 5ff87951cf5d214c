//! The last lists on disk: written beside the old file, synced, then renamed, so that a crash leaves the old or
//! the new one whole. What is read back is verified like what comes from the operator.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use peerup_protocol::api::RosterAnswer;

/// Largest file read back; as large as the largest answer of the operator.
const MAX_FILE: u64 = 32 * 1024 * 1024;

/// Why the lists can't be kept or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// A file operation failed.
    #[error("{path}: {source}")]
    File {
        /// What was written or read.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is not what we write.
    #[error("{path}: {source}")]
    Content {
        /// What was read.
        path: PathBuf,
        /// Why it is not understood.
        source: serde_json::Error,
    },
}

/// One file in the state directory. All calls block.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    directory: PathBuf,
}

impl Store {
    /// Keeps the lists in `directory`, which must exist.
    #[must_use]
    pub(crate) const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The lists of an earlier run, if any.
    ///
    /// # Errors
    /// When the file exists but can't be read or understood.
    pub(crate) fn load(&self) -> Result<Option<RosterAnswer>, StoreError> {
        let path = self.path();
        let failed = |source| StoreError::File {
            path: path.clone(),
            source,
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        match serde_json::from_slice(&bytes) {
            Ok(lists) => Ok(Some(lists)),
            Err(source) => Err(StoreError::Content { path, source }),
        }
    }

    /// Replaces the lists; durable when it returns.
    ///
    /// # Errors
    /// When a file operation fails; the old lists stay.
    pub(crate) fn save(&self, lists: &RosterAnswer) -> Result<(), StoreError> {
        let path = self.path();
        let bytes = serde_json::to_vec(lists).map_err(|source| StoreError::Content {
            path: path.clone(),
            source,
        })?;
        replace(&self.directory, &path, &bytes).map_err(|source| StoreError::File { path, source })
    }

    fn path(&self) -> PathBuf {
        self.directory.join("roster.json")
    }
}

fn replace(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use peerup_protocol::id::Serial;
    use peerup_protocol::record::Signed;

    use super::*;

    fn lists(seq: u64) -> RosterAnswer {
        let signed = Signed {
            bytes: vec![1, 2, 3],
            signature: [4; 64],
        };
        RosterAnswer {
            run: 1,
            seq,
            full: true,
            records: vec![signed.clone()],
            gone: vec![Serial(5)],
            revocations: signed.clone(),
            network_document: signed,
        }
    }

    fn store(test: &str) -> Store {
        let name = format!("peerup-store-{}-{test}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        Store::new(directory)
    }

    #[test]
    fn reads_what_was_written_last() {
        let store = store("last");
        assert_eq!(store.load().unwrap(), None);
        store.save(&lists(1)).unwrap();
        store.save(&lists(2)).unwrap();
        assert_eq!(store.load().unwrap(), Some(lists(2)));
        fs::remove_dir_all(&store.directory).unwrap();
    }

    #[test]
    fn a_write_that_did_not_end_leaves_the_old_lists() {
        let store = store("torn");
        store.save(&lists(1)).unwrap();
        fs::write(store.path().with_extension("json.new"), "{\"run\":").unwrap();
        assert_eq!(store.load().unwrap(), Some(lists(1)));
        fs::write(store.path(), "{\"run\":").unwrap();
        assert!(matches!(store.load(), Err(StoreError::Content { .. })));
        fs::remove_dir_all(&store.directory).unwrap();
        assert!(matches!(
            store.save(&lists(1)),
            Err(StoreError::File { .. })
        ));
    }
}
