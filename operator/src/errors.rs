//! Errors of the API server, in words that say what to do.

/// Cause of a refusal to make something in a namespace that is being deleted (`core/v1`).
const NAMESPACE_ENDING: &str = "NamespaceTerminating";

/// What went wrong, for a person. A refusal by RBAC names verb and resource, as the API server says them.
#[must_use]
pub fn explain(error: &kube::Error) -> String {
    let kube::Error::Api(status) = error else {
        return chain(error);
    };
    let message = &status.message;
    match status.code {
        403 if message.contains(" cannot ") => {
            format!("the operator lacks a permission; install its RBAC with the chart: {message}")
        }
        403 => format!("the API server refuses: {message}"),
        404 if message.contains("could not find the requested resource") => {
            "the API server does not know this kind; install the CRDs with the chart".to_owned()
        }
        code => format!("the API server says {code}: {message}"),
    }
}

/// Whether the API server has decided against what it was asked, so that it says the same until somebody changes
/// something. That it is busy, is not reached, or that a namespace is ending or gone is none.
#[must_use]
pub fn is_refusal(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let ending = causes
        .into_iter()
        .any(|cause| cause.reason == NAMESPACE_ENDING);
    !ending && !matches!(status.code, 404 | 408 | 409 | 429 | 502..=504)
}

/// An error and its causes, separated by colons.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn api(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status {
            code,
            message: message.to_owned(),
            ..Status::default()
        }))
    }

    #[test]
    fn a_refusal_is_a_decision_and_no_trouble() {
        for code in [400, 403, 413, 422, 500] {
            assert!(is_refusal(&api(code, "no")), "{code}");
        }
        for code in [404, 409, 429, 503, 504] {
            assert!(!is_refusal(&api(code, "not now")), "{code}");
        }
        let ending = serde_json::json!({
            "code": 403, "reason": "Forbidden", "message": "it is being terminated",
            "details": {"causes": [{"reason": "NamespaceTerminating", "message": "namespace a", "field": "metadata.namespace"}]},
        });
        let ending: Status = serde_json::from_value(ending).unwrap();
        assert!(!is_refusal(&kube::Error::Api(Box::new(ending))));
    }

    #[test]
    fn a_missing_permission_is_named() {
        let refused = r#"pods is forbidden: User "system:serviceaccount:a:b" cannot list resource "pods" in API group "" at the cluster scope"#;
        let text = explain(&api(403, refused));
        assert!(
            text.contains("RBAC") && text.contains(r#"cannot list resource "pods""#),
            "{text}"
        );
        let policy = explain(&api(403, "admission policy denied the request"));
        assert_eq!(
            policy,
            "the API server refuses: admission policy denied the request"
        );
        assert!(
            explain(&api(
                404,
                "the server could not find the requested resource"
            ))
            .contains("CRDs")
        );
    }
}
