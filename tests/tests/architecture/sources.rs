//! The source files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

use peerup_tests::light::repository;

/// A text file: its path from the top of the repository, and what it holds.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Is it Rust?
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The syntax tree of a Rust file.
    pub(crate) fn syntax(&self) -> syn::File {
        syn::parse_file(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.path))
    }
}

/// Every program text: Rust, Go, and scripts (by their first line).
pub(crate) fn sources() -> Vec<Source> {
    let top = repository();
    let mut sources = Vec::new();
    walk(&top, &top, &mut sources);
    assert!(sources.len() > 50, "the walk found only {}", sources.len());
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn walk(top: &Path, directory: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_str().unwrap();
        if entry.file_type().unwrap().is_dir() {
            let hidden = name.starts_with('.') && name != ".ci";
            if !hidden && name != "target" {
                walk(top, &path, sources);
            }
        } else if let Some(text) = program_text(&path, name) {
            let path = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            sources.push(Source { path, text });
        }
    }
}

fn program_text(path: &PathBuf, name: &str) -> Option<String> {
    let known = [".rs", ".go", ".sh"].iter().any(|end| name.ends_with(end));
    if !known && name.contains('.') {
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    (known || text.starts_with("#!")).then_some(text)
}
