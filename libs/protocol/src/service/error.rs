//! Why a text is not an exposed service, a forward or a target.

use crate::id::{InvalidId, ServiceName};

/// A text that a person wrote, and what was expected instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The parts are not there.
    #[error("expected {expected}, got {got:?}")]
    Form {
        /// The form, with an example.
        expected: &'static str,
        /// What came, cut to 80 characters.
        got: String,
    },
    /// One of the parts breaks its rule.
    #[error(transparent)]
    Part(#[from] InvalidId),
    /// More text than a list may have.
    #[error("the list has {got} bytes, at most {max} are read")]
    TooLong {
        /// The limit.
        max: usize,
        /// How many came.
        got: usize,
    },
    /// More entries than a list may have.
    #[error("the list has over {max} entries; write at most {max}")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// Two entries would answer to the same name.
    #[error("the service {service} is exposed twice; give one of them another name")]
    ExposedTwice {
        /// The service.
        service: ServiceName,
    },
    /// Two entries would listen on the same port.
    #[error("the local port {port} is used twice; give one of them another port")]
    ForwardedTwice {
        /// The port.
        port: u16,
    },
}

impl ServiceError {
    pub(super) fn form(expected: &'static str, got: &str) -> Self {
        Self::Form {
            expected,
            got: got.chars().take(80).collect(),
        }
    }
}
