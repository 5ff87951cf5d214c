//! Words that must not stand in some or all program texts. Pure rooms and `decide.rs`
//! name no clock, environment, socket, randomness, or map whose order is random:
//! these are arguments, or something else does it.

use syn::visit::{self, Visit};
use syn::{Attribute, Ident, ItemFn, ItemMod};

use crate::sources::{Source, sources};

const PURE_ROOMS: [&str; 3] = ["libs/protocol/", "libs/pairing/", "libs/reachability/"];

/// kube itself is in `imports`: a `decide.rs` reads its objects, but asks nobody.
const IMPURE: [&str; 25] = [
    "Instant",
    "SystemTime",
    "Zoned",
    "OsRng",
    "SysRng",
    "ThreadRng",
    "thread_rng",
    "getrandom",
    "HashMap",
    "HashSet",
    "RandomState",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "File",
    "env",
    "fs",
    "process",
    "thread",
    "tokio",
    "async_std",
    "reqwest",
    "Client",
    "Api",
    "libp2p",
];

#[test]
fn pure_rooms_name_nothing_impure() {
    let found: Vec<_> = sources()
        .iter()
        .filter(|source| is_pure(source))
        .flat_map(|source| {
            impure_words(&source.syntax())
                .into_iter()
                .map(|word| format!("{}: {word}", source.path))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "make it an argument: {found:#?}");
}

#[test]
fn impure_words_are_found_outside_of_tests_only() {
    let file = syn::parse_file(
        "use std::time::Instant; fn f() { let m = std::collections::HashMap::new(); } \
         #[cfg(test)] mod tests { use std::fs; } #[test] fn t() { std::env::args(); }",
    )
    .unwrap();
    assert_eq!(impure_words(&file), ["Instant", "HashMap"]);
}

#[test]
fn nothing_is_left_to_do() {
    // put together, so that this file passes its own test
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("db", "g!("),
    ];
    let sources = sources();
    let found: Vec<_> = sources
        .iter()
        .flat_map(|source| source.text.lines().map(move |line| (&source.path, line)))
        .filter(|(_, line)| words.iter().any(|word| stands_in(word, line)))
        .collect();
    assert!(found.is_empty(), "unfinished: {found:#?}");
}

/// Does the word stand in the line, not as a part of a longer word (mktemp's
/// patterns are rows of capital letters)?
fn stands_in(word: &str, line: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric())
            && (word.ends_with('(') || !after.is_some_and(|c| c.is_alphanumeric()))
    })
}

fn is_pure(source: &Source) -> bool {
    let room = PURE_ROOMS.iter().any(|room| source.path.starts_with(room));
    let test = source.path.ends_with("/tests.rs") || source.path.contains("/tests/");
    (room || source.path.ends_with("/decide.rs")) && source.is_rust() && !test
}

fn impure_words(file: &syn::File) -> Vec<String> {
    let mut words = Words { found: Vec::new() };
    words.visit_file(file);
    words.found
}

/// Collects the impure words outside of test code.
struct Words {
    found: Vec<String>,
}

impl<'ast> Visit<'ast> for Words {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !module.attrs.iter().any(is_test) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if !function.attrs.iter().any(is_test) {
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_ident(&mut self, ident: &'ast Ident) {
        let word = ident.to_string();
        if IMPURE.contains(&word.as_str()) {
            self.found.push(word);
        }
    }
}

/// `#[test]` or `#[cfg(test)]`.
fn is_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("test")
        || (attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<Ident>()
                .is_ok_and(|word| word == "test"))
}
