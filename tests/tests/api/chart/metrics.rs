//! Names of metrics: alerts, dashboards and docs/metrics.md name what programs register, and the page names all of it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use peerup_tests::light::repository;
use peerup_tests::tools::{promtool, run};
use serde_json::Value;

use super::{alerts, find, objects};

/// The dashboards, from the top of the repository.
const DASHBOARDS: &str = "charts/peerup/files/dashboards";
/// What a histogram's series add to its name.
const SERIES: [&str; 3] = ["_bucket", "_sum", "_count"];

/// A metric's name, as it is registered without the prefix that all share.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Names of all metrics that a program registers: in its `metrics.rs` each stands before its help, a sentence.
fn registered_in(room: &str) -> Result<BTreeSet<String>> {
    let path = repository().join(room).join("src/metrics.rs");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    ensure!(
        text.contains("new_custom(Some(\"peerup\""),
        "{} does not set the prefix",
        path.display()
    );
    // texts in quotes are every other piece; between a name and its help there is a comma
    let pieces: Vec<&str> = text.split('"').collect();
    let names = pieces.windows(3).skip(1).step_by(2).filter_map(|three| {
        let &[name, between, help] = three else {
            return None;
        };
        let is = is_name(name) && between.trim() == "," && help.contains(' ');
        is.then(|| format!("peerup_{name}"))
    });
    Ok(names.collect())
}

/// Names of all metrics of all programs.
fn registered() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for room in ["operator", "relay", "libs/agent"] {
        let of_one = registered_in(room)?;
        ensure!(of_one.len() > 8, "too few in {room}: {of_one:?}");
        names.extend(of_one);
    }
    Ok(names)
}

/// Names of our metrics in a text; a series of a histogram stands for the histogram.
fn named(text: &str, registered: &BTreeSet<String>) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("peerup_") && !word.starts_with("peerup_dev_"));
    ours.map(|word| {
        let histogram = SERIES.iter().find_map(|series| {
            word.strip_suffix(series)
                .filter(|name| registered.contains(*name))
        });
        histogram.unwrap_or(word).to_owned()
    })
    .collect()
}

/// The expressions of all panels and variables of all dashboards.
fn expressions() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repository().join(DASHBOARDS))? {
        let path = entry?.path();
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&path)?)
            .with_context(|| format!("{} must be JSON", path.display()))?;
        let panels = dashboard["panels"].as_array().context("no panels")?;
        let mut ids = BTreeSet::new();
        for panel in panels {
            ensure!(
                ids.insert(panel["id"].as_u64()),
                "two panels have id {}",
                panel["id"]
            );
            let targets = panel["targets"].as_array();
            ensure!(
                targets.is_some_and(|targets| !targets.is_empty()) || panel["type"] == "row",
                "panel {} shows nothing",
                panel["title"]
            );
            for target in targets.into_iter().flatten() {
                found.push(target["expr"].as_str().context("no expression")?.to_owned());
            }
        }
        let variables = dashboard["templating"]["list"].as_array();
        for variable in variables.context("no variables")? {
            found.extend(
                variable["query"]
                    .as_str()
                    .filter(|query| query.starts_with("label_values("))
                    .map(str::to_owned),
            );
        }
    }
    Ok(found)
}

#[test]
fn alerts_name_what_programs_register() -> Result<()> {
    let registered = registered()?;
    let mut used = BTreeSet::new();
    for rule in alerts::rules()? {
        let expression = rule["expr"].as_str().context("a rule has no expression")?;
        used.extend(named(expression, &registered));
    }
    ensure!(used.len() > 8, "too few: {used:?}");
    let unknown: Vec<_> = used.difference(&registered).collect();
    ensure!(unknown.is_empty(), "no program registers {unknown:?}");
    Ok(())
}

#[test]
fn the_page_names_each_and_no_other() -> Result<()> {
    let registered = registered()?;
    let page = fs::read_to_string(repository().join("docs/metrics.md"))?;
    let told = named(&page, &registered);
    ensure!(
        told == registered,
        "docs/metrics.md leaves out {:?} and invents {:?}",
        registered.difference(&told).collect::<Vec<_>>(),
        told.difference(&registered).collect::<Vec<_>>()
    );
    Ok(())
}

#[test]
fn dashboards_name_what_programs_register() -> Result<()> {
    let registered = registered()?;
    let expressions = expressions()?;
    let used = named(&expressions.join("\n"), &registered);
    ensure!(used.len() > 20, "too few: {used:?}");
    let unknown: Vec<_> = used.difference(&registered).collect();
    ensure!(unknown.is_empty(), "no program registers {unknown:?}");
    Ok(())
}

/// promtool reads the expressions of panels as those of rules.
#[test]
fn dashboards_ask_what_prometheus_understands() -> Result<()> {
    let panels = expressions()?
        .into_iter()
        .filter(|expression| !expression.starts_with("label_values("));
    let rules: Vec<_> = panels
        .enumerate()
        .map(|(number, expr)| serde_json::json!({ "record": format!("panel:{number}"), "expr": expr }))
        .collect();
    ensure!(rules.len() > 20, "too few: {rules:?}");
    let groups = serde_json::json!({ "groups": [{ "name": "panels", "rules": rules }] });
    let file = std::env::temp_dir().join(format!("peerup-panels-{}.yaml", std::process::id()));
    fs::write(&file, groups.to_string())?;
    let checked = run(Command::new(promtool()?)
        .args(["check", "rules"])
        .arg(&file));
    fs::remove_file(&file)?;
    checked.map(drop)
}

#[test]
fn dashboards_come_where_they_are_asked_for() -> Result<()> {
    let name = "peerup-dashboards";
    ensure!(
        find(&objects(&[])?, "ConfigMap", name).is_err(),
        "nobody asked for it"
    );
    let asked = objects(&["--set", "monitoring.dashboards.enabled=true"])?;
    let map = find(&asked, "ConfigMap", name)?;
    ensure!(
        map["metadata"]["labels"]["grafana_dashboard"] == "1",
        "{map}"
    );
    let data = map["data"].as_object().context("no data")?;
    let files: BTreeSet<String> = fs::read_dir(repository().join(DASHBOARDS))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    ensure!(
        data.keys().cloned().collect::<BTreeSet<_>>() == files,
        "{:?}, not {files:?}",
        data.keys()
    );
    for (file, content) in data {
        let written = fs::read_to_string(repository().join(DASHBOARDS).join(file))?;
        let (content, written): (Value, Value) = (
            serde_json::from_str(content.as_str().context("no text")?)?,
            serde_json::from_str(&written)?,
        );
        ensure!(content == written, "{file} changes on its way");
    }
    Ok(())
}
