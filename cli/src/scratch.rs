//! A directory of its own for one test, removed at the end.

use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A directory that is not there yet.
    pub(crate) fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("peerup-cli-{}-{test}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }

    /// One that is.
    pub(crate) fn made(test: &str) -> Self {
        let scratch = Self::new(test);
        std::fs::create_dir_all(&scratch.0).unwrap();
        scratch
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
