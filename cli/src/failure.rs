//! Why `peerup` ends without success, and the exit code for each reason.

use std::process::ExitCode;

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
    #[error("this is an invite of a person; this version joins with codes of a PairingCode; nothing was sent")]
    Invite,
    #[error("the code expired {0}; ask for a new one; nothing was sent")]
    Expired(String),
    #[error("{0}")]
    State(#[from] StateError),
    #[error("{dir} belongs to a peer of another network ({stored}); give this one its own with --state-dir")]
    OtherNetwork { dir: String, stored: String },
    #[error("no peer runs on {0}; `peerup join` starts one")]
    NotRunning(String),
    #[error("{0}")]
    Agent(#[from] AgentError),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.number())
    }

    const fn number(&self) -> u8 {
        match self {
            Self::Unexpected(_) | Self::Agent(AgentError::Node(_)) => 1,
            Self::Usage(_) => 2,
            Self::NotACode(_) | Self::Invite => 3,
            Self::Expired(_) => 4,
            Self::Agent(AgentError::NoRelay) => 5,
            Self::Agent(AgentError::PairingFailed) => 6,
            Self::State(_) | Self::OtherNetwork { .. } | Self::Agent(AgentError::State(_)) => 7,
            Self::NotRunning(_) => 8,
            Self::Agent(AgentError::Ended) => 9,
        }
    }
}
