//! `make bench`: the operator at scale. Prints a table and puts it into docs/benchmarks.md.
//!
//! `ARGS="--reporters 1000 --minutes 2"` bounds it.

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use peerup_tests::light::repository;
use peerup_tests::scale::{Cost, Crowd, Sample};

/// Where the table is put.
const PAGE: &str = "docs/benchmarks.md";
const START: &str = "<!-- operator at scale: written by make bench -->";
const END: &str = "<!-- end of operator at scale -->";
/// Grades that change in a minute, of all.
const SHARE: f64 = 0.01;

struct Arguments {
    reporters: usize,
    minutes: u64,
}

fn main() -> ExitCode {
    let run = arguments().and_then(|arguments| {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(bench(&arguments))
    });
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Arguments> {
    let mut found = Arguments {
        reporters: 10_000,
        minutes: 5,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words
            .next()
            .with_context(|| format!("{word} must have a value"))?;
        let number: u64 = value.parse().with_context(|| format!("{word} {value}"))?;
        match word.as_str() {
            "--reporters" => found.reporters = usize::try_from(number)?,
            "--minutes" => found.minutes = number,
            _ => bail!("unknown {word}; there are --reporters NUMBER and --minutes NUMBER"),
        }
    }
    ensure!(
        (100..=20_000).contains(&found.reporters) && found.minutes > 0,
        "--reporters must be 100 to 20000, --minutes at least 1"
    );
    Ok(found)
}

async fn bench(arguments: &Arguments) -> Result<()> {
    let reporters = arguments.reporters;
    say(&format!("storing {reporters} pods and Peers"));
    let started = Instant::now();
    let mut crowd = Crowd::gather(reporters).await?;
    say(&format!(
        "stored after {} s; all report for the first time",
        started.elapsed().as_secs()
    ));
    let (process, client) = (crowd.process(), crowd.client.clone());
    let limit = Duration::from_secs(300 + reporters as u64 / 10);
    let (first, begun) = (Sample::take(&client, process).await?, Instant::now());
    crowd.settle(limit).await?;
    let settled = Sample::take(&client, process).await?;
    let joins = settled.since(&first);
    say(&format!(
        "all are graded after {} s; measuring",
        begun.elapsed().as_secs()
    ));
    let reports = crowd.reports();
    let changed = crowd
        .change(SHARE, Duration::from_secs(60 * arguments.minutes))
        .await;
    let after = Sample::take(&client, process).await?;
    let (cost, waiting) = (after.since(&settled), crowd.waiting().await?);
    let (taken, refused) = crowd.reports();
    crowd.agrees(Duration::from_secs(60)).await?;
    let result = Measured {
        reporters,
        changed,
        taken: taken - reports.0,
        refused: refused - reports.1,
        waiting,
        joins,
        cost,
        memory: after.memory,
    };
    let table = result.table()?;
    println!("{table}");
    write(&table)
}

struct Measured {
    reporters: usize,
    changed: usize,
    taken: u64,
    refused: u64,
    waiting: u64,
    joins: Cost,
    cost: Cost,
    memory: (f64, f64),
}

/// What, the measured value, the target.
type Row = (String, String, &'static str);

fn row(what: &str, value: String, target: &'static str) -> Row {
    (what.to_owned(), value, target)
}

impl Measured {
    fn table(&self) -> Result<String> {
        let mut text = format!(
            "{} reporters, each every 30 s; 1 % of grades change a minute; {:.0} s.\n{}\n\n",
            self.reporters,
            self.cost.span.as_secs_f64(),
            machine()?
        );
        text += "| what | measured | target |\n|---|---|---|\n";
        for (what, value, target) in self.requests().into_iter().chain(self.operator()) {
            text += &format!("| {what} | {value} | {target} |\n");
        }
        Ok(text)
    }

    /// What came to the operator, and from all to the API server.
    fn requests(&self) -> Vec<Row> {
        let rate = |count: f64| format!("{:.1}/s", count / self.cost.span.as_secs_f64());
        let writes = format!("**{:.1}/s**", self.cost.writes_per_second());
        let mut rows = vec![
            row("reports taken", rate(self.taken as f64), ""),
            row("reports not taken", self.refused.to_string(), "0"),
            row("grades that changed", self.changed.to_string(), ""),
            row("**API writes**", writes, "≤ 10/s"),
        ];
        for (name, count) in &self.cost.writes {
            rows.push((format!("– `{name}`"), rate(*count), ""));
        }
        rows.push(row(
            "token reviews (nothing is stored)",
            rate(self.cost.reviews),
            "",
        ));
        rows
    }

    fn operator(&self) -> Vec<Row> {
        let (now, most) = self.memory;
        let (cores, joins) = (self.cost.cores(), &self.joins);
        let joined = format!(
            "{:.0} s, {:.1} writes/s",
            joins.span.as_secs_f64(),
            joins.writes_per_second()
        );
        vec![
            row("operator, CPU", format!("{cores:.2} cores"), "< 1"),
            row(
                "operator, memory",
                format!("{now:.0} MB, at most {most:.0}"),
                "< 150 MB",
            ),
            row(
                "peers that wait for a write at the end",
                self.waiting.to_string(),
                "",
            ),
            row("before: all report for the first time", joined, ""),
        ]
    }
}

/// What it ran on.
fn machine() -> Result<String> {
    let of = |file: &str, name: &str| -> Result<String> {
        let text = fs::read_to_string(file)?;
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line
            .and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim());
        Ok(value.unwrap_or("unknown").to_owned())
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let memory: u64 = of("/proc/meminfo", "MemTotal")?
        .trim_end_matches(" kB")
        .parse()?;
    Ok(format!(
        "Machine: {} × {}, {} GB, Linux {}. etcd (without fsync), API server, operator and reporters share it; profile `ci`; \
         load average at the end {}.",
        std::thread::available_parallelism()?,
        of("/proc/cpuinfo", "model name")?,
        memory / 1_000_000,
        kernel.trim(),
        fs::read_to_string("/proc/loadavg")?
            .split(' ')
            .next()
            .unwrap_or_default()
    ))
}

fn write(table: &str) -> Result<()> {
    let path = repository().join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("read {PAGE}"))?;
    let (before, rest) = page.split_once(START).context("no place for the table")?;
    let (_, after) = rest.split_once(END).context("no end of the table")?;
    fs::write(&path, format!("{before}{START}\n{table}{END}{after}"))?;
    Ok(())
}

fn say(text: &str) {
    eprintln!("bench: {text}");
}
