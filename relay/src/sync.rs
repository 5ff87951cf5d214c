//! Follows the operator's roster by long poll, and keeps the last lists on disk.

use std::sync::Arc;
use std::time::Duration;

use peerup_operator_client::RelayClient;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::network::Network;
use crate::store::Store;

/// One call with its retries.
const CALL: Duration = Duration::from_secs(90);
/// Polls follow each other no faster, whatever the operator answers.
const PACE: Duration = Duration::from_millis(250);
/// Pauses after a call that failed for good: from one to the other, doubling, plus up to half.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Keeps the roster up to date until `stop`.
pub(crate) async fn follow(network: Arc<Network>, operator: RelayClient, stop: CancellationToken) {
    let mut pause = PAUSES.0;
    loop {
        let pace = Instant::now() + PACE;
        let next = tokio::select! {
            answered = poll(&network, &operator) => if answered {
                pause = PAUSES.0;
                pace
            } else {
                let jittered = pause.mul_f64(1.0 + rand::random::<f64>() / 2.0);
                pause = (pause * 2).min(PAUSES.1);
                Instant::now() + jittered
            },
            () = stop.cancelled() => return,
        };
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Asks once; true when the answer was taken over.
async fn poll(network: &Network, operator: &RelayClient) -> bool {
    let position = network.roster().position();
    let deadline = Instant::now() + CALL;
    let answer = match operator.roster(position.run, position.seq, deadline).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!(%error, "no roster from the operator");
            return false;
        }
    };
    match network.apply(answer).await {
        Ok(0) => true,
        Ok(refused) => {
            tracing::warn!(
                refused,
                "the operator's roster holds records that are not good"
            );
            true
        }
        Err(error) => {
            tracing::warn!(%error, "the operator's roster is not taken over");
            false
        }
    }
}

/// Writes the lists to disk whenever they changed, until `stop`.
pub(crate) async fn keep(network: Arc<Network>, store: Store, stop: CancellationToken) {
    let mut changed = network.watch();
    loop {
        tokio::select! {
            // What came while the last lists were written is written before the end.
            biased;
            alive = changed.changed() => if alive.is_err() { return },
            () = stop.cancelled() => return,
        }
        let Some(lists) = network.roster().to_answer() else {
            continue;
        };
        let store = store.clone();
        match tokio::task::spawn_blocking(move || store.save(&lists)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "lists not kept"),
            Err(error) => tracing::warn!(%error, "lists not kept"),
        }
    }
}
