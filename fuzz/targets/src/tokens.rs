//! Tokens of pods: what they say of themselves, and what the API server says of them.

use data_encoding::BASE64URL_NOPAD;
use k8s_openapi::api::authentication::v1::TokenReviewStatus;
use peerup_operator::api::tokens::{claims as unconfirmed, identity};
use serde_json::json;

use crate::property::bounded;

const AUDIENCE: &str = "peerup.dev/shop/main";

/// A token that nobody has confirmed. What was read of it is read again from a token that says only that.
pub(crate) fn claims(data: &[u8]) -> bool {
    let Ok(token) = std::str::from_utf8(data) else {
        return false;
    };
    let Some(claims) = bounded(data.len(), 64, || unconfirmed::read(token)) else {
        return false;
    };
    let audience = &claims.audience;
    let role = if audience.relay { "/relay" } else { "" };
    let text = format!(
        "peerup.dev/{}/{}{role}",
        audience.namespace, audience.network
    );
    assert_eq!(audience.text, text);
    let payload = json!({"aud": text, "exp": claims.expires}).to_string();
    let again = format!("..{}.", BASE64URL_NOPAD.encode(payload.as_bytes())).replacen("..", ".", 1);
    assert_eq!(unconfirmed::read(&again), Some(claims));
    true
}

/// The API server's answer about a token; accepted when it names a pod for our audience.
pub(crate) fn review(data: &[u8]) -> bool {
    let parsed = bounded(data.len(), 512, || {
        serde_json::from_slice::<TokenReviewStatus>(data)
    });
    let Ok(status) = parsed else {
        return false;
    };
    let Some(found) = identity(&status, AUDIENCE) else {
        return false;
    };
    assert_eq!(status.authenticated, Some(true));
    let audiences = status.audiences.unwrap_or_default();
    assert!(audiences.iter().any(|audience| audience == AUDIENCE));
    assert!(!found.pod.is_empty() && !found.uid.is_empty());
    let user = status.user.unwrap_or_default().username.unwrap_or_default();
    let account = format!("{}:{}", found.namespace, found.service_account);
    assert_eq!(user, format!("system:serviceaccount:{account}"));
    true
}
