//! Why a call gets no answer, as problem documents (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use peerup_protocol::api::Problem;

/// Titles are single words by which callers tell refusals apart.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// There is no such call.
    #[error("this peer (version {version}) has no such call", version = env!("CARGO_PKG_VERSION"))]
    NoSuchCall,
    /// The body is too long.
    #[error("a body must have at most {} bytes", super::MAX_REQUEST)]
    TooLarge,
}

impl Refusal {
    const fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "Malformed"),
            Self::NoSuchCall => (StatusCode::NOT_FOUND, "NoSuchCall"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "TooLarge"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, title) = self.status();
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: Some(self.to_string()),
        };
        let mut response = (status, axum::Json(problem)).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response
    }
}
