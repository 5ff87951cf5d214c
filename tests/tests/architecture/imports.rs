//! The import table of ARCHITECTURE.md, against what the manifests say.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use peerup_tests::light::repository;
use serde::Deserialize;

use crate::sources::{Source, sources};

/// What each room may import of ours.
const TABLE: [(&str, &[&str]); 14] = [
    ("protocol", &[]),
    ("pairing", &["protocol"]),
    ("reachability", &["protocol"]),
    ("operator-client", &["protocol"]),
    ("serve", &[]),
    ("node", &["protocol", "pairing"]),
    (
        "agent",
        &[
            "protocol",
            "pairing",
            "reachability",
            "node",
            "operator-client",
        ],
    ),
    ("crds", &["protocol"]),
    ("operator", &["protocol", "pairing", "crds", "serve"]),
    (
        "relay",
        &[
            "protocol",
            "pairing",
            "reachability",
            "node",
            "operator-client",
            "serve",
        ],
    ),
    (
        "sidecar",
        &["protocol", "agent", "operator-client", "serve"],
    ),
    ("cli", &["protocol", "agent", "crds"]),
    ("tests", &["protocol", "crds"]),
    (
        "fuzz-targets",
        &["protocol", "pairing", "reachability", "crds", "operator"],
    ),
];

/// What pure rooms must not list: anything that does I/O or draws randomness.
const IMPURE: [&str; 10] = [
    "tokio",
    "tokio-util",
    "futures",
    "libp2p",
    "kube",
    "k8s-openapi",
    "reqwest",
    "axum",
    "hyper-util",
    "rand",
];
const PURE: [&str; 3] = ["protocol", "pairing", "reachability"];

#[test]
fn rooms_import_what_the_table_says() {
    let metadata = Metadata::read();
    let mut wrong = Vec::new();
    for package in metadata.members() {
        let room = room(&package.name);
        let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{room} is not in the table"));
            continue;
        };
        for import in package
            .imports()
            .filter_map(|name| name.strip_prefix("peerup-"))
        {
            if !allowed.contains(&import) {
                wrong.push(format!("{room} imports {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(
        metadata.members().count(),
        TABLE.len(),
        "rooms of the table"
    );
}

#[test]
fn pure_rooms_list_no_impure_crate() {
    let metadata = Metadata::read();
    let found: Vec<_> = metadata
        .members()
        .filter(|package| PURE.contains(&room(&package.name)))
        .flat_map(|package| package.imports().map(|name| (package.name.as_str(), name)))
        .filter(|(_, import)| IMPURE.contains(import))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_runs_beside_applications_knows_no_kubernetes() {
    let metadata = Metadata::read();
    for room in [
        "peerup-relay",
        "peerup-sidecar",
        "peerup-agent",
        "peerup-node",
    ] {
        let all = metadata.everything_in(room);
        assert!(
            all.contains("peerup-protocol"),
            "{room}: the graph is broken"
        );
        for crate_name in ["kube", "kube-client", "k8s-openapi", "peerup-crds"] {
            assert!(!all.contains(crate_name), "{room} contains {crate_name}");
        }
    }
    assert!(
        metadata
            .everything_in("peerup-operator")
            .contains("kube-client")
    );
}

#[test]
fn one_module_of_the_cli_knows_kubernetes() {
    let knows = |source: &Source| {
        let names = ["kube::", "k8s_openapi::", "peerup_crds::"];
        names.iter().any(|name| source.text.contains(name))
    };
    let (inside, outside): (Vec<_>, Vec<_>) = sources()
        .into_iter()
        .filter(|source| source.path.starts_with("cli/") && knows(source))
        .map(|source| source.path)
        .partition(|path| path.starts_with("cli/src/kubectl"));
    assert!(!inside.is_empty(), "the search finds nothing");
    assert!(outside.is_empty(), "{outside:?}");
}

#[test]
fn only_node_knows_libp2p() {
    let metadata = Metadata::read();
    let found: Vec<_> = metadata
        .members()
        .filter(|package| package.name != "peerup-node")
        .filter(|package| package.imports().any(|name| name == "libp2p"))
        .map(|package| package.name.as_str())
        .collect();
    assert!(found.is_empty(), "{found:?}");
    let operator = metadata.everything_in("peerup-operator");
    assert!(!operator.contains("libp2p"), "the operator contains libp2p");
}

fn room(package: &str) -> &str {
    package.strip_prefix("peerup-").unwrap_or(package)
}

/// What `cargo metadata` answers, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Metadata {
    fn read() -> Metadata {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .current_dir(repository())
            .args(["metadata", "--format-version=1", "--offline", "--locked"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo metadata: {complaint}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The names of all crates that end up in the programs of a package.
    fn everything_in(&self, name: &str) -> BTreeSet<&str> {
        let names: BTreeMap<_, _> = self.packages.iter().map(|p| (&p.id, &p.name)).collect();
        let edges: BTreeMap<_, _> = self
            .resolve
            .nodes
            .iter()
            .map(|n| (&n.id, &n.deps))
            .collect();
        let start = self.members().find(|package| package.name == name);
        let mut open = vec![&start.unwrap().id];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(
                    edges[id]
                        .iter()
                        .filter(|edge| edge.is_normal())
                        .map(|edge| &edge.pkg),
                );
            }
        }
        seen.into_iter().map(|id| names[id].as_str()).collect()
    }
}

impl Package {
    /// The names of what its code (not its tests) depends on.
    fn imports(&self) -> impl Iterator<Item = &str> {
        self.dependencies
            .iter()
            .filter(|dependency| dependency.kind.is_none())
            .map(|dependency| dependency.name.as_str())
    }
}

impl Edge {
    fn is_normal(&self) -> bool {
        self.dep_kinds
            .iter()
            .any(|dependency| dependency.kind.is_none())
    }
}
