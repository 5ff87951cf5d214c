//! What reaches the operator: reviews of pods, annotations, quantities, tokens.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::Seeds;

/// Pods with what others have put into them; the golden files of injection have more.
const PODS: [(&str, &str); 5] = [
    (
        "plain",
        include_str!("../../../../../operator/testdata/injection/plain.json"),
    ),
    (
        "istio",
        include_str!("../../../../../operator/testdata/injection/istio.json"),
    ),
    (
        "job",
        include_str!("../../../../../operator/testdata/injection/job-with-plain-container.json"),
    ),
    (
        "every-wish",
        include_str!("../../../../../operator/testdata/injection/every-wish.json"),
    ),
    (
        "pre-declared",
        include_str!("../../../../../operator/testdata/injection/pre-declared.json"),
    ),
];

pub(crate) fn reviews() -> Seeds {
    let review = |(name, text): (&'static str, &str)| {
        let mut case: Value = serde_json::from_str(text).unwrap();
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "namespace": "shop",
                "operation": "CREATE", "object": case["pod"].take(),
            },
        });
        (name, review.to_string().into_bytes())
    };
    PODS.into_iter().map(review).collect()
}

pub(crate) fn annotations() -> Seeds {
    let all = json!({
        "example.com/other": "kept out of this",
        "peerup.dev/container-mode": "container",
        "peerup.dev/cpu-limit": "1",
        "peerup.dev/cpu-request": "5m",
        "peerup.dev/expose": "http=8080,ssh=127.0.0.1:22",
        "peerup.dev/forward": "9000=http@shop/web",
        "peerup.dev/hold": "joined",
        "peerup.dev/image": "registry.example/sidecar:1",
        "peerup.dev/log-level": "debug",
        "peerup.dev/memory-limit": "1e8",
        "peerup.dev/memory-request": "16Mi",
        "peerup.dev/name": "web",
        "peerup.dev/network": "shop/main",
    });
    vec![("all", all.to_string().into_bytes())]
}

pub(crate) fn quantities() -> Seeds {
    let all = [
        ("whole", "1"),
        ("milli", "100m"),
        ("binary", "64Mi"),
        ("decimal", "1.5G"),
        ("exponent", "5E-1"),
    ];
    all.map(|(name, text)| (name, text.as_bytes().to_vec()))
        .into()
}

pub(crate) fn tokens() -> Seeds {
    let token = |payload: Value| {
        let payload = BASE64URL_NOPAD.encode(payload.to_string().as_bytes());
        format!("e30.{payload}.c2ln").into_bytes()
    };
    let pod = json!({"aud": ["vault", "peerup.dev/shop/main"], "exp": 1_800_000_000});
    let relay = json!({"aud": "peerup.dev/shop/main/relay", "exp": 1_800_000_000});
    vec![("pod", token(pod)), ("relay", token(relay))]
}

pub(crate) fn token_reviews() -> Seeds {
    let status = json!({
        "authenticated": true,
        "audiences": ["peerup.dev/shop/main"],
        "user": {
            "username": "system:serviceaccount:shop:web",
            "groups": ["system:serviceaccounts"],
            "extra": {
                "authentication.kubernetes.io/pod-name": ["web-0"],
                "authentication.kubernetes.io/pod-uid": ["u"],
            },
        },
    });
    vec![("pod", status.to_string().into_bytes())]
}
