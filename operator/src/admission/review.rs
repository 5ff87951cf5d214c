//! AdmissionReview v1: what is read of it, and what is answered. Pure; the pod stays raw.

use data_encoding::BASE64;
use json_patch::PatchOperation;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Warnings, and characters of each, that are passed on.
const MAX_WARNINGS: usize = 10;
const MAX_WARNING: usize = 250;

#[derive(Deserialize)]
struct Review {
    request: Request,
}

/// The part of a review that counts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// By which the API server knows the answer.
    pub uid: String,
    kind: Kind,
    #[serde(default)]
    sub_resource: String,
    /// Where the pod is made.
    #[serde(default)]
    pub namespace: String,
    operation: String,
    /// The pod as it came.
    #[serde(default)]
    pub object: Value,
}

#[derive(Debug, Deserialize)]
struct Kind {
    kind: String,
}

impl Request {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is not JSON of a review, or nested deeper than 127 levels.
    pub fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body).map(|review: Review| review.request)
    }

    /// Whether a pod is to be made: nothing else is decided about.
    #[must_use]
    pub fn makes_a_pod(&self) -> bool {
        self.operation == "CREATE" && self.kind.kind == "Pod" && self.sub_resource.is_empty()
    }
}

/// The answer, as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Admitted,
}

/// A pod is always admitted: a sidecar that cannot be given is a warning.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Admitted {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl Answer {
    /// The pod is as it should be, but for what the warnings say.
    #[must_use]
    pub fn unchanged(uid: String, warnings: Vec<String>) -> Self {
        Self::new(uid, warnings, None)
    }

    /// The pod is to be changed.
    ///
    /// # Errors
    /// When the patch cannot be written as JSON.
    pub fn patched(
        uid: String,
        warnings: Vec<String>,
        operations: &[PatchOperation],
    ) -> Result<Self, serde_json::Error> {
        let patch = BASE64.encode(&serde_json::to_vec(operations)?);
        Ok(Self::new(uid, warnings, Some(patch)))
    }

    fn new(uid: String, warnings: Vec<String>, patch: Option<String>) -> Self {
        let short = |warning: String| warning.chars().take(MAX_WARNING).collect();
        Self {
            api_version: "admission.k8s.io/v1",
            kind: "AdmissionReview",
            response: Admitted {
                uid,
                allowed: true,
                patch_type: patch.as_ref().map(|_| "JSONPatch"),
                patch,
                warnings: warnings.into_iter().take(MAX_WARNINGS).map(short).collect(),
            },
        }
    }
}
