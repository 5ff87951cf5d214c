//! A second as a process has it.

use std::time::Duration;

/// Waits a second for something, not counting the moments in which this process is not let run.
pub(crate) async fn within_a_second<T>(something: impl Future<Output = T>) -> Option<T> {
    let turn = Duration::from_millis(10);
    let mut something = std::pin::pin!(something);
    for _ in 0..100 {
        if let Ok(done) = tokio::time::timeout(turn, &mut something).await {
            return Some(done);
        }
    }
    None
}
