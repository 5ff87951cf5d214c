//! The relay's limits in the node's words: from its settings at the start, from the operator's answers afterwards.

use std::time::Duration;

use peerup_node::{ProbationLimits, RelayLimits};
use peerup_protocol::api::Limits;

use crate::Config;

/// What the settings say.
pub(crate) fn of_config(config: &Config) -> RelayLimits {
    RelayLimits {
        max_reservations: config.max_reservations,
        max_circuits: config.max_circuits,
        circuit_timeout: seconds(config.circuit_timeout_seconds),
        circuit_data_limit: config.circuit_data_limit,
        probation: ProbationLimits {
            max_probationary: config.max_probationary_peers,
            timeout: seconds(config.probation_timeout_seconds),
            ..ProbationLimits::default()
        },
    }
}

/// What the operator says.
pub(crate) fn of_answer(limits: &Limits) -> RelayLimits {
    RelayLimits {
        max_reservations: count(limits.max_reservations),
        max_circuits: count(limits.max_circuits),
        circuit_timeout: seconds(limits.circuit_timeout_seconds),
        circuit_data_limit: limits.circuit_data_limit,
        probation: ProbationLimits {
            max_probationary: count(limits.max_probationary_peers),
            timeout: seconds(limits.probation_timeout_seconds),
            ..ProbationLimits::default()
        },
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

fn count(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
