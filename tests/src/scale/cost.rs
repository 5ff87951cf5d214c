//! What the operator and its requests cost, from the kernel's and the API server's own counters.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::Client;
use kube::api::ListParams;
use kube::core::Request;

/// Requests that change something that is stored; a review is posted and stored nowhere.
const WRITES: [&str; 6] = [
    "POST",
    "PUT",
    "PATCH",
    "APPLY",
    "DELETE",
    "DELETECOLLECTION",
];
/// Ticks of the kernel's clock in a second, as it tells them to programs.
const TICKS: f64 = 100.0;

/// Counters at one moment.
#[derive(Debug, Clone)]
pub struct Sample {
    at: Instant,
    requests: BTreeMap<String, f64>,
    cpu_seconds: f64,
    /// Resident memory of the operator in MB, now and at most so far.
    pub memory: (f64, f64),
}

/// What happened between two moments.
#[derive(Debug, Clone)]
pub struct Cost {
    /// How long it took.
    pub span: Duration,
    /// Writes by verb and resource.
    pub writes: BTreeMap<String, f64>,
    /// Reviews of tokens.
    pub reviews: f64,
    /// CPU seconds of the operator.
    pub cpu_seconds: f64,
}

impl Sample {
    /// Reads all counters; `process` is the operator's.
    pub async fn take(client: &Client, process: u32) -> Result<Self> {
        let request = Request::new("/metrics").list(&ListParams::default())?;
        let page = client.request_text(request).await?;
        let mut requests = BTreeMap::new();
        for line in page.lines() {
            if let Some((name, count)) = request_count(line) {
                *requests.entry(name).or_default() += count;
            }
        }
        Ok(Self {
            at: Instant::now(),
            requests,
            cpu_seconds: cpu(process)?,
            memory: memory(process)?,
        })
    }

    /// What happened since then.
    #[must_use]
    pub fn since(&self, before: &Self) -> Cost {
        let mut cost = Cost {
            span: self.at.duration_since(before.at),
            writes: BTreeMap::new(),
            reviews: 0.0,
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
        };
        for (name, count) in &self.requests {
            let more = count - before.requests.get(name).copied().unwrap_or(0.0);
            if more <= 0.0 {
                continue;
            }
            if name.ends_with("reviews") {
                cost.reviews += more;
            } else {
                cost.writes.insert(name.clone(), more);
            }
        }
        cost
    }
}

impl Cost {
    /// Leaves out what the measurement wrote itself, by verb and resource.
    #[must_use]
    pub fn without(mut self, own: &[&str]) -> Self {
        self.writes.retain(|name, _| !own.contains(&name.as_str()));
        self
    }

    /// Writes a second, of all clients of the API server.
    #[must_use]
    pub fn writes_per_second(&self) -> f64 {
        self.writes.values().sum::<f64>() / self.span.as_secs_f64()
    }

    /// Cores that the operator kept busy.
    #[must_use]
    pub fn cores(&self) -> f64 {
        self.cpu_seconds / self.span.as_secs_f64()
    }
}

/// `PATCH peers/status` and its count, from a line of the API server's `apiserver_request_total`.
fn request_count(line: &str) -> Option<(String, f64)> {
    let (labels, count) = line
        .strip_prefix("apiserver_request_total{")?
        .rsplit_once("} ")?;
    let label = |name: &str| {
        let start = labels.split(',').find_map(|one| one.strip_prefix(name))?;
        Some(start.strip_prefix("=\"")?.strip_suffix('"')?.to_owned())
    };
    let verb = label("verb")?;
    if !WRITES.contains(&verb.as_str()) {
        return None;
    }
    let (resource, part) = (label("resource")?, label("subresource").unwrap_or_default());
    let slash = if part.is_empty() { "" } else { "/" };
    Some((
        format!("{verb} {resource}{slash}{part}"),
        count.parse().ok()?,
    ))
}

fn cpu(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // the name in brackets may hold spaces
    let (_, fields) = stat.rsplit_once(") ").context("/proc/…/stat")?;
    let mut ticks = fields.split(' ').skip(11).take(2);
    let mut next = || -> Result<f64> { Ok(ticks.next().context("too few fields")?.parse()?) };
    Ok((next()? + next()?) / TICKS)
}

fn memory(process: u32) -> Result<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let megabytes = |name: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|line| line.split_whitespace().next());
        Ok(kibibytes.context("no such line")?.parse::<f64>()? * 1024.0 / 1e6)
    };
    Ok((megabytes("VmRSS:")?, megabytes("VmHWM:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_told_from_a_read() {
        let line = |verb: &str| {
            format!(
                "apiserver_request_total{{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"peerup.dev\",\
                 resource=\"peers\",scope=\"resource\",subresource=\"status\",verb=\"{verb}\",version=\"v1alpha1\"}} 12"
            )
        };
        assert_eq!(
            request_count(&line("PATCH")),
            Some(("PATCH peers/status".to_owned(), 12.0))
        );
        for other in [line("LIST"), line("WATCH"), "apiserver_other 3".to_owned()] {
            assert_eq!(request_count(&other), None);
        }
    }

    #[test]
    fn this_process_has_memory() -> Result<()> {
        let (now, most) = memory(std::process::id())?;
        assert!(now > 1.0 && most >= now && cpu(std::process::id())? >= 0.0);
        Ok(())
    }
}
