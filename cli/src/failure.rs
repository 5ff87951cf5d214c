//! Why `peerup` ends without success, and the exit code for each reason.

use std::process::ExitCode;

use jiff::Timestamp;
use peerup_agent::{AgentError, StateError};
use peerup_protocol::code::CodeError;

/// Every way to fail; the text is what the person sees.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Unexpected(String),
    #[error("{0}")]
    Usage(String),
    #[error("{0}; nothing was sent")]
    NotACode(#[from] CodeError),
    #[error(
        "this is an invite of a person; this version joins with codes of a PairingCode; nothing was sent"
    )]
    Invite,
    #[error(
        "expected a code, since {0} holds no membership to join again with; see `peerup join --help`"
    )]
    NoCode(String),
    #[error("the code expired at {0}; ask for a new one; nothing was sent")]
    Expired(Timestamp),
    #[error("the membership in {dir} is of no use ({reason}); remove membership.json to join anew")]
    Membership { dir: String, reason: String },
    #[error("{0}")]
    State(#[from] StateError),
    #[error(
        "{dir} belongs to a peer of another network ({stored}); give this one its own with --state-dir"
    )]
    OtherNetwork { dir: String, stored: String },
    #[error("no peer runs on {0}; `peerup join` starts one")]
    NotRunning(String),
    #[error("stopped before it had joined")]
    Interrupted,
    #[error("{0}")]
    Agent(#[from] AgentError),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.number())
    }

    pub(crate) const fn number(&self) -> u8 {
        match self {
            Self::Unexpected(_) | Self::Agent(AgentError::Node(_)) => 1,
            Self::Usage(_) | Self::NoCode(_) => 2,
            Self::NotACode(_) | Self::Invite => 3,
            Self::Expired(_) => 4,
            Self::Agent(AgentError::NoRelay) => 5,
            Self::Agent(AgentError::PairingFailed) => 6,
            Self::State(_) | Self::OtherNetwork { .. } | Self::Membership { .. } => 7,
            Self::NotRunning(_) => 8,
            Self::Agent(AgentError::Ended) => 9,
            Self::Interrupted => 10,
        }
    }
}
