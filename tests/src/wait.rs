//! Waiting for a condition with a deadline, in place of sleeping.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Calls `probe` every 100 ms until it answers, for `limit` and as many looks as this has room for: a machine that
/// stands still for a while takes none away. At most three times as long, where looks take their time. The error says what was waited for and why the last try failed.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    probe: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    every(Duration::from_millis(100), what, limit, probe).await
}

/// As [`eventually`], twice a second: for a cluster that has better things to do.
pub async fn patiently<T>(
    what: &str,
    limit: Duration,
    probe: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    every(Duration::from_millis(500), what, limit, probe).await
}

async fn every<T>(
    period: Duration,
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    let end = deadline + 2 * limit;
    let mut looks = limit.div_duration_f64(period);
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        looks -= 1.0;
        let now = Instant::now();
        let is_last = (looks <= 0.0 && now >= deadline) || now >= end;
        match probe().await {
            Ok(value) => return Ok(value),
            Err(error) if is_last => {
                return Err(anyhow!("waited {limit:?} for {what}: {error:#}"));
            }
            Err(_) => {}
        }
    }
}

/// Fails as soon as `probe` does, and succeeds when it kept answering for `span`:
/// for what must stay true.
pub async fn steadily(
    what: &str,
    span: Duration,
    mut probe: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    let deadline = Instant::now() + span;
    let mut ticks = interval(Duration::from_millis(200));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if Instant::now() >= deadline {
            return Ok(());
        }
        probe()
            .await
            .map_err(|error| anyhow!("{what} did not last: {error:#}"))?;
    }
}
