//! `kubectl peerup`: codes made on a desk that join, and what a person is shown.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube::api::ListParams;
use peerup_crds::{PairingCode, Peer};
use peerup_protocol::api::path;
use peerup_protocol::code::Code;
use peerup_tests::light::Light;
use peerup_tests::programs;
use serde_json::{Value, json};

use super::joiner::{known, record, redeem};
use super::world::{World, key};

/// The program under the name by which kubectl finds it; gone when dropped.
struct Plugin(PathBuf);

impl Plugin {
    fn install(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("peerup-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let plugin = Self(folder);
        std::os::unix::fs::symlink(programs::path("peerup")?, plugin.program())?;
        Ok(plugin)
    }

    fn program(&self) -> PathBuf {
        self.0.join("kubectl-peerup")
    }

    /// Runs it off the runtime's threads, since the operator's API may be asked meanwhile.
    async fn run(&self, world: &World, words: &str) -> Result<Output> {
        let kubeconfig = Light::shared()?.kubeconfig();
        let mut command = Command::new(self.program());
        command
            .args(words.split(' '))
            .args(["--namespace", &world.namespace])
            .env_clear()
            .env("KUBECONFIG", kubeconfig);
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // a later run has a folder of its own
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What it printed; fails where it failed.
fn text(output: &Output) -> Result<String> {
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {errors}", output.status);
    Ok(String::from_utf8(output.stdout.clone())?)
}

#[tokio::test]
async fn codes_made_on_a_desk_join_and_are_nowhere_else() -> Result<()> {
    let (world, plugin) = (World::new("kubectl").await?, Plugin::install("join")?);
    let make = "pair create laptops --network main --count 2 --ttl 10m --json";
    let printed: Value = serde_json::from_str(&text(&plugin.run(&world, make).await?)?)?;
    let texts: Vec<_> = printed["codes"]
        .as_array()
        .context("codes")?
        .iter()
        .filter_map(|code| code["code"].as_str())
        .collect();
    let codes = texts
        .iter()
        .map(|text| Ok(Code::parse(text)?))
        .collect::<Result<Vec<_>>>()?;
    ensure!(codes.len() == 2 && codes[0].group == codes[1].group);
    let dialled: Vec<_> = codes[1].responders[0]
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    ensure!(dialled == ["/ip4/192.0.2.1/tcp/4001"], "{dialled:?}");

    let relay = world.relay().await?;
    known(&relay, &codes[1]).await?;
    let joined = redeem(&codes[1], &key(1), "laptop")?;
    record(&relay.post(path::REDEEM, &joined).await?)?;
    let shown = text(&plugin.run(&world, "peers --network main").await?)?;
    let rows: Vec<Vec<_>> = shown
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    ensure!(
        rows.len() == 2 && rows[0][1] == "NAME" && rows[1][..2] == ["main", "laptop"],
        "{shown}"
    );

    let object = world.api::<PairingCode>().get("laptops").await?;
    ensure!(object.spec.ttl_seconds == 600 && object.spec.count == 2);
    let told = [
        serde_json::to_string(&object)?,
        serde_json::to_string(&world.peers().await?)?,
        world.operator.program.output(),
    ];
    for (code, text) in codes.iter().zip(&texts) {
        let secret = data_encoding::HEXLOWER.encode(code.secret.expose());
        for told in &told {
            ensure!(!told.contains(text) && !told.contains(&secret), "{told}");
        }
    }
    let refused = plugin.run(&world, "codes laptops").await?;
    let why = String::from_utf8(refused.stderr)?;
    ensure!(
        !refused.status.success() && why.contains("made elsewhere"),
        "{why}"
    );
    Ok(())
}

#[tokio::test]
async fn refused_codes_are_never_shown() -> Result<()> {
    let (world, plugin) = (World::new("kubectl").await?, Plugin::install("refused")?);
    for (words, expected) in [
        ("pair create long --ttl 25h", "TTLTooLong"),
        ("pair create many --network main --count 100", ""),
        ("pair create more", "QuotaExceeded"),
        ("pair create other --network mian", "\"mian\" not found"),
        ("pair create many", "already exists"),
    ] {
        let output = plugin.run(&world, words).await?;
        if expected.is_empty() {
            ensure!(text(&output)?.lines().count() == 100);
            continue;
        }
        let why = String::from_utf8(output.stderr)?;
        ensure!(
            !output.status.success() && output.stdout.is_empty() && why.contains(expected),
            "{words}: {why}"
        );
    }
    let left = world
        .api::<PairingCode>()
        .list(&ListParams::default())
        .await?;
    let names: Vec<_> = left.iter().map(ResourceExt::name_any).collect();
    ensure!(names == ["many"], "what was refused is left: {names:?}");
    Ok(())
}

#[tokio::test]
async fn codes_of_a_secret_are_shown_until_they_are_used() -> Result<()> {
    let (world, plugin) = (World::new("kubectl").await?, Plugin::install("codes")?);
    let codes = world.codes("team", json!({"count": 2})).await?;
    let shown = text(&plugin.run(&world, "codes team").await?)?;
    let expected: Vec<_> = codes
        .iter()
        .map(|code| code.to_text().expose().to_owned())
        .collect();
    ensure!(shown.lines().eq(expected.iter().map(String::as_str)));
    let relay = world.relay().await?;
    known(&relay, &codes[0]).await?;
    for (number, code) in (1..).zip(&codes) {
        let joined = redeem(code, &key(number), "laptop")?;
        record(&relay.post(path::REDEEM, &joined).await?)?;
        let output = plugin.run(&world, "codes team").await?;
        let left = String::from_utf8(output.stdout)?;
        let used = code.to_text();
        ensure!(!left.contains(used.expose()), "a used code is shown");
    }
    let peers = world.api::<Peer>().list(&ListParams::default()).await?;
    let shown = text(&plugin.run(&world, "peers --json").await?)?;
    let shown: Value = serde_json::from_str(&shown)?;
    ensure!(shown.as_array().map(Vec::len) == Some(peers.items.len()));
    ensure!(shown[0]["name"] == "laptop" && shown[1]["name"] == "laptop-2");
    Ok(())
}
