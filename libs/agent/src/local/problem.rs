//! Why a call gets no answer, as problem documents (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use peerup_protocol::api::Problem;

use crate::handle::{MeasureError, PeerError};
use crate::hosting::InviteError;
use crate::services::ServicesError;
use crate::state::StateError;

/// Titles of problems: single words by which callers tell refusals apart.
pub mod title {
    /// The request cannot be read.
    pub const MALFORMED: &str = "Malformed";
    /// There is no such call.
    pub const NO_SUCH_CALL: &str = "NoSuchCall";
    /// The body is too long.
    pub const TOO_LARGE: &str = "TooLarge";
    /// This peer has no membership at present.
    pub const NOT_JOINED: &str = "NotJoined";
    /// No other member has the name.
    pub const NO_SUCH_MEMBER: &str = "NoSuchMember";
    /// The other peer is not reached, or does not answer.
    pub const NO_ANSWER: &str = "NoAnswer";
    /// How this peer can be reached can't be measured.
    pub const NOT_MEASURED: &str = "NotMeasured";
    /// Something of the kind is under way.
    pub const BUSY: &str = "Busy";
    /// The comparison is over, or never was.
    pub const NO_SUCH_COMPARISON: &str = "NoSuchComparison";
    /// The service or forward can't be had.
    pub const NOT_POSSIBLE: &str = "NotPossible";
    /// No service or forward of the name is there.
    pub const NO_SUCH_SERVICE: &str = "NoSuchService";
    /// This peer or its network has no guests.
    pub const NO_GUESTS: &str = "NoGuests";
    /// Too many invites are open, or not for so long.
    pub const NO_INVITE: &str = "NoInvite";
    /// No relay takes the invite.
    pub const NO_RELAY: &str = "NoRelay";
    /// The invite is not open.
    pub const NO_SUCH_INVITE: &str = "NoSuchInvite";
    /// The change can't be stored.
    pub const NOT_KEPT: &str = "NotKept";
}

/// One reason each.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Malformed(String),
    #[error("this peer (version {version}) has no such call", version = env!("CARGO_PKG_VERSION"))]
    NoSuchCall,
    #[error("a body must have at most {} bytes", super::MAX_REQUEST)]
    TooLarge,
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("{0}")]
    NotCompared(String),
    #[error("{0}")]
    NotMeasured(String),
    #[error("{0}")]
    Busy(String),
    #[error("{0} comparisons are under way; finish one first")]
    TooManyComparisons(usize),
    #[error("the comparison is over; begin a new one")]
    NoSuchComparison,
    #[error(transparent)]
    Services(#[from] ServicesError),
    #[error("no service {0} is exposed here; see peerup services")]
    NotExposed(String),
    #[error("port {0} is not forwarded here; see peerup services")]
    NotForwarded(u16),
    #[error("the change is not kept: {0}")]
    NotKept(StateError),
    #[error(transparent)]
    Invite(InviteError),
    #[error("no invite {0} waits here; it may have been used, or be over")]
    NoSuchInvite(String),
}

impl Refusal {
    const fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, title::MALFORMED),
            Self::NoSuchCall => (StatusCode::NOT_FOUND, title::NO_SUCH_CALL),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, title::TOO_LARGE),
            Self::Peer(PeerError::NotJoined) => {
                (StatusCode::SERVICE_UNAVAILABLE, title::NOT_JOINED)
            }
            Self::Peer(PeerError::Own(_) | PeerError::Unknown(_)) => {
                (StatusCode::NOT_FOUND, title::NO_SUCH_MEMBER)
            }
            Self::Peer(PeerError::Reach { .. } | PeerError::Path { .. }) | Self::NotCompared(_) => {
                (StatusCode::GATEWAY_TIMEOUT, title::NO_ANSWER)
            }
            Self::NotMeasured(_) => (StatusCode::GATEWAY_TIMEOUT, title::NOT_MEASURED),
            Self::Busy(_) | Self::TooManyComparisons(_) => (StatusCode::CONFLICT, title::BUSY),
            Self::NoSuchComparison => (StatusCode::NOT_FOUND, title::NO_SUCH_COMPARISON),
            Self::Services(_) => (StatusCode::CONFLICT, title::NOT_POSSIBLE),
            Self::NotExposed(_) | Self::NotForwarded(_) => {
                (StatusCode::NOT_FOUND, title::NO_SUCH_SERVICE)
            }
            Self::NotKept(_) => (StatusCode::INSUFFICIENT_STORAGE, title::NOT_KEPT),
            Self::Invite(error) => invite_status(error),
            Self::NoSuchInvite(_) => (StatusCode::NOT_FOUND, title::NO_SUCH_INVITE),
        }
    }
}

const fn invite_status(error: &InviteError) -> (StatusCode, &'static str) {
    match error {
        InviteError::Pod | InviteError::Guest | InviteError::NotAllowed => {
            (StatusCode::FORBIDDEN, title::NO_GUESTS)
        }
        InviteError::Open(_) => (StatusCode::CONFLICT, title::NO_INVITE),
        InviteError::NoRelay(_) => (StatusCode::GATEWAY_TIMEOUT, title::NO_RELAY),
        InviteError::NoGuest(_) => (StatusCode::NOT_FOUND, title::NO_SUCH_MEMBER),
        // These two are refusals of their own.
        InviteError::Peer(_) => (StatusCode::SERVICE_UNAVAILABLE, title::NOT_JOINED),
        InviteError::NotKept(_) => (StatusCode::INSUFFICIENT_STORAGE, title::NOT_KEPT),
    }
}

impl From<InviteError> for Refusal {
    fn from(error: InviteError) -> Self {
        match error {
            InviteError::Peer(error) => Self::Peer(error),
            InviteError::NotKept(error) => Self::NotKept(error),
            error @ (InviteError::Pod
            | InviteError::Guest
            | InviteError::NotAllowed
            | InviteError::Open(_)
            | InviteError::NoRelay(_)
            | InviteError::NoGuest(_)) => Self::Invite(error),
        }
    }
}

impl From<MeasureError> for Refusal {
    fn from(error: MeasureError) -> Self {
        match error {
            MeasureError::Peer(error) => Self::Peer(error),
            MeasureError::Failed(_) | MeasureError::Guest | MeasureError::TimedOut => {
                Self::NotMeasured(error.to_string())
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, title) = self.status();
        let problem = Problem::new(title, status.as_u16(), &self);
        let mut response = (status, axum::Json(problem)).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(Problem::MEDIA_TYPE),
        );
        response
    }
}
