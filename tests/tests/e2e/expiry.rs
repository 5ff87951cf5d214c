//! Codes that are refused before anything is sent: the program has no network at all.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use peerup_crds::PairingCode;
use peerup_tests::programs;
use peerup_tests::story::{SHOP, facts};
use peerup_tests::wait::patiently;

use crate::world::World;

pub(crate) async fn codes_with_a_typo_or_expired_are_refused_locally(
    world: &mut World,
) -> Result<()> {
    let code = world.brief.clone().context("there is no brief code")?;
    refused(&world.state("typo"), &typo(&code)?, 3, "nothing was sent")?;
    patiently(
        "the brief code to expire",
        Duration::from_secs(90),
        async || {
            let code = world.cluster.get::<PairingCode>(SHOP, "brief").await?;
            facts::code_condition(&code, "Expired", "True")?;
            let left = world.cluster.secret(SHOP, "brief").await;
            ensure!(left.is_err(), "its Secret is still there");
            Ok(())
        },
    )
    .await?;
    refused(&world.state("late"), &code, 4, "the code expired at")
}

/// Two letters in the middle change places, as they do when one types.
fn typo(code: &str) -> Result<String> {
    let mut letters: Vec<char> = code.chars().collect();
    let middle = letters.len() / 2;
    let at = (middle..letters.len() - 1)
        .find(|&at| letters[at] != letters[at + 1] && letters[at] != '-' && letters[at + 1] != '-')
        .context("all letters are equal")?;
    letters.swap(at, at + 1);
    Ok(letters.into_iter().collect())
}

fn refused(directory: &Path, code: &str, exit: i32, words: &str) -> Result<()> {
    let file = directory.with_extension("code");
    fs::write(&file, code)?;
    let output = Command::new("unshare")
        .arg("--net")
        .arg(programs::path("peerup")?)
        .arg("join")
        .arg("--code-file")
        .arg(&file)
        .arg("--state-dir")
        .arg(directory)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    ensure!(
        output.status.code() == Some(exit),
        "{}: {said}",
        output.status
    );
    ensure!(said.contains(words), "no {words:?} in {said}");
    ensure!(
        !directory.join("identity.key").exists(),
        "it left a key behind"
    );
    Ok(())
}
