//! No code shows in a log, event, resource or metric.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use data_encoding::{BASE64, HEXLOWER};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use peerup_protocol::code::Code;
use peerup_tests::story::shell::quietly;
use peerup_tests::wait::patiently;

use crate::logs::is_ours;
use crate::wire::NAMES;
use crate::world::World;

pub(crate) async fn no_code_shows_anywhere(world: &mut World) -> Result<()> {
    let limit = Duration::from_secs(60);
    let metrics = patiently("all metrics", limit, async || metrics(world).await).await?;
    let mut places = vec![
        ("events", quietly("kubectl get events -A -o json")?.ok()?),
        (
            "resources",
            quietly("kubectl get pnet,pcode,peers -A -o json")?.ok()?,
        ),
        ("pods", quietly("kubectl get pods,cm -A -o json")?.ok()?),
        ("metrics", metrics),
    ];
    let logs = world.logs.lines()?;
    let of_relays = logs.iter().filter(|(of, _)| of.contains(".crew-relay-"));
    let of_relays: Vec<_> = of_relays.map(|(_, line)| line.as_str()).collect();
    for name in NAMES {
        let found = of_relays.iter().find(|line| line.contains(name));
        ensure!(
            found.is_none(),
            "a relay's log has the name {name}: {found:?}"
        );
    }
    ensure!(!of_relays.is_empty(), "no relay has said a word");
    let logs: Vec<_> = logs.into_iter().map(|(_, line)| line).collect();
    places.push(("logs", logs.join("\n")));
    places.push(("logs of the peers outside", outside(world)?));
    for (name, text) in &places {
        println!("{name}: {} bytes", text.len());
        ensure!(text.len() > 1000, "{name} are too few to say anything");
    }
    ensure!(
        world.issued.len() >= 4,
        "only {} codes were issued",
        world.issued.len()
    );
    for code in &world.issued {
        let secrets = secrets(code)?;
        for (name, text) in &places {
            let text = letters(text);
            let found = secrets.iter().find(|secret| text.contains(secret.as_str()));
            ensure!(found.is_none(), "a code is in the {name}");
        }
    }
    Ok(())
}

/// What the peers outside have printed. They hold codes, in files beside.
fn outside(world: &World) -> Result<String> {
    let mut text = String::new();
    for entry in fs::read_dir(world.state(""))? {
        let directory = entry?.path();
        for name in ["log", "daemon.log"] {
            let file = directory.join(name);
            if file.exists() {
                text += &fs::read_to_string(file)?;
            }
        }
    }
    Ok(text)
}

/// Every way in which the secret of a code may be written.
fn secrets(text: &str) -> Result<Vec<String>> {
    let code = Code::parse(text).map_err(|error| anyhow::anyhow!("an issued code: {error}"))?;
    let secret = code.secret.expose();
    let base64 = BASE64.encode(secret);
    Ok(
        [text, &HEXLOWER.encode(secret), base64.trim_end_matches('=')]
            .into_iter()
            .map(letters)
            .collect(),
    )
}

/// Letters and digits only, in lower case: a code may be written with dashes or spaces.
fn letters(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

/// The metrics of all our containers that run.
async fn metrics(world: &World) -> Result<String> {
    let pods = Api::<Pod>::all(world.cluster.client.clone());
    let mut text = String::new();
    for pod in pods.list(&ListParams::default()).await? {
        let running = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            == Some("Running");
        if running && is_ours(&pod) && pod.metadata.deletion_timestamp.is_none() {
            let namespace = pod.namespace().context("no namespace")?;
            text += &world.cluster.metrics(&namespace, &pod.name_any())?;
        }
    }
    Ok(text)
}
