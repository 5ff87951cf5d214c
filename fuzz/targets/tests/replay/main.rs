//! Replays the committed corpora through every target, on a stable compiler and
//! without libFuzzer. A file's name says what is to come of it: `seed-…` and `ok-…` are
//! accepted, `no-…` are refused; so a decoder that begins to refuse good bytes, or to
//! take bad ones, fails here, and not only one that panics. `found-` in a name keeps the
//! file when the corpus is minimised: it broke a property once.
//!
//! `hack/fuzz minimise` fills the corpora. With `UPDATE_GOLDEN` in the environment the
//! seeds are written anew and all other files get the names that they deserve.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod corpus;
mod neighbours;
mod seeds;

use std::collections::BTreeSet;
use std::panic::catch_unwind;

use corpus::{Corpus, Expected};
use peerup_fuzz_targets::{TARGETS, Target};

/// Most files of one target.
const MAX_FILES: usize = 64;
/// Largest file, in bytes.
const MAX_FILE: usize = 4096;

#[test]
fn every_file_comes_out_as_its_name_says() {
    let wrong: Vec<_> = corpora()
        .flat_map(|(target, corpus)| {
            let wrong = corpus.files.into_iter().filter_map(move |file| {
                let found = outcome(target, &file.bytes);
                (found != file.expected).then(|| format!("{}: {found:?}", file.path.display()))
            });
            wrong.collect::<Vec<_>>()
        })
        .collect();
    let advice =
        "if the format was meant to change: UPDATE_GOLDEN=1 cargo test -p peerup-fuzz-targets";
    assert!(wrong.is_empty(), "{wrong:#?}\n{advice}");
}

#[test]
fn every_target_has_a_small_corpus_with_both_outcomes() {
    for (target, corpus) in corpora() {
        let name = &corpus.name;
        assert!(corpus.files.len() <= MAX_FILES, "{name}: too many files");
        for file in &corpus.files {
            assert!(
                file.bytes.len() <= MAX_FILE,
                "{} is too long",
                file.path.display()
            );
        }
        let outcomes: BTreeSet<_> = corpus.files.iter().map(|file| file.expected).collect();
        assert!(
            outcomes.contains(&Expected::Accepted),
            "{name}: nothing is accepted"
        );
        assert!(
            outcomes.contains(&Expected::Refused),
            "{name}: nothing is refused"
        );
        assert_eq!(outcome(target, &[0xff; 5]), Expected::Refused, "{name}");
    }
}

#[test]
fn every_folder_belongs_to_a_target() {
    let known: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(known.len(), TARGETS.len(), "a name stands twice");
    assert_eq!(corpus::folders(), known);
}

#[test]
fn seeds_are_what_the_encoders_write() {
    for (name, _) in TARGETS {
        let made: BTreeSet<_> = seeds::of(name).into_iter().collect();
        assert_eq!(
            Corpus::read(name).seeds(),
            made,
            "{name}: UPDATE_GOLDEN=1 writes them"
        );
    }
}

/// Every target with its corpus.
fn corpora() -> impl Iterator<Item = (Target, Corpus)> {
    TARGETS
        .iter()
        .map(|(name, target)| (*target, Corpus::read(name)))
}

fn outcome(target: Target, bytes: &[u8]) -> Expected {
    match catch_unwind(|| target(bytes)) {
        Ok(true) => Expected::Accepted,
        Ok(false) => Expected::Refused,
        Err(_) => Expected::Broken,
    }
}
