//! Keeps the logs of all our containers, also of those that are gone since.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{Api, ListParams, LogParams};
use kube::{Client, ResourceExt};
use tokio::task::{JoinHandle, JoinSet};

/// Images of ours begin so.
const OURS: &str = "localhost/peerup";

/// Follows the logs until it is dropped.
pub(crate) struct Logs {
    directory: PathBuf,
    task: JoinHandle<()>,
}

/// A container that has been started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    namespace: String,
    pod: String,
    container: String,
    id: String,
}

impl Logs {
    /// Starts to follow all containers of ours, one file each.
    pub(crate) fn start(client: Client, directory: PathBuf) -> Result<Logs> {
        fs::create_dir_all(&directory)?;
        let task = tokio::spawn(follow_all(client, directory.clone()));
        Ok(Logs { directory, task })
    }

    /// Where the files are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// All lines of all containers, without colours.
    pub(crate) fn lines(&self) -> Result<Vec<(String, String)>> {
        let mut lines = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let name = path.file_name().context("a file without a name")?;
            let name = name.to_string_lossy().into_owned();
            let text = fs::read_to_string(&path)?;
            lines.extend(text.lines().map(|line| (name.clone(), plain(line))));
        }
        Ok(lines)
    }

    /// How many lines of level ERROR there are.
    pub(crate) fn errors(&self) -> Result<Vec<String>> {
        let lines = self.lines()?;
        ensure!(!lines.is_empty(), "no log was kept at all");
        let errors = lines.into_iter().filter(|(_, line)| is_error(line));
        Ok(errors.map(|(of, line)| format!("{of}: {line}")).collect())
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The level is the second word: `2026-01-01T00:00:00Z ERROR …`. What the client of the API server calls an error is
/// each call that server did not answer well, which may happen and is tried again.
fn is_error(line: &str) -> bool {
    let is_error = line.split_whitespace().nth(1) == Some("ERROR");
    (is_error && !line.contains(" kube_client::")) || line.contains("panicked at")
}

/// The line without escape sequences that a terminal would take for colours.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut escaped = false;
    for character in line.chars() {
        match (escaped, character) {
            (false, '\u{1b}') => escaped = true,
            (false, _) => text.push(character),
            (true, _) => escaped = !character.is_ascii_alphabetic(),
        }
    }
    text
}

async fn follow_all(client: Client, directory: PathBuf) {
    let pods = Api::<Pod>::all(client.clone());
    let mut known = BTreeSet::new();
    let mut streams = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    loop {
        ticks.tick().await;
        while let Some(ended) = streams.try_join_next() {
            if let Ok(Err(run)) = ended {
                known.remove(&run); // the stream did not begin: once more
            }
        }
        // an API server that does not answer is another step's business
        let Ok(list) = pods.list(&ListParams::default()).await else {
            continue;
        };
        for run in list.items.iter().flat_map(runs) {
            if known.insert(run.clone()) {
                streams.spawn(follow(client.clone(), directory.clone(), run));
            }
        }
    }
}

/// Does a container of ours run in the pod?
pub(crate) fn is_ours(pod: &Pod) -> bool {
    !runs(pod).is_empty()
}

/// The containers of ours in a pod that have been started.
fn runs(pod: &Pod) -> Vec<Run> {
    let status = pod.status.as_ref();
    let all = status.into_iter().flat_map(|status| {
        let inits = status.init_container_statuses.iter().flatten();
        inits.chain(status.container_statuses.iter().flatten())
    });
    all.filter(|container| container.image.starts_with(OURS) && has_begun(container))
        .filter_map(|container| {
            Some(Run {
                namespace: pod.namespace()?,
                pod: pod.name_any(),
                container: container.name.clone(),
                id: container.container_id.clone()?,
            })
        })
        .collect()
}

fn has_begun(container: &ContainerStatus) -> bool {
    container
        .state
        .as_ref()
        .is_some_and(|state| state.running.is_some() || state.terminated.is_some())
}

/// Writes a container's log to a file until the container ends.
async fn follow(client: Client, directory: PathBuf, run: Run) -> Result<(), Run> {
    let id: String = run.id.chars().rev().take(8).collect();
    let name = format!("{}.{}.{}.{id}.log", run.namespace, run.pod, run.container);
    copy(client, directory.join(name), &run)
        .await
        .map_err(|_| run)
}

async fn copy(client: Client, path: PathBuf, run: &Run) -> Result<()> {
    let parameters = LogParams {
        container: Some(run.container.clone()),
        follow: true,
        ..LogParams::default()
    };
    let mut lines = Api::<Pod>::namespaced(client, &run.namespace)
        .log_stream(&run.pod, &parameters)
        .await?
        .lines();
    let mut file = File::create(path)?;
    // when the connection breaks, what was read is kept
    while let Ok(Some(line)) = lines.try_next().await {
        writeln!(file, "{line}")?;
    }
    Ok(())
}
