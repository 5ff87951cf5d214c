//! A call of the operator API without a token: that it is refused for just that reason shows certificate, Service and
//! a replica that can tell callers from strangers.

use std::time::Duration;

use peerup_protocol::api::{MAX_BODY, Problem, path};

use super::{CheckError, pod::Sidecar};
use crate::errors;

const CONNECT: Duration = Duration::from_secs(5);
const CALL: Duration = Duration::from_secs(15);
/// The longest part of an answer that is repeated.
const MAX_SHOWN: usize = 200;

/// Holds that the operator API answers at the sidecar's address, to the certificates that the sidecar is given.
pub(super) async fn answers(sidecar: &Sidecar) -> Result<(), CheckError> {
    let unreachable = |reason: String| CheckError::Unreachable {
        url: sidecar.url.clone(),
        reason,
    };
    let roots = reqwest::Certificate::from_pem_bundle(sidecar.ca.as_bytes())
        .map_err(|error| unreachable(errors::chain(&error)))?;
    let client = reqwest::Client::builder()
        .tls_certs_only(roots)
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .timeout(CALL)
        .build()
        .map_err(|error| unreachable(errors::chain(&error)))?;
    let mut answer = client
        .post(format!("{}{}", sidecar.url, path::REPORT))
        .send()
        .await
        .map_err(|error| unreachable(errors::chain(&error)))?;
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while let Some(part) = answer
        .chunk()
        .await
        .map_err(|error| unreachable(errors::chain(&error)))?
    {
        body.extend_from_slice(&part);
        if body.len() > MAX_BODY {
            return Err(unreachable(format!("it sends more than {MAX_BODY} bytes")));
        }
    }
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) if status == 401 && problem.title == "Unauthenticated" => Ok(()),
        Ok(_) | Err(_) => Err(CheckError::Unexpected {
            url: sidecar.url.clone(),
            got: shown(status, &body),
        }),
    }
}

/// Status and beginning of an answer, printable.
fn shown(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text: String = text.chars().take(MAX_SHOWN).collect();
    format!("{status} {}", text.escape_debug())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;

    const REFUSED: &str = r#"{"type": "about:blank", "title": "Unauthenticated", "status": 401, "detail": "no token"}"#;

    /// A server that gives every call this answer; what a sidecar would know of it.
    async fn server(status: &str, body: &str) -> Sidecar {
        // a second call finds the provider installed: that is no error
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            // whoever does not believe the certificate leaves here
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        });
        Sidecar {
            image: String::new(),
            url,
            ca: made.cert.pem(),
        }
    }

    #[tokio::test]
    async fn a_refusal_for_want_of_a_token_is_health() {
        answers(&server("401 Unauthorized", REFUSED).await)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn every_other_answer_is_told() {
        let problem = REFUSED.replace("Unauthenticated", "Unavailable");
        for (status, body) in [
            ("200 OK", REFUSED),
            ("503 Service Unavailable", problem.as_str()),
            ("401 Unauthorized", problem.as_str()),
            ("401 Unauthorized", "no problem\u{1b}"),
        ] {
            let error = answers(&server(status, body).await).await.unwrap_err();
            let CheckError::Unexpected { got, .. } = &error else {
                panic!("{error}")
            };
            assert!(got.starts_with(&status[..3]), "{got}");
            assert!(!got.contains('\u{1b}'), "{got}");
        }
    }

    #[tokio::test]
    async fn another_authority_is_not_believed() {
        let (one, other) = (
            server("401 Unauthorized", REFUSED).await,
            server("401 Unauthorized", REFUSED).await,
        );
        let mixed = Sidecar {
            ca: other.ca,
            ..one
        };
        let error = answers(&mixed).await.unwrap_err();
        assert!(matches!(error, CheckError::Unreachable { .. }), "{error}");
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        let endless = server("401 Unauthorized", &"x".repeat(MAX_BODY + 1)).await;
        let error = answers(&endless).await.unwrap_err();
        assert!(error.to_string().contains("more than"), "{error}");
    }
}
