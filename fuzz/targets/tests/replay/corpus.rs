//! The files of `fuzz/corpus`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Once;

use data_encoding::HEXLOWER;
use peerup_fuzz_targets::{TARGETS, Target};
use sha2::{Digest, Sha256};

use crate::{outcome, seeds};

/// What is to come, or came, of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Expected {
    Accepted,
    Refused,
    /// A property does not hold.
    Broken,
}

/// One input.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expected: Expected,
}

/// The inputs of one target.
#[derive(Debug)]
pub(crate) struct Corpus {
    pub(crate) name: String,
    pub(crate) files: Vec<File>,
}

impl File {
    fn read(path: PathBuf) -> Self {
        let bytes = fs::read(&path).unwrap();
        let expected = if name_of(&path).starts_with("no-") {
            Expected::Refused
        } else {
            Expected::Accepted
        };
        Self {
            path,
            bytes,
            expected,
        }
    }

    fn is_found(&self) -> bool {
        name_of(&self.path).contains("found-")
    }

    fn is_seed(&self) -> bool {
        name_of(&self.path).starts_with("seed-")
    }
}

impl Corpus {
    /// Every file of a target; none if there is no folder.
    pub(crate) fn read(name: &str) -> Self {
        update_once();
        Self::as_it_is(name)
    }

    fn as_it_is(name: &str) -> Self {
        let entries = fs::read_dir(folder().join(name)).into_iter().flatten();
        let mut files: Vec<_> = entries
            .map(|entry| File::read(entry.unwrap().path()))
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self {
            name: name.to_owned(),
            files,
        }
    }

    /// Name and content of the files that seeds are in.
    pub(crate) fn seeds(&self) -> BTreeSet<(String, Vec<u8>)> {
        let seeds = self.files.iter().filter(|file| file.is_seed());
        seeds
            .map(|file| (name_of(&file.path), file.bytes.clone()))
            .collect()
    }
}

/// The names of the folders that are there.
pub(crate) fn folders() -> BTreeSet<String> {
    update_once();
    let entries = fs::read_dir(folder()).unwrap();
    entries
        .map(|entry| name_of(&entry.unwrap().path()))
        .collect()
}

/// Brings names and seeds up to date, if `UPDATE_GOLDEN` asks for it.
fn update_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            for (name, target) in TARGETS {
                update(name, *target);
            }
        }
    });
}

fn update(name: &str, target: Target) {
    let folder = folder().join(name);
    fs::create_dir_all(&folder).unwrap();
    let seeds = seeds::of(name);
    let seeded = |bytes: &Vec<u8>| seeds.iter().any(|(_, seed)| seed == bytes);
    for file in Corpus::as_it_is(name).files {
        fs::remove_file(&file.path).unwrap();
        if !file.is_seed() && !seeded(&file.bytes) {
            let start = match outcome(target, &file.bytes) {
                Expected::Accepted => "ok",
                Expected::Refused | Expected::Broken => "no",
            };
            let found = if file.is_found() { "found-" } else { "" };
            let digest = HEXLOWER.encode(&Sha256::digest(&file.bytes)[..8]);
            let path = folder.join(format!("{start}-{found}{digest}"));
            fs::write(path, &file.bytes).unwrap();
        }
    }
    for (seed, bytes) in seeds {
        fs::write(folder.join(seed), bytes).unwrap();
    }
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus"))
}

fn name_of(path: &std::path::Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
