//! Errors of the operator API, as problem documents (RFC 9457).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use peerup_protocol::api::Problem;

use crate::{errors, keys::KeyError};

/// Why a call gets no answer. Titles are single words by which callers and tests tell them apart.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// There is no such call.
    #[error("there is no such call")]
    NoSuchCall,
    /// The body is too long.
    #[error("a body must have at most {} bytes", peerup_protocol::api::MAX_BODY)]
    TooLarge,
    /// No token, or one that the API server does not confirm.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The caller is known and may not do this.
    #[error("{detail}")]
    Forbidden {
        /// The reason in one word.
        title: &'static str,
        /// The reason in a sentence.
        detail: String,
    },
    /// What the call is about does not exist.
    #[error("{0}")]
    NotFound(String),
    /// It existed, and does not come back.
    #[error("{detail}")]
    Gone {
        /// The reason in one word.
        title: &'static str,
        /// The reason in a sentence.
        detail: String,
    },
    /// The call is right and cannot be followed as things are.
    #[error("{detail}")]
    Conflict {
        /// The reason in one word.
        title: &'static str,
        /// The reason in a sentence.
        detail: String,
    },
    /// Too many calls from this source.
    #[error("too many tokens that are not known yet come from this address")]
    TooMany,
    /// Later it may work.
    #[error("{0}")]
    Unavailable(String),
    /// The API server did not do what was asked.
    #[error("{}", errors::explain(.0))]
    Kubernetes(#[from] kube::Error),
    /// The network's key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Seconds after which a caller may try again.
const RETRY_AFTER: &str = "2";

impl Refusal {
    pub(super) fn forbidden(title: &'static str, detail: impl Into<String>) -> Self {
        Self::Forbidden {
            title,
            detail: detail.into(),
        }
    }

    pub(super) fn gone(title: &'static str, detail: impl Into<String>) -> Self {
        Self::Gone {
            title,
            detail: detail.into(),
        }
    }

    pub(super) fn conflict(title: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict {
            title,
            detail: detail.into(),
        }
    }

    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "Malformed"),
            Self::NoSuchCall => (StatusCode::NOT_FOUND, "NoSuchCall"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "TooLarge"),
            Self::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "Unauthenticated"),
            Self::Forbidden { title, .. } => (StatusCode::FORBIDDEN, title),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "NotFound"),
            Self::Gone { title, .. } => (StatusCode::GONE, title),
            Self::Conflict { title, .. } => (StatusCode::CONFLICT, title),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "TooMany"),
            Self::Unavailable(_) | Self::Kubernetes(_) | Self::Key(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "Unavailable")
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, title) = self.status();
        let problem = Problem::new(title, status.as_u16(), &self);
        let mut response = (status, axum::Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(Problem::MEDIA_TYPE),
        );
        if matches!(
            status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        response
    }
}
