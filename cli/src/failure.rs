//! Why `peerup` ends without success, and the exit code for each reason.

use std::io::ErrorKind;
use std::process::ExitCode;

use jiff::Timestamp;
use peerup_agent::local::{ClientError, title};
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
    #[error(
        "no peer runs on {0}; `peerup start` brings a stored one back, `peerup join` makes one"
    )]
    NotRunning(String),
    #[error("nobody lives in {0}: there is nothing to leave")]
    NothingToLeave(String),
    #[error("nothing was changed")]
    Kept,
    #[error(
        "a peer runs on {0} already, or is starting or ending; see `peerup status`, or give this one its own \
         directory with --state-dir"
    )]
    AlreadyRunning(String),
    #[error("the peer on {0} was told to stop and still runs; its log says what it is doing")]
    StillEnding(String),
    #[error(
        "the peer runs in the background, but no relay has answered it yet; it goes on trying: `{0}`"
    )]
    StillJoining(String),
    #[error("the peer in the background ended: {said}")]
    DaemonEnded { code: Option<u8>, said: String },
    #[error("{0} did not answer")]
    NoAnswer(String),
    #[error("{peer} is not verified: {why}")]
    Unverified { peer: String, why: String },
    #[error("nobody was let in: {0}")]
    NotInvited(&'static str),
    #[error("the peer goes on joining in the background: `{0}`")]
    Unwatched(String),
    #[error("stopped before it was done")]
    Interrupted,
    #[error("{0}")]
    Agent(#[from] AgentError),
    #[error("{}", client_text(.0))]
    Client(#[from] ClientError),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.number())
    }

    pub(crate) fn number(&self) -> u8 {
        match self {
            Self::Client(ClientError::Io { source, .. })
                if source.kind() == ErrorKind::PermissionDenied =>
            {
                7
            }
            Self::Unexpected(_)
            | Self::Kept
            | Self::StillEnding(_)
            | Self::DaemonEnded { code: None, .. }
            | Self::Agent(AgentError::Node(_))
            | Self::Client(
                ClientError::Io { .. } | ClientError::Tunnel { .. } | ClientError::Unexpected(_),
            ) => 1,
            Self::Client(ClientError::Refused(problem)) => refused(&problem.title),
            Self::Usage(_) | Self::NoCode(_) => 2,
            Self::NotACode(_) => 3,
            Self::Expired(_) => 4,
            Self::StillJoining(_) | Self::Agent(AgentError::NoRelay | AgentError::NoInviter) => 5,
            Self::Agent(AgentError::PairingFailed) => 6,
            Self::State(_)
            | Self::OtherNetwork { .. }
            | Self::Membership { .. }
            | Self::Client(ClientError::State(_) | ClientError::Foreign { .. }) => 7,
            Self::NotRunning(_)
            | Self::NothingToLeave(_)
            | Self::Client(ClientError::NotRunning(_) | ClientError::Silent(_)) => 8,
            Self::Agent(AgentError::Ended) => 9,
            Self::Interrupted | Self::Unwatched(_) => 10,
            Self::AlreadyRunning(_) => 11,
            Self::NoAnswer(_) => 13,
            Self::Unverified { .. } => 14,
            Self::NotInvited(_) => 17,
            Self::DaemonEnded {
                code: Some(code), ..
            } => *code,
        }
    }
}

/// The exit code for a refusal of the running peer.
fn refused(title: &str) -> u8 {
    match title {
        title::NO_RELAY => 5,
        title::NOT_KEPT => 7,
        title::NO_SUCH_MEMBER => 12,
        title::NOT_JOINED | title::NO_ANSWER | title::BUSY => 13,
        title::NO_SUCH_COMPARISON => 14,
        title::NOT_POSSIBLE | title::NO_SUCH_SERVICE => 15,
        title::NO_GUESTS | title::NO_INVITE => 16,
        title::NO_SUCH_INVITE => 17,
        _ => 1,
    }
}

/// What to do is said here: the library does not know the commands.
fn client_text(error: &ClientError) -> String {
    match error {
        ClientError::NotRunning(dir) => Failure::NotRunning(dir.display().to_string()).to_string(),
        ClientError::Silent(_)
        | ClientError::Foreign { .. }
        | ClientError::State(_)
        | ClientError::Io { .. }
        | ClientError::Refused(_)
        | ClientError::Tunnel { .. }
        | ClientError::Unexpected(_) => error.to_string(),
    }
}
