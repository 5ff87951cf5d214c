//! What is kept when a step fails.

use std::fs;
use std::path::PathBuf;

use peerup_tests::story::shell::quietly;

use crate::world::World;

/// Questions to the cluster, and the files for the answers.
const QUESTIONS: [(&str, &str); 7] = [
    ("pods.txt", "kubectl get pods -A -o wide"),
    (
        "objects.txt",
        "kubectl get all,cm,secret,pdb,netpol,pnet,pcode,peers -A",
    ),
    ("resources.yaml", "kubectl get pnet,pcode,peers -A -o yaml"),
    (
        "events.txt",
        "kubectl get events -A --sort-by=.lastTimestamp",
    ),
    ("describe.txt", "kubectl describe pods -A"),
    (
        "webhook.yaml",
        "kubectl get mutatingwebhookconfigurations -o yaml",
    ),
    ("nodes.txt", "kubectl describe nodes"),
];

/// Asks the cluster, saves the answers beside the logs, and answers where.
pub(crate) fn save(world: &World, step: &str) -> PathBuf {
    let directory = world.directory().join(step.replace("::", "."));
    if let Err(error) = fs::create_dir_all(&directory) {
        println!("no evidence is kept: {error}");
    }
    for (file, question) in QUESTIONS {
        let answer = quietly(question).map_or_else(
            |error| error.to_string(),
            |said| format!("{}{}", said.text(), said.complaint()),
        );
        if let Err(error) = fs::write(directory.join(file), answer) {
            println!("{file}: {error}");
        }
    }
    println!(
        "logs of all containers: {}",
        world.logs.directory().display()
    );
    directory
}
