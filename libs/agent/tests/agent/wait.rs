//! Waiting, with an end, and a word for what is waited for.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Generous: two cores build other things meanwhile.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks at what tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(20);

/// What comes of the work.
pub(crate) async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = timeout(DEADLINE, work).await;
    done.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Waits until there is something.
pub(crate) async fn found<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    in_time(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(LOOK).await;
        }
    })
    .await
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    found(what, async || condition().await.then_some(())).await;
}
