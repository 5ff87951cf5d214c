//! Fuzzing tries the code that runs: its workspace locks the same crates.

use std::collections::BTreeSet;
use std::fs;

use peerup_tests::light::repository;

const ADVICE: &str =
    "cp Cargo.lock fuzz/Cargo.lock; cargo update --workspace --manifest-path fuzz/Cargo.toml";

#[test]
fn fuzzing_locks_the_same_versions() {
    let ours = locked("Cargo.lock");
    let known: BTreeSet<_> = ours.iter().map(|(name, _)| name).collect();
    let others: Vec<_> = locked("fuzz/Cargo.lock")
        .into_iter()
        .filter(|crate_| known.contains(&crate_.0) && !ours.contains(crate_))
        .collect();
    assert!(others.is_empty(), "{others:?}; {ADVICE}");
}

/// Name and version of each crate in a lock file.
fn locked(path: &str) -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(repository().join(path)).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let crates: BTreeSet<_> = lines
        .windows(2)
        .filter_map(|pair| Some((value(pair[0], "name")?, value(pair[1], "version")?)))
        .collect();
    assert!(crates.len() > 20, "{path}: only {} crates", crates.len());
    crates
}

fn value(line: &str, key: &str) -> Option<String> {
    let value = line.strip_prefix(key)?.strip_prefix(" = \"")?;
    Some(value.strip_suffix('"')?.to_owned())
}
