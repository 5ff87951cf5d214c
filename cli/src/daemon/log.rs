//! The log file of a peer in the background: for its owner only, and never larger than a limit. A full one takes
//! the name of the one before.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const NAME: &str = "daemon.log";
const FORMER: &str = "daemon.log.1";
/// Largest size of each of the two files, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// Where the log of a state directory lies.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// Opens the log at its end; also the standard error of the process that writes it.
pub(crate) fn open(dir: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path(dir))?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Removes what was logged.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    for name in [NAME, FORMER] {
        match std::fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => (),
        }
    }
    Ok(())
}

/// Writes into the log.
#[derive(Debug)]
pub(crate) struct Log {
    dir: PathBuf,
    file: File,
    size: u64,
    limit: u64,
}

impl Log {
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        Self::with_limit(dir, LIMIT)
    }

    fn with_limit(dir: &Path, limit: u64) -> io::Result<Self> {
        let file = open(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            size: file.metadata()?.len(),
            file,
            limit,
        })
    }

    fn turn(&mut self) -> io::Result<()> {
        std::fs::rename(path(&self.dir), self.dir.join(FORMER))?;
        self.file = open(&self.dir)?;
        self.size = 0;
        Ok(())
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let room = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let line = &line[..line.len().min(room)];
        if self.size + line.len() as u64 > self.limit {
            self.turn()?;
        }
        let written = self.file.write(line)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use crate::scratch::Scratch;

    use super::*;

    fn read(dir: &Scratch, name: &str) -> String {
        std::fs::read_to_string(dir.path().join(name)).unwrap()
    }

    #[test]
    fn two_files_of_bounded_size_hold_the_newest_lines() {
        let dir = Scratch::made("log-size");
        let mut log = Log::with_limit(dir.path(), 10).unwrap();
        for line in ["one..\n", "two..\n", "three\n", "four.\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(read(&dir, FORMER), "three\n");
        assert_eq!(read(&dir, NAME), "four.\n");
        drop(log);
        // What is there counts after a restart.
        let mut log = Log::with_limit(dir.path(), 10).unwrap();
        log.write_all(b"five.\n").unwrap();
        assert_eq!(read(&dir, FORMER), "four.\n");
        log.write_all(&[b'x'; 35]).unwrap();
        assert!(read(&dir, NAME).len() <= 10 && read(&dir, FORMER).len() <= 10);
    }

    #[test]
    fn only_its_owner_reads_it() {
        let dir = Scratch::made("log-mode");
        std::fs::write(path(dir.path()), "").unwrap();
        std::fs::set_permissions(path(dir.path()), Permissions::from_mode(0o644)).unwrap();
        let mut log = Log::with_limit(dir.path(), 1).unwrap();
        log.write_all(b"ab").unwrap();
        for name in [NAME, FORMER] {
            let meta = std::fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{name}");
        }
        remove(dir.path()).unwrap();
        remove(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
