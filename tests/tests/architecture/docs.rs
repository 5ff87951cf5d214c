//! What the pages for people name exists: tests of attacks and claims in docs/security.md, reasons and files in docs/user-guide.md.

use std::collections::BTreeSet;
use std::fs;

use peerup_tests::light::repository;

use crate::sources::{Source, sources};

#[test]
fn every_attack_and_every_claim_names_tests_that_exist() {
    let tests = tests(&sources());
    let page = page("docs/security.md");
    let mut wrong = Vec::new();
    for (first, least, columns, proof) in [("attacker", 40, 4, 2), ("claim", 20, 3, 1)] {
        let rows = rows(&page, first);
        assert!(rows.len() >= least, "only {} rows of {first}", rows.len());
        for row in rows {
            if row.len() != columns || row.iter().any(|cell| cell.is_empty()) {
                wrong.push(format!("{columns} cells are expected: {row:?}"));
                continue;
            }
            let named = quoted(row[proof]);
            if named.is_empty() {
                wrong.push(format!("no test: {row:?}"));
            }
            let unknown = named.iter().filter(|name| !tests.contains(**name));
            wrong.extend(unknown.map(|name| format!("{name} is no test")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_reason_in_the_guide_is_one_of_ours() {
    let page = page("docs/user-guide.md");
    let rows = rows(&page, "you see");
    assert!(rows.len() > 20, "only {} rows", rows.len());
    let programs: String = sources()
        .into_iter()
        .filter(|source| source.path.starts_with("operator/src/"))
        .map(|source| source.text)
        .collect();
    let seen = rows.iter().flat_map(|row| quoted(row[0]));
    let unknown: Vec<_> = seen
        .filter(|words| {
            // … stands for any text
            let said = |part: &str| programs.contains(part);
            let exact = format!("\"{words}\"");
            !(said(&exact) || words.contains(' ') && words.split('…').all(said))
        })
        .collect();
    assert!(unknown.is_empty(), "nobody says {unknown:?}");
}

#[test]
fn links_of_the_pages_lead_somewhere() {
    for name in [
        "README.md",
        "docs/user-guide.md",
        "docs/security.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
    ] {
        let text = page(name);
        let path = repository().join(name);
        let links = text.split("](").skip(1).filter_map(|rest| {
            let (target, _) = rest.split_once(')')?;
            target.split('#').next()
        });
        let dead: Vec<_> = links
            .filter(|target| !target.is_empty() && !target.contains("://"))
            .filter(|target| !path.with_file_name(target).exists())
            .collect();
        assert!(dead.is_empty(), "{name}: {dead:?}");
    }
}

#[test]
fn tests_are_found_in_every_form() {
    let source = |path: &str, text: &str| Source {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let found = tests(&[
        source("a.rs", "#[test]\nfn plain() {}\nfn helper() {}"),
        source(
            "b.rs",
            "#[tokio::test(start_paused = true)]\n#[cfg(unix)]\nasync fn paused() {}",
        ),
        source(
            "c.rs",
            "proptest! {\n  #[test]\n  fn holds(x in 0..1) {}\n}",
        ),
        source(
            "tests/tests/e2e/main.rs",
            "    vital pods::joined;\n    usual deep::er::left;\n}",
        ),
        source(
            "tests/tests/lab/main.rs",
            "        usual stun::seen;\n    };",
        ),
        source(
            "tests/tests/lab/grades.rs",
            "    (\"row\", V4, Nat::Open, found!(B None: NoNat)),",
        ),
        source(
            "tests/tests/e2e/pods.rs",
            "pub(crate) async fn not_a_step() {}",
        ),
    ]);
    let expected = ["holds", "joined", "left", "paused", "plain", "row", "seen"];
    assert!(found.iter().map(String::as_str).eq(expected), "{found:?}");
}

fn page(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap()
}

/// The cells of the table whose first column is called so.
fn rows<'a>(page: &'a str, first: &str) -> Vec<Vec<&'a str>> {
    let head = format!("| {first} |");
    let table = page
        .lines()
        .skip_while(|line| !line.starts_with(&head))
        .take_while(|line| line.starts_with('|'));
    table
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// What stands between back quotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Names of all tests: functions marked as such, in macros too, and what the tables of the lab and e2e tiers list.
fn tests(sources: &[Source]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let mut marked = false;
        for line in source.text.lines().map(str::trim_start) {
            marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            if let Some(name) = function(line).filter(|_| marked) {
                names.insert(name.to_owned());
                marked = false;
            }
        }
        let listed: Option<fn(&str) -> Option<&str>> = match source.path.as_str() {
            "tests/tests/e2e/main.rs" | "tests/tests/lab/main.rs" => Some(step),
            "tests/tests/lab/grades.rs" => Some(row_of_the_lab),
            _ => None,
        };
        if let Some(listed) = listed {
            names.extend(source.text.lines().filter_map(listed).map(str::to_owned));
        }
    }
    names
}

/// The name in `async fn name(…`.
fn function(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("fn ")?;
    let alone = before.is_empty() || before.ends_with(' ');
    let (name, _) = rest.split_once('(')?;
    alone.then_some(name)
}

/// The name in `usual module::name;`.
fn step(line: &str) -> Option<&str> {
    let line = line.trim();
    let path = line
        .strip_prefix("usual ")
        .or_else(|| line.strip_prefix("vital "))?;
    path.strip_suffix(';')?.rsplit("::").next()
}

/// The name in `("name", …),`.
fn row_of_the_lab(line: &str) -> Option<&str> {
    let (name, _) = line.trim().strip_prefix("(\"")?.split_once("\",")?;
    Some(name)
}
