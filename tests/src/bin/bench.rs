//! `make bench`: the operator at scale. Prints a table and puts it into docs/benchmarks.md.
//!
//! `ARGS="--reporters 1000 --minutes 2"` bounds it; the minutes are those of each of two measurements.

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
/// Grades that change, and pods that are replaced, in a minute, of all.
const SHARE: f64 = 0.01;
/// Writes that replacing a pod takes of others than the operator.
const OWN: [&str; 3] = ["POST pods", "DELETE pods", "POST serviceaccounts/token"];

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
        (100..=19_000).contains(&found.reporters) && found.minutes > 0,
        "--reporters must be 100 to 19000, --minutes at least 1"
    );
    Ok(found)
}

async fn bench(arguments: &Arguments) -> Result<()> {
    let reporters = arguments.reporters;
    say(&format!("storing {reporters} pods and Peers"));
    let started = Instant::now();
    let crowd = Crowd::gather(reporters).await?;
    say(&format!(
        "stored after {} s; waiting until all are graded",
        started.elapsed().as_secs()
    ));
    let (client, elections) = (crowd.client.clone(), crowd.elections().await?);
    let limit = Duration::from_secs(300 + reporters as u64 / 10);
    crowd.settle(limit).await?;
    let joined = started.elapsed();
    say(&format!(
        "all are graded after {} s; measuring",
        joined.as_secs()
    ));
    let span = Duration::from_secs(60 * arguments.minutes);
    let steady = measure(&crowd, span, false).await?;
    say("now with pods that are replaced");
    let moving = measure(&crowd, span, true).await?;
    let result = Measured {
        reporters,
        lost: crowd.elections().await? - elections,
        memory: Sample::take(&client, crowd.process()).await?.memory,
        joined,
        steady,
        moving,
    };
    let table = result.table()?;
    println!("{table}");
    write(&table)
}

/// Grades change for a while, and pods are replaced or not; then the operator has to know all that was said.
async fn measure(crowd: &Crowd, span: Duration, replace: bool) -> Result<Phase> {
    let (reports, before) = (crowd.reports(), sample(crowd).await?);
    let replacing = async {
        match replace {
            true => crowd.replace(SHARE, span).await,
            false => Ok(0),
        }
    };
    let (changed, replaced) = tokio::join!(crowd.change(SHARE, span), replacing);
    let (after, waiting) = (sample(crowd).await?, crowd.waiting().await?);
    let (taken, refused) = crowd.reports();
    crowd.agrees(Duration::from_secs(60)).await?;
    let cost = after.since(&before);
    Ok(Phase {
        changed,
        replaced: replaced?,
        taken: taken - reports.0,
        refused: refused - reports.1,
        waiting,
        cost: if replace { cost.without(&OWN) } else { cost },
    })
}

async fn sample(crowd: &Crowd) -> Result<Sample> {
    Sample::take(&crowd.client, crowd.process()).await
}

/// What happened while it was measured.
struct Phase {
    changed: usize,
    replaced: usize,
    taken: u64,
    refused: u64,
    waiting: u64,
    cost: Cost,
}

struct Measured {
    reporters: usize,
    lost: i32,
    memory: (f64, f64),
    joined: Duration,
    steady: Phase,
    moving: Phase,
}

/// What, the measured value, the target.
type Row = (String, String, &'static str);

fn row(what: &str, value: String, target: &'static str) -> Row {
    (what.to_owned(), value, target)
}

impl Measured {
    fn table(&self) -> Result<String> {
        let mut text = format!(
            "{} reporters, each every 30 s.\n{}\n\n",
            self.reporters,
            machine()?
        );
        for (title, rows) in [
            ("1 % of grades change a minute", self.steady.rows("≤ 10/s")),
            (
                "1 % of grades change and 1 % of pods are replaced a minute",
                self.moving.rows("≤ 15/s"),
            ),
            ("the whole run", self.run()),
        ] {
            text += &format!("| {title} | measured | target |\n|---|---|---|\n");
            for (what, value, target) in rows {
                text += &format!("| {what} | {value} | {target} |\n");
            }
            text += "\n";
        }
        Ok(text)
    }

    fn run(&self) -> Vec<Row> {
        let (now, most) = self.memory;
        let joined = format!("{} s", self.joined.as_secs());
        vec![
            row("operator lost its lease", self.lost.to_string(), "0"),
            row(
                "operator, memory",
                format!("{now:.0} MB, at most {most:.0}"),
                "< 150 MB",
            ),
            row("before: all pods stored and graded", joined, ""),
        ]
    }
}

impl Phase {
    /// What came to the operator, and from it to the API server.
    fn rows(&self, target: &'static str) -> Vec<Row> {
        let rate = |count: f64| format!("{:.1}/s", count / self.cost.span.as_secs_f64());
        let writes = format!("**{:.1}/s**", self.cost.writes_per_second());
        let span = format!("{:.0} s", self.cost.span.as_secs_f64());
        let mut rows = vec![
            row("for", span, ""),
            row("reports taken", rate(self.taken as f64), ""),
            row("reports not taken", self.refused.to_string(), "0"),
            row("grades that changed", self.changed.to_string(), ""),
            row("pods replaced", self.replaced.to_string(), ""),
            row("**API writes**", writes, target),
        ];
        for (name, count) in &self.cost.writes {
            rows.push((format!("– `{name}`"), rate(*count), ""));
        }
        let (reviews, cores) = (self.cost.reviews, self.cost.cores());
        rows.extend([
            row("token reviews (nothing is stored)", rate(reviews), ""),
            row("operator, CPU", format!("{cores:.2} cores"), "< 1"),
            row(
                "peers that wait for a write at the end",
                self.waiting.to_string(),
                "",
            ),
        ]);
        rows
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
    fs::write(
        &path,
        format!("{before}{START}\n{}\n{END}{after}", table.trim_end()),
    )?;
    Ok(())
}

fn say(text: &str) {
    eprintln!("bench: {text}");
}
