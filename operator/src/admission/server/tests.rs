//! Who else may call the webhook: any pod, with anything.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{self, Body, Bytes};
use axum::http::Request as Ask;
use data_encoding::BASE64;
use futures::{StreamExt, stream};
use kube::runtime::{reflector, watcher::Event};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

const CA: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const MEBIBYTE: usize = 1024 * 1024;

fn watched<K>(objects: Vec<Value>) -> Watched<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + 'static,
{
    let (reader, mut writer) = reflector::store();
    for object in objects {
        writer.apply_watcher_event(&Event::Apply(serde_json::from_value(object).unwrap()));
    }
    Watched::new(vec![reader])
}

/// A network `main` in `shop`, which admits no other namespace.
fn webhook() -> Router {
    let namespace =
        |name| json!({"metadata": {"name": name, "labels": {"peerup.dev/inject": "enabled"}}});
    let network = json!({
        "apiVersion": "peerup.dev/v1alpha1", "kind": "PeerNetwork",
        "metadata": {"name": "main", "namespace": "shop", "uid": "0123abcd-0000-4000-8000-000000000000"},
        "spec": {},
    });
    let ca = CaBundle::default();
    ca.set(CA.to_owned());
    let webhook = Webhook {
        networks: watched(vec![network]),
        namespaces: watched(vec![namespace("shop"), namespace("other")]),
        ca,
        metrics: Metrics::new().unwrap(),
        settings: Settings {
            image: "peerup-sidecar:0".to_owned(),
            places: Places {
                operator_namespace: "peerup-system".to_owned(),
                ..Places::default()
            },
            operator_url: "https://operator".to_owned(),
            image_pull_policy: "IfNotPresent",
            ..Settings::default()
        },
        patience: Duration::from_millis(200),
    };
    webhook.router()
}

async fn call(body: Body) -> (StatusCode, String) {
    let ask = Ask::post("/v1/inject").body(body).unwrap();
    let answer = webhook().oneshot(ask).await.unwrap();
    let status = answer.status();
    let bytes = body::to_bytes(answer.into_body(), MEBIBYTE).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

/// What is answered about a pod that is made in `namespace`.
async fn asked(namespace: &str, pod: Value) -> Value {
    let review = json!({"request": {
        "uid": "u", "kind": {"kind": "Pod"}, "operation": "CREATE", "namespace": namespace, "object": pod,
    }});
    let (status, text) = call(review.to_string().into()).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let mut answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["response"]["allowed"], true);
    answer["response"].take()
}

fn pod(annotations: Value) -> Value {
    json!({
        "metadata": {"name": "p", "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "x"}]},
    })
}

#[tokio::test]
async fn a_pod_that_calls_learns_what_pods_show_and_nothing_secret() {
    let answer = asked("shop", pod(json!({}))).await;
    let patch = answer["patch"].as_str().unwrap();
    let patch = String::from_utf8(BASE64.decode(patch.as_bytes()).unwrap()).unwrap();
    assert!(patch.contains("peerup-sidecar:0") && patch.contains("https://operator"));
    for secret in [
        "PRIVATE KEY",
        "peerup1-",
        "seed",
        "secretKeyRef",
        "\"secret\"",
    ] {
        assert!(!patch.contains(secret), "{secret} in {patch}");
    }
    // Whatever namespace it claims, it is told no more than pods there are.
    let answer = asked("other", pod(json!({"peerup.dev/network": "shop/main"}))).await;
    assert_eq!(answer.get("patch"), None, "{answer}");
    let elsewhere = asked("nowhere", pod(json!({"peerup.dev/network": "shop/main"}))).await;
    assert_eq!(elsewhere.get("patch"), None, "{elsewhere}");
}

#[tokio::test]
async fn names_that_deceive_come_back_as_plain_letters() {
    let evil = "a\u{202e}\u{0}\u{7f}\u{200b}é\n";
    let bad = json!({"peerup.dev/hold": evil, "peerup.dev/expose": evil, format!("peerup.dev/{evil}"): evil});
    let answer = asked("shop", pod(bad)).await;
    let warnings: Vec<String> = serde_json::from_value(answer["warnings"].clone()).unwrap();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for warning in warnings {
        let plain = |byte: u8| byte.is_ascii() && !byte.is_ascii_control();
        assert!(warning.bytes().all(plain), "{warning:?}");
    }
    let many: serde_json::Map<_, _> = (0..1000)
        .map(|number| (format!("peerup.dev/{number}"), json!("x".repeat(1000))))
        .collect();
    let answer = asked("shop", pod(Value::Object(many))).await;
    assert!(answer["warnings"].to_string().len() < 4096);
}

#[tokio::test]
async fn what_is_no_review_is_refused() {
    for body in [
        String::new(),
        "null".to_owned(),
        "\0".to_owned(),
        "[".repeat(100_000),
        format!("{{\"request\":{}", "{\"object\":".repeat(100_000)),
        r#"{"request":{"uid":7}}"#.to_owned(),
    ] {
        let start: String = body.chars().take(20).collect();
        let (status, text) = call(body.into()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{start}: {text}");
        assert!(text.len() < 500, "{text}");
    }
}

#[tokio::test]
async fn a_hundred_mebibytes_are_not_read() {
    static READ: AtomicUsize = AtomicUsize::new(0);
    let parts = stream::iter(0..100).map(|_| {
        READ.fetch_add(1, Ordering::Relaxed);
        std::io::Result::Ok(Bytes::from(vec![b' '; MEBIBYTE]))
    });
    let (status, _) = call(Body::from_stream(parts)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let read = READ.load(Ordering::Relaxed);
    assert!(read <= MAX_BODY / MEBIBYTE + 1, "{read} MiB were read");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let begun = stream::iter([std::io::Result::Ok(Bytes::from_static(b"{"))]);
    let answer = call(Body::from_stream(begun.chain(stream::pending())));
    let answer = tokio::time::timeout(Duration::from_secs(5), answer).await;
    let (status, _) = answer.expect("it is given up");
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
}
