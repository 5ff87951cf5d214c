//! What can go wrong with a call, told apart by what the caller should do next.

use std::path::PathBuf;
use std::time::Duration;

/// A call that brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The operator does not accept our token or signature (401, 403).
    #[error("the operator refused our credentials: {detail}")]
    Unauthorized {
        /// `detail` of the operator's problem document.
        detail: String,
    },
    /// The operator does not know what was asked for (404).
    #[error("the operator does not know it: {detail}")]
    NotFound {
        /// `detail` of the operator's problem document.
        detail: String,
    },
    /// The operator understood and said no (any other 4xx).
    #[error("the operator refused the call with status {status}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// `detail` of the operator's problem document.
        detail: String,
    },
    /// Nobody can answer now: not reachable, no leader, overloaded (429, 5xx). Asking again later makes sense.
    #[error("the operator is not available: {detail}")]
    Unavailable {
        /// What the operator asked us to wait, when it said so.
        retry_after: Option<Duration>,
        /// `detail` of the problem document, or the transport's error.
        detail: String,
    },
    /// No answer within the time; the operator may or may not have acted.
    #[error("the operator did not answer in time")]
    Timeout,
    /// An answer came that is not what the API promises.
    #[error("the operator's answer is not understood: {0}")]
    Protocol(String),
    /// Our own side is not ready: token or CA bundle missing or unreadable.
    #[error(transparent)]
    Local(#[from] LocalError),
}

/// What must be present on our side before anybody can be called.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The token file is missing or empty.
    #[error("expected a service account token in {path}: {reason}")]
    Token {
        /// Where it should be.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// No usable CA certificate in file or text.
    #[error("expected a CA bundle for the operator: {0}")]
    Trust(String),
    /// The HTTP client can't be made of these settings.
    #[error("the HTTP client can't be made: {0}")]
    Client(String),
    /// The clock is before 1970.
    #[error("the clock of this machine is before 1970")]
    Clock,
}

impl CallError {
    /// True when the same call may succeed later without anything changing on our side.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Timeout | Self::Local(_) => true,
            Self::Unauthorized { .. }
            | Self::NotFound { .. }
            | Self::Refused { .. }
            | Self::Protocol(_) => false,
        }
    }
}
