//! A pod that asks for a sidecar, and what the API server makes of it.

use axum::http::{HeaderMap, header};
use kube::{Client, api::PostParams, client::Body, core::Request};
use peerup_crds::names::{annotations, labels, sidecar as names};
use serde_json::{Value, json};

use super::CheckError;
use crate::config::CheckConfig;

/// Warnings that are repeated.
const MAX_WARNINGS: usize = 10;

/// The API server's answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pod: Value,
    warnings: Vec<String>,
}

/// The sidecar that a pod would have, as far as it says how to reach the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sidecar {
    /// Its image.
    pub(super) image: String,
    /// Address of the operator API.
    pub(super) url: String,
    /// Certificates that the operator's may be signed by, PEM.
    pub(super) ca: String,
}

/// Asks the API server what it would store.
pub(super) async fn dry_run(client: &Client, check: &CheckConfig) -> Result<Answer, CheckError> {
    let namespace = &check.namespace;
    let failed = |source| CheckError::Create {
        namespace: namespace.clone(),
        source,
    };
    let parameters = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let body = pod(check).to_string().into_bytes();
    let request = Request::new(format!("/api/v1/namespaces/{namespace}/pods"))
        .create(&parameters, body)
        .map_err(|error| failed(kube::Error::BuildRequest(error)))?;
    let answer = client.send(request.map(Body::from)).await.map_err(failed)?;
    let (status, warnings) = (answer.status(), warnings(answer.headers()));
    let body = answer.into_body().collect_bytes().await.map_err(failed)?;
    let malformed = |error: serde_json::Error| CheckError::Malformed(error.to_string());
    if !status.is_success() {
        let status = serde_json::from_slice(&body).map_err(malformed)?;
        return Err(failed(kube::Error::Api(Box::new(status))));
    }
    Ok(Answer {
        pod: serde_json::from_slice(&body).map_err(malformed)?,
        warnings,
    })
}

/// A pod that Pod Security `restricted` admits.
fn pod(check: &CheckConfig) -> Value {
    let metadata = json!({
        "generateName": "peerup-check-",
        "labels": {labels::INJECT: labels::ENABLED},
        "annotations": check.network.as_ref().map(|network| json!({annotations::NETWORK: network})),
    });
    let amounts = json!({"cpu": "1m", "memory": "1Mi"});
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "app",
                "image": check.image,
                "resources": {"requests": amounts, "limits": amounts},
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": true,
                },
            }],
        },
    })
}

/// The texts of `Warning` headers (`299 - "text"`), short and printable.
fn warnings(headers: &HeaderMap) -> Vec<String> {
    let texts = headers.get_all(header::WARNING).into_iter();
    texts
        .filter_map(|value| quoted(&String::from_utf8_lossy(value.as_bytes())))
        .take(MAX_WARNINGS)
        .collect()
}

/// The text between the first quote and the next that is not escaped.
fn quoted(header: &str) -> Option<String> {
    let (_, rest) = header.split_once('"')?;
    let (mut text, mut escaped) = (String::new(), false);
    for character in rest.chars() {
        match character {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return Some(printable(&text)),
            other => {
                text.push(other);
                escaped = false;
            }
        }
    }
    None
}

fn printable(text: &str) -> String {
    text.chars()
        .take(250)
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}

impl Answer {
    /// The sidecar with its token, or why there is none. `webhook` is the name of our configuration.
    pub(super) fn sidecar(&self, webhook: &str) -> Result<Sidecar, CheckError> {
        let spec = &self.pod["spec"];
        let mut containers = ["initContainers", "containers"]
            .into_iter()
            .flat_map(|list| spec[list].as_array().into_iter().flatten());
        let Some(container) = containers.find(|container| container["name"] == names::CONTAINER)
        else {
            return Err(if self.warnings.is_empty() {
                CheckError::NotAsked(webhook.to_owned())
            } else {
                CheckError::NotGiven(self.warnings.clone())
            });
        };
        let named = |list: &Value, name: &str| -> Option<Value> {
            let mut elements = list.as_array()?.iter();
            elements.find(|element| element["name"] == name).cloned()
        };
        let variable = |name: &'static str| {
            let value = named(&container["env"], name)
                .and_then(|variable| variable["value"].as_str().map(str::to_owned));
            value
                .filter(|value| !value.is_empty())
                .ok_or(CheckError::Incomplete(name))
        };
        for list in [&spec["volumes"], &container["volumeMounts"]] {
            named(list, names::TOKEN_VOLUME).ok_or(CheckError::Incomplete("its token volume"))?;
        }
        Ok(Sidecar {
            image: container["image"].as_str().unwrap_or_default().to_owned(),
            url: variable("PEERUP_OPERATOR_URL")?,
            ca: variable("PEERUP_OPERATOR_CA")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(container: Value, warnings: &[&str]) -> Answer {
        Answer {
            pod: json!({"spec": {
                "initContainers": [container],
                "containers": [{"name": "app"}],
                "volumes": [{"name": names::TOKEN_VOLUME}],
            }}),
            warnings: warnings.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    fn container() -> Value {
        json!({
            "name": "peerup", "image": "peerup-sidecar:1",
            "env": [
                {"name": "PEERUP_OPERATOR_URL", "value": "https://operator:9444"},
                {"name": "PEERUP_OPERATOR_CA", "value": "PEM"},
            ],
            "volumeMounts": [{"name": names::TOKEN_VOLUME}],
        })
    }

    #[test]
    fn the_sidecar_says_where_the_operator_is() {
        let expected = Sidecar {
            image: "peerup-sidecar:1".to_owned(),
            url: "https://operator:9444".to_owned(),
            ca: "PEM".to_owned(),
        };
        assert_eq!(answer(container(), &[]).sidecar("w").unwrap(), expected);
    }

    #[test]
    fn a_pod_without_sidecar_is_no_success() {
        let mut other = container();
        other["name"] = json!("other");
        let told = |answer: Answer| answer.sidecar("peerup-operator").unwrap_err().to_string();
        let silent = told(answer(other.clone(), &[]));
        assert!(
            silent.contains("MutatingWebhookConfiguration peerup-operator"),
            "{silent}"
        );
        let said = told(answer(other, &["no sidecar (NoNetwork): create one"]));
        assert_eq!(
            said,
            "the webhook gives no sidecar: no sidecar (NoNetwork): create one"
        );
    }

    #[test]
    fn each_part_of_the_sidecar_must_be_there() {
        for (path, missing) in [
            ("/env/0", "PEERUP_OPERATOR_URL"),
            ("/env/1", "PEERUP_OPERATOR_CA"),
            ("/volumeMounts/0", "its token volume"),
        ] {
            let mut partial = container();
            *partial.pointer_mut(path).unwrap() = json!({"name": "another"});
            let told = answer(partial, &[]).sidecar("w").unwrap_err().to_string();
            assert_eq!(
                told,
                format!("container peerup must have {missing}; got none")
            );
        }
    }

    #[test]
    fn warnings_are_read_as_the_api_server_writes_them() {
        for (header, text) in [
            (r#"299 - "plain""#, Some("plain")),
            (r#"299 - "a \"b\" \\ c" "date""#, Some(r#"a "b" \ c"#)),
            (r#"299 - "never ends"#, None),
            ("299 - none", None),
            ("", None),
        ] {
            assert_eq!(quoted(header).as_deref(), text, "{header}");
        }
        assert_eq!(quoted("\"a\u{0}b\n\""), Some("a b ".to_owned()));
        assert_eq!(
            quoted(&format!("\"{}\"", "x".repeat(1000))),
            Some("x".repeat(250))
        );
    }
}
